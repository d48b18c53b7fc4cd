//! Answers that are larger than any runtime's: they take no more than 128 MiB.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::HashMap;

use prost::Message;
use whalewatcher_cri::api::v1::{
    Container, ContainerStatus, ContainerStatusResponse, ListContainersResponse, PodSandboxStatus,
    PodSandboxStatusResponse,
};
use whalewatcher_cri::{Client, MAX_EVENT, MAX_LIST, MAX_STATUS};
use whalewatcher_testkit::endless::{Answer, Ask, Case, Cost};

const MIB: usize = 1024 * 1024;

const VERSION: &str = "/runtime.v1.RuntimeService/Version";
const CONTAINERS: &str = "/runtime.v1.RuntimeService/ListContainers";
const SANDBOXES: &str = "/runtime.v1.RuntimeService/ListPodSandbox";
const STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
const SANDBOX: &str = "/runtime.v1.RuntimeService/PodSandboxStatus";
const EVENTS: &str = "/runtime.v1.RuntimeService/GetContainerEvents";

fn huge(bytes: usize) -> HashMap<String, String> {
    [("huge".to_owned(), "x".repeat(bytes))].into()
}

fn status(bytes: usize, info: &str) -> Vec<u8> {
    let (id, annotations) = ("a".into(), huge(bytes));
    let status = ContainerStatus { id, state: 1, annotations, ..Default::default() };
    let info = [("info".to_owned(), info.to_owned())].into();
    ContainerStatusResponse { status: Some(status), info }.encode_to_vec()
}

fn sandbox(bytes: usize) -> Vec<u8> {
    let status = PodSandboxStatus { id: "s".into(), annotations: huge(bytes), ..Default::default() };
    PodSandboxStatusResponse { status: Some(status), ..Default::default() }.encode_to_vec()
}

/// All in one test, because the peak includes memory that the process took before.
#[tokio::test]
async fn whatever_is_sent_its_cost_is_bounded() {
    let cost = Cost::new();
    let proper = [VERSION, CONTAINERS, SANDBOXES].map(|method| (method, Answer::message(&[])));
    let listed =
        Container { id: "a".into(), state: 1, annotations: huge(MAX_LIST - 1024), ..Default::default() };
    let listed = ListContainersResponse { containers: vec![listed] }.encode_to_vec();
    // A status of empty mounts, announced with a larger length.
    let mounts = [&[0x0a, 0x80, 0x80, 0x80, 0x01][..], &[0x72, 0].repeat(MIB)].concat();
    let in_sandbox = Answer::message(&status(MIB, r#"{"pid":7,"sandboxID":"s"}"#));
    let cases = [
        (
            "a message of 4 GiB",
            Ask::List,
            vec![(SANDBOXES, Answer::announced(usize::MAX, &[0; 9], 9))],
            "more than the limit of 12582912",
        ),
        (
            "empty containers",
            Ask::List,
            vec![(CONTAINERS, Answer::entries(&[0x0a, 0], MAX_LIST))],
            "so many entries that",
        ),
        ("the largest list", Ask::List, vec![(CONTAINERS, Answer::message(&listed))], "nothing"),
        (
            "a status per inspection",
            Ask::Inspect,
            vec![(STATUS, Answer::message(&status(MAX_STATUS - 1024, r#"{"pid":7}"#)))],
            "answered",
        ),
        (
            "a large sandbox of it too",
            Ask::Inspect,
            vec![(STATUS, in_sandbox.clone()), (SANDBOX, Answer::message(&sandbox(3 * MIB)))],
            "answered",
        ),
        (
            "a sandbox of it that is too large",
            Ask::Inspect,
            vec![(STATUS, in_sandbox), (SANDBOX, Answer::message(&sandbox(4 * MIB)))],
            "more than the limit of 4194304",
        ),
        ("empty mounts", Ask::Inspect, vec![(STATUS, Answer::message(&mounts))], "so many entries that"),
        ("a huge event", Ask::Events, vec![(EVENTS, Answer::announced(usize::MAX, &[0; 9], 9))], "polled"),
        ("empty statuses", Ask::Events, vec![(EVENTS, Answer::entries(&[0x1a, 0], MAX_EVENT))], "polled"),
    ]
    .map(|(what, ask, answers, expected)| Case { what, ask, answers, expected });
    cost.assert_bounded(|endpoint| Client::new(endpoint).unwrap(), &proper, cases.into()).await;
}
