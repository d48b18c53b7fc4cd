//! Endless answers: each is abandoned at its limit, and takes no more memory than that.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use whalewatcher_core::adapter::{EngineClient, EngineConnection, EngineEvent};
use whalewatcher_core::{ContainerId, EngineError, ErrorKind, Settings};
use whalewatcher_moby::{Client, Connection, MAX_IDENTITY, MAX_INSPECTION, MEMORY_LIMIT};

/// No step takes as long unless it hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

const MIB: usize = 1024 * 1024;

/// An engine that answers one kind of request with an endless text, and all others properly.
struct Endless {
    folder: TempDir,
    _task: AbortOnDropHandle<()>,
}

fn proper(path: &str) -> String {
    let body = match path {
        path if path.contains("/version") => r#"{"ApiVersion":"1.51","MinAPIVersion":"1.24"}"#,
        path if path.contains("/info") => r#"{"ID":"x","SystemTime":"2026-01-31T12:00:00Z"}"#,
        _ => "OK",
    };
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

impl Endless {
    fn on(path: &'static str, beginning: &'static str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let more = more.as_bytes().repeat(64 * 1024 / more.len().max(1));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = vec![0; 8192];
                let length = stream.read(&mut asked).await.unwrap_or(0);
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                let asked = asked.split(' ').nth(1).unwrap_or_default();
                // A client that does not read to the end closes the connection, which ends the loop.
                if asked.contains(path) {
                    let mut alive = stream.write_all(beginning.as_bytes()).await;
                    while alive.is_ok() && !more.is_empty() {
                        alive = stream.write_all(&more).await;
                    }
                } else {
                    let _ = stream.write_all(proper(asked).as_bytes()).await;
                }
            }
        });
        Self { folder, _task: AbortOnDropHandle::new(task) }
    }

    async fn connect(&self) -> Result<Connection, EngineError> {
        self.connect_within(MEMORY_LIMIT).await
    }

    async fn connect_within(&self, memory_limit: usize) -> Result<Connection, EngineError> {
        let endpoint = format!("unix://{}/s", self.folder.path().display());
        let client = Client::builder().endpoint(endpoint).memory_limit(memory_limit).build().unwrap();
        timeout(TIMEOUT, client.connect(&Settings::default())).await.expect("the request ends")
    }
}

/// The most memory that this process ever took, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<usize>().unwrap() * 1024
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nTransfer-Encoding: chunked\r\n\r\n";
/// A chunk of 8 KiB.
fn chunk() -> String {
    format!("2000\r\n{}\r\n", " ".repeat(0x2000))
}

