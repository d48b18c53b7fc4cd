//! Answers that are larger than any engine's: they take no more than 128 MiB.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use prost::Message;
use whalewatcher_containerd::api::services::containers::v1::{
    Container, GetContainerResponse, ListContainerMessage,
};
use whalewatcher_containerd::api::services::namespaces::v1::{ListNamespacesResponse, Namespace};
use whalewatcher_containerd::api::services::tasks::v1::{GetResponse, ListTasksResponse};
use whalewatcher_containerd::api::v1::types::{Process, Status};
use whalewatcher_containerd::{Client, MAX_CONTAINER, MAX_EVENT, MAX_TASKS};
use whalewatcher_testkit::endless::{Answer, Ask, Case, Cost};

const MIB: usize = 1024 * 1024;

const VERSION: &str = "/containerd.services.version.v1.Version/Version";
const SERVER: &str = "/containerd.services.introspection.v1.Introspection/Server";
const NAMESPACES: &str = "/containerd.services.namespaces.v1.Namespaces/List";
const TASKS: &str = "/containerd.services.tasks.v1.Tasks/List";
const TASK: &str = "/containerd.services.tasks.v1.Tasks/Get";
const RECORDS: &str = "/containerd.services.containers.v1.Containers/ListStream";
const RECORD: &str = "/containerd.services.containers.v1.Containers/Get";
const PUBLISH: &str = "/containerd.services.events.v1.Events/Publish";
const SUBSCRIBE: &str = "/containerd.services.events.v1.Events/Subscribe";

fn task() -> Process {
    Process { id: "a".into(), pid: 7, status: Status::Running as i32, ..Process::default() }
}

/// Returns valid answers.
fn proper() -> [(&'static str, Answer); 6] {
    let namespaces = ["a", "b", "c", "d", "e", "f", "g", "h"]
        .map(|name| Namespace { name: name.into(), ..Namespace::default() });
    let namespaces = ListNamespacesResponse { namespaces: namespaces.into() };
    [
        (VERSION, Vec::new()),
        (SERVER, Vec::new()),
        (PUBLISH, Vec::new()),
        (NAMESPACES, namespaces.encode_to_vec()),
        (TASKS, ListTasksResponse { tasks: vec![task()] }.encode_to_vec()),
        (TASK, GetResponse { process: Some(task()) }.encode_to_vec()),
    ]
    .map(|(method, message)| (method, Answer::message(&message)))
}

fn record(id: &str, label: usize) -> Container {
    let labels = [("huge".to_owned(), "x".repeat(label))].into();
    Container { id: id.into(), labels, ..Container::default() }
}

fn streamed(id: &str, label: usize, times: usize) -> Answer {
    let message = ListContainerMessage { container: Some(record(id, label)) };
    Answer::messages(&message.encode_to_vec(), times)
}

/// All in one test, because the peak includes memory that the process took before.
#[tokio::test]
async fn whatever_is_sent_its_cost_is_bounded() {
    let cost = Cost::new();
    let large = GetContainerResponse { container: Some(record("a", MAX_CONTAINER - 1024)) }.encode_to_vec();
    let entries = Answer::entries;
    let cases = [
        (
            "a message of 4 GiB",
            Ask::List,
            TASKS,
            Answer::announced(usize::MAX, &[0; 9], 9),
            "more than the limit of 8388608",
        ),
        ("empty tasks", Ask::List, TASKS, entries(&[0x0a, 0], MAX_TASKS), "so many entries that"),
        ("tasks in single bytes", Ask::List, TASKS, Answer::pieces(&[0x0a], MAX_TASKS / 2), ""),
        ("a huge header", Ask::List, TASKS, Answer::message(&[]).with_header(MIB), ""),
        ("nothing but unknown records", Ask::List, RECORDS, streamed("b", MIB, 3), "nothing"),
        ("one record again and again", Ask::List, RECORDS, streamed("a", MIB, 5), "nothing"),
        ("more than is kept", Ask::List, RECORDS, streamed("a", 4 * MIB, 1), "nothing"),
        ("a message per inspection", Ask::Inspect, RECORD, Answer::message(&large), "answered"),
        ("empty entries", Ask::Inspect, RECORD, entries(&[0x0a, 0], MAX_CONTAINER), "so many entries that"),
        (
            "a huge event",
            Ask::Events,
            SUBSCRIBE,
            entries(&[0; 2], MAX_EVENT * 2),
            "more than the limit of 4194304",
        ),
        (
            "odd events",
            Ask::Events,
            SUBSCRIBE,
            Answer::messages(&[0x0a, 0].repeat(MIB), 50),
            "so many entries",
        ),
    ]
    .map(|(what, ask, method, answer, expected)| Case {
        what,
        ask,
        answers: vec![(method, answer)],
        expected,
    });
    cost.assert_bounded(|endpoint| Client::new(endpoint).unwrap(), &proper(), cases.into()).await;
}
