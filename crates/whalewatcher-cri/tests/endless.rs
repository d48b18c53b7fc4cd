//! Answers that are larger than any runtime's: whatever it sends, it costs no more than 128 MiB.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::HashMap;
use std::fs;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use prost::Message;
use tokio::time::timeout;
use whalewatcher_core::{ChangeSource, EngineClient, EngineConnection, EngineEvent};
use whalewatcher_cri::api::v1::{
    Container, ContainerStatus, ContainerStatusResponse, ListContainersResponse,
};
use whalewatcher_cri::{Client, Connection, MAX_EVENT, MAX_LIST, MAX_STATUS};
use whalewatcher_testkit::endless::{Answer, Endless};

/// Nothing here takes so long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

const MIB: usize = 1024 * 1024;

/// What a hostile runtime may cost, and something for the server in this process.
const COST: usize = (128 + 16) * MIB;

const VERSION: &str = "/runtime.v1.RuntimeService/Version";
const CONTAINERS: &str = "/runtime.v1.RuntimeService/ListContainers";
const SANDBOXES: &str = "/runtime.v1.RuntimeService/ListPodSandbox";
const STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
const EVENTS: &str = "/runtime.v1.RuntimeService/GetContainerEvents";

/// The most memory that this process ever took, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<usize>().unwrap() * 1024
}

/// As they should be, but for these.
fn answers(odd: Vec<(&'static str, Answer)>) -> HashMap<&'static str, Answer> {
    let proper = [VERSION, CONTAINERS, SANDBOXES].map(|method| (method, Answer::message(&[])));
    proper.into_iter().chain(odd).collect()
}

async fn with<T>(odd: Vec<(&'static str, Answer)>, ask: impl AsyncFnOnce(Connection) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let server = Endless::start(&folder.path().join("s"), answers(odd)).unwrap();
    let client = Client::new(server.endpoint()).unwrap();
    let connection = timeout(PATIENCE, client.connect()).await.unwrap().unwrap();
    timeout(PATIENCE, ask(connection)).await.expect("it ends")
}

/// Why there is no list.
async fn list(connection: Connection) -> Vec<String> {
    connection.list().await.err().into_iter().map(|error| error.to_string()).collect()
}

/// How eight inspections at once end.
async fn inspect(connection: Connection) -> Vec<String> {
    let id = "a".into();
    let answer = || async {
        let answer = connection.inspect(&id).await;
        answer.map_or_else(|error| error.to_string(), |_| "answered".into())
    };
    join_all((0..8).map(|_| answer())).await
}

/// What becomes of the stream of events.
async fn event(connection: Connection) -> Vec<String> {
    let mut events = pin!(connection.events());
    loop {
        match events.next().await {
            Some(Ok(EngineEvent::Source(ChangeSource::Polling { .. }))) => return vec!["polled".into()],
            Some(Ok(_)) => {}
            Some(Err(error)) => return vec![error.to_string()],
            None => return vec!["the end".into()],
        }
    }
}

/// An entry, many times: together so many bytes.
fn entries(entry: &[u8], bytes: usize) -> Answer {
    let piece = entry.repeat(16 * 1024 / entry.len());
    Answer::pieces(&piece, bytes / piece.len())
}

fn huge(bytes: usize) -> HashMap<String, String> {
    [("huge".to_owned(), "x".repeat(bytes))].into()
}

enum Ask {
    List,
    Inspect,
    Event,
}

/// In one test, for the memory that a process took before is part of its peak.
#[tokio::test]
async fn whatever_is_sent_its_cost_is_bounded() {
    let began = peak();
    let listed =
        Container { id: "a".into(), state: 1, annotations: huge(MAX_LIST - 1024), ..Default::default() };
    let listed = ListContainersResponse { containers: vec![listed] }.encode_to_vec();
    let status = ContainerStatus {
        id: "a".into(),
        state: 1,
        annotations: huge(MAX_STATUS - 1024),
        ..Default::default()
    };
    let info = [("info".to_owned(), r#"{"pid":7}"#.to_owned())].into();
    let status = ContainerStatusResponse { status: Some(status), info }.encode_to_vec();
    // A status with nothing but empty mounts in it, which announces itself as long as that.
    let mounts = [&[0x0a, 0x80, 0x80, 0x80, 0x01][..], &[0x72, 0].repeat(MIB)].concat();
    for (what, ask, method, answer, expected) in [
        (
            "a message of 4 GiB",
            Ask::List,
            SANDBOXES,
            Answer::announced(usize::MAX, &[0; 9], 9),
            "more than the 12582912",
        ),
        ("empty containers", Ask::List, CONTAINERS, entries(&[0x0a, 0], MAX_LIST), "so many entries that"),
        ("the largest list", Ask::List, CONTAINERS, Answer::message(&listed), "nothing"),
        ("a status per inspection", Ask::Inspect, STATUS, Answer::message(&status), "answered"),
        ("empty mounts", Ask::Inspect, STATUS, Answer::message(&mounts), "so many entries that"),
        ("a huge event", Ask::Event, EVENTS, Answer::announced(usize::MAX, &[0; 9], 9), "polled"),
        ("empty statuses", Ask::Event, EVENTS, entries(&[0x1a, 0], MAX_EVENT), "polled"),
    ] {
        let told = with(vec![(method, answer)], async |connection| match ask {
            Ask::List => list(connection).await,
            Ask::Inspect => inspect(connection).await,
            Ask::Event => event(connection).await,
        })
        .await;
        let grown = (peak() - began) / MIB;
        println!("{grown} MiB after {what}: {:?}", told.first());
        let first = told.first().map_or("nothing", String::as_str);
        assert!(first.contains(expected), "{what}: {told:?}");
        assert!(grown < COST / MIB, "{what}: {grown} MiB");
    }
}