/// In one test and in this order, because the memory that a process took before is part of its peak.
#[tokio::test]
async fn endless_answers_are_abandoned_at_their_limits() {
    let (began, chunk) = (peak(), chunk());
    let within = |limit: usize, what: &str| {
        let grown = peak() - began;
        println!("{} MiB of memory for a limit of {} MiB: {what:?}", grown / MIB, limit / MIB);
        assert!(
            grown < 2 * limit + 16 * MIB,
            "{what}: {} MiB for a limit of {} MiB",
            grown / MIB,
            limit / MIB
        );
    };

    for (beginning, more, kind, text) in [
        ("HTTP/1.1 200 OK\r\nX: ", "x", ErrorKind::NotThisEngine, "does not speak HTTP"),
        ("HTTP/1.1 200 OK\r\n", "X: x\r\n", ErrorKind::NotThisEngine, "does not speak HTTP"),
        ("HTTP/1.1 200 ", "x", ErrorKind::NotThisEngine, "does not speak HTTP"),
        ("", "\r\n", ErrorKind::Disconnected, ""),
        ("", "x", ErrorKind::NotThisEngine, "does not speak HTTP"),
        (CHUNKED, &*chunk, ErrorKind::Malformed, "GET /_ping: the answer has more than 4194304 bytes"),
        (
            "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nContent-Length: 9223372036854775807\r\n\r\n",
            "x",
            ErrorKind::Malformed,
            "more than 4194304 bytes",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
            "x",
            ErrorKind::NotThisEngine,
            "does not speak HTTP",
        ),
        (
            "HTTP/1.1 500 No\r\nApi-Version: 1.51\r\n\r\n",
            "x",
            ErrorKind::Failed,
            "with status 500: Internal Server Error",
        ),
    ] {
        let endless = Endless::on("/_ping", beginning, more);
        let error = endless.connect().await.unwrap_err();
        if kind != ErrorKind::Disconnected {
            assert_eq!(error.kind(), kind, "{beginning:?}: {error}");
        }
        assert!(error.to_string().contains(text), "{beginning:?}: {error}");
        within(MAX_IDENTITY, beginning);
    }

    // Malformed chunks.
    for malformed in
        ["zz\r\n", "ffffffffffffffff0\r\n", "-1\r\n", "1;", "\r\n\r\n", "5\r\nhello!!", "0\r\nX: "]
    {
        let head = format!("{CHUNKED}{malformed}").leak();
        let error = Endless::on("/info", head, "x").connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{malformed:?}: {error}");
        within(MAX_IDENTITY, malformed);
    }

    // A body that announces too much is not read.
    let announced = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n[", MEMORY_LIMIT + 1).leak();
    let endless = Endless::on("/containers/json", announced, "");
    let connection = endless.connect().await.unwrap();
    let error = timeout(TIMEOUT, connection.list()).await.expect("the request ends").unwrap_err();
    let full = "GET /containers/json: the answer takes more than is left of 134217728 bytes for all answers";
    assert!(error.to_string().starts_with(full), "{error}");
    within(MAX_IDENTITY, "a list that is too large");

    let line = r#"{"Type":"container","Action":"start","Actor":{"ID":"a","Attributes":{"huge":""#;
    let endless = Endless::on("/events", format!("HTTP/1.1 200 OK\r\n\r\n{line}").leak(), "x");
    let connection = endless.connect().await.unwrap();
    let mut events = pin!(connection.events());
    let mut next = async || timeout(TIMEOUT, events.next()).await.expect("the event comes in time");
    assert_eq!(next().await.unwrap().unwrap(), EngineEvent::Subscribed);
    let hint = EngineEvent::Touched { id: "a".into(), at: None };
    assert_eq!(next().await.unwrap().unwrap(), hint);
    let error = next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "GET /events: the answer has more than 268435456 bytes");
    assert!(next().await.is_none());
    within(MAX_IDENTITY, "an event");

    // Chunks of one byte each take no more than others.
    let endless = Endless::on("/containers", CHUNKED, "1\r\n \r\n");
    let connection = endless.connect_within(MIB).await.unwrap();
    let error = timeout(TIMEOUT, connection.list()).await.expect("the request ends").unwrap_err();
    assert!(error.to_string().contains("more than is left of 1048576 bytes"), "{error}");
    within(MAX_IDENTITY, "chunks of one byte");
    let small = 8 * MIB;

    // The decoded entries of a list with many tiny parts take their share as well.
    for (entry, whole) in [
        ("{\"Id\":\"a\"},", "[%{}]"),
        ("\"\":\"\",", "[{\"Id\":\"a\",\"Labels\":{%\"\":\"\"}}]"),
        ("\"\",", "[{\"Id\":\"a\",\"Names\":[%\"\"]}]"),
    ] {
        let body = whole.replace('%', &entry.repeat(6 * MIB / entry.len()));
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let began = peak();
        let endless = Endless::on("/containers/json", answer.leak(), "");
        let connection = endless.connect_within(small).await.unwrap();
        let listed = timeout(TIMEOUT, connection.list()).await.expect("the request ends");
        assert!(listed.is_err() || !entry.contains("Id"), "{listed:?}");
        let grown = peak() - began;
        // The number of labels is limited per container.
        assert!(grown < 2 * small + 40 * MIB, "{entry}: {} MiB", grown / MIB);
    }

    let endless = Endless::on("/containers/a/json", CHUNKED, &chunk);
    let connection = endless.connect().await.unwrap();
    let id = ContainerId::from("a");
    let inspecting = connection.inspect(&id);
    let error = timeout(TIMEOUT, inspecting).await.expect("the request ends").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    within(MAX_INSPECTION, "an inspection");

    // As many inspections as run at once share the budget.
    let inspections = (0..16).map(|_| connection.inspect(&id));
    let errors = timeout(TIMEOUT, join_all(inspections)).await.expect("the requests end");
    assert!(errors.iter().all(Result::is_err));
    within(MEMORY_LIMIT - 48 * MIB, "sixteen inspections");
}
