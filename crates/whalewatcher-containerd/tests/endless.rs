//! Answers that are larger than any engine's: whatever it sends, it costs no more than 128 MiB.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::HashMap;
use std::fs;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use prost::Message;
use tokio::time::timeout;
use whalewatcher_containerd::api::services::containers::v1::{
    Container, GetContainerResponse, ListContainerMessage,
};
use whalewatcher_containerd::api::services::namespaces::v1::{ListNamespacesResponse, Namespace};
use whalewatcher_containerd::api::services::tasks::v1::{GetResponse, ListTasksResponse};
use whalewatcher_containerd::api::v1::types::{Process, Status};
use whalewatcher_containerd::{Client, Connection, MAX_CONTAINER, MAX_EVENT, MAX_TASKS};
use whalewatcher_core::{EngineClient, EngineConnection};
use whalewatcher_testkit::endless::{Answer, Endless};

/// Nothing here takes so long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

const MIB: usize = 1024 * 1024;

/// What a hostile engine may cost, and something for the server in this process.
const COST: usize = (128 + 16) * MIB;

const VERSION: &str = "/containerd.services.version.v1.Version/Version";
const SERVER: &str = "/containerd.services.introspection.v1.Introspection/Server";
const NAMESPACES: &str = "/containerd.services.namespaces.v1.Namespaces/List";
const TASKS: &str = "/containerd.services.tasks.v1.Tasks/List";
const TASK: &str = "/containerd.services.tasks.v1.Tasks/Get";
const RECORDS: &str = "/containerd.services.containers.v1.Containers/ListStream";
const RECORD: &str = "/containerd.services.containers.v1.Containers/Get";
const PUBLISH: &str = "/containerd.services.events.v1.Events/Publish";
const SUBSCRIBE: &str = "/containerd.services.events.v1.Events/Subscribe";

/// The most memory that this process ever took, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<usize>().unwrap() * 1024
}

fn task() -> Process {
    Process { id: "a".into(), pid: 7, status: Status::Running as i32, ..Process::default() }
}

/// As they should be, but for these.
fn answers(odd: Vec<(&'static str, Answer)>) -> HashMap<&'static str, Answer> {
    let namespaces = ["a", "b", "c", "d", "e", "f", "g", "h"]
        .map(|name| Namespace { name: name.into(), ..Namespace::default() });
    let namespaces = ListNamespacesResponse { namespaces: namespaces.into() };
    let proper = [
        (VERSION, Vec::new()),
        (SERVER, Vec::new()),
        (PUBLISH, Vec::new()),
        (NAMESPACES, namespaces.encode_to_vec()),
        (TASKS, ListTasksResponse { tasks: vec![task()] }.encode_to_vec()),
        (TASK, GetResponse { process: Some(task()) }.encode_to_vec()),
    ];
    let proper = proper.map(|(method, message)| (method, Answer::message(&message)));
    proper.into_iter().chain(odd).collect()
}

async fn with<T>(odd: Vec<(&'static str, Answer)>, ask: impl AsyncFnOnce(Connection) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let server = Endless::start(&folder.path().join("s"), answers(odd)).unwrap();
    let client = Client::new(server.endpoint()).unwrap();
    let connection = timeout(PATIENCE, client.connect()).await.unwrap().unwrap();
    timeout(PATIENCE, ask(connection)).await.expect("it ends")
}

/// Why there is no list of the namespaces, or no list at all.
async fn list(connection: Connection) -> Vec<String> {
    match connection.list().await {
        Ok(listing) => listing.unlisted.into_iter().map(|part| part.error.to_string()).collect(),
        Err(error) => vec![error.to_string()],
    }
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

/// How the stream of events ends.
async fn event(connection: Connection) -> Vec<String> {
    let mut events = pin!(connection.events());
    loop {
        match events.next().await {
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

fn record(id: &str, label: usize) -> Container {
    let labels = [("huge".to_owned(), "x".repeat(label))].into();
    Container { id: id.into(), labels, ..Container::default() }
}

fn streamed(id: &str, label: usize, times: usize) -> Answer {
    let message = ListContainerMessage { container: Some(record(id, label)) };
    Answer::messages(&message.encode_to_vec(), times)
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
    let large = GetContainerResponse { container: Some(record("a", MAX_CONTAINER - 1024)) }.encode_to_vec();
    for (what, ask, method, answer, expected) in [
        (
            "a message of 4 GiB",
            Ask::List,
            TASKS,
            Answer::announced(usize::MAX, &[0; 9], 9),
            "more than the 8388608",
        ),
        ("empty tasks", Ask::List, TASKS, entries(&[0x0a, 0], MAX_TASKS), "so many entries that"),
        ("tasks in single bytes", Ask::List, TASKS, Answer::pieces(&[0x0a], MAX_TASKS / 2), ""),
        ("a huge header", Ask::List, TASKS, Answer::message(&[]).with_header(MIB), ""),
        ("nothing but unknown records", Ask::List, RECORDS, streamed("b", MIB, 3), "nothing"),
        ("one record again and again", Ask::List, RECORDS, streamed("a", MIB, 5), "nothing"),
        ("more than is kept", Ask::List, RECORDS, streamed("a", 4 * MIB, 1), "have more than 25165824 bytes"),
        ("a message per inspection", Ask::Inspect, RECORD, Answer::message(&large), "answered"),
        ("empty entries", Ask::Inspect, RECORD, entries(&[0x0a, 0], MAX_CONTAINER), "so many entries that"),
        ("a huge event", Ask::Event, SUBSCRIBE, entries(&[0; 2], MAX_EVENT * 2), "more than the 4194304"),
        (
            "odd events",
            Ask::Event,
            SUBSCRIBE,
            Answer::messages(&[0x0a, 0].repeat(MIB), 50),
            "so many entries",
        ),
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
