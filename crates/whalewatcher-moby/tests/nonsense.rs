//! Answers that are mutated at random from the first byte of HTTP on, in pieces of any size. Each request
//! ends, with an answer or with a well-formed error.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use whalewatcher_core::adapter::{EngineClient, EngineConnection, EngineEvent};
use whalewatcher_core::{ContainerId, EngineError, Settings};
use whalewatcher_moby::Client;

#[path = "../src/decode/mutation.rs"]
mod mutation;

use mutation::{mutate, mutations};

/// No step takes as long unless it hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The answer of an engine so new that its oldest API version is requested.
const PING: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.60\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK";

const VERSION: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n\
{\"Components\":[{\"Name\":\"Engine\"}],\"MinAPIVersion\":\"1.24\"}";

const INFO: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 67\r\n\r\n\
{\"ID\":\"x\",\"ServerVersion\":\"28\",\"SystemTime\":\"2026-01-31T12:00:00Z\"}";

const LIST: &str = "HTTP/1.1 200 OK\r\nDate: Sat, 31 Jan 2026 12:00:00 GMT\r\nConnection: close\r\n\
Transfer-Encoding: chunked\r\n\r\n2a\r\n[{\"Id\":\"a\",\"Names\":[\"/web\"],\"State\":\"runni\r\n31\r\n\
ng\",\"Status\":\"Up 3 hours\",\"Labels\":{\"tier\":\"1\"}}]\r\n0\r\n\r\n";

const INSPECTION: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"Id\":\"a\",\"Name\":\"/web\",\"State\":\
{\"Running\":true,\"Pid\":4711,\"StartedAt\":\"2026-01-31T12:00:00Z\"},\"Config\":{\"Labels\":{\"tier\":\"1\"}}}";

const EVENTS: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
55\r\n{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"a\",\"Attributes\":{\"name\":\"web\"}}}\n\r\n\
48\r\n{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"a\"},\"time\":1769860800}\r\n\
1\r\n\n\r\n0\r\n\r\n";

const REFUSAL: &str = "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 17\r\n\r\n{\"message\":\"no\"}\n";

/// The answer to each request, by a part of its path.
const ANSWERS: [(&str, &str); 6] = [
    ("/_ping", PING),
    ("/version", VERSION),
    ("/info", INFO),
    ("/containers/json", LIST),
    ("/containers/a/json", INSPECTION),
    ("/events", EVENTS),
];

/// Answers each connection's first request in pieces of these sizes, then closes it.
struct MutatedServer {
    folder: TempDir,
    _task: AbortOnDropHandle<()>,
}

impl MutatedServer {
    fn answering(answers: Vec<Vec<u8>>, pieces: Vec<usize>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let script = Arc::new((answers, pieces));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let script = script.clone();
                tokio::spawn(async move {
                    let (answers, pieces) = &*script;
                    let mut asked = vec![0; 8192];
                    let length = stream.read(&mut asked).await.unwrap_or(0);
                    let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                    let asked = asked.lines().next().unwrap_or_default();
                    let Some(which) = ANSWERS.iter().position(|(path, _)| asked.contains(path)) else {
                        return;
                    };
                    let mut rest = &*answers[which];
                    for piece in pieces.iter().copied().chain([usize::MAX]) {
                        let (piece, left) = rest.split_at(piece.min(rest.len()));
                        rest = left;
                        if stream.write_all(piece).await.is_err() {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                });
            }
        });
        Self { folder, _task: AbortOnDropHandle::new(task) }
    }

    /// Makes all requests of a watcher, and returns the events.
    async fn query(&self) -> Result<Vec<EngineEvent>, EngineError> {
        let client = Client::new(format!("unix://{}/s", self.folder.path().display())).unwrap();
        let connection = client.connect(&Settings::default()).await?;
        let mut all = Vec::new();
        {
            let mut events = pin!(connection.events());
            while let Some(event) = events.next().await {
                match event {
                    // The stream ended, so changes are polled for.
                    Ok(EngineEvent::Source(_)) => break,
                    Ok(event) => all.push(event),
                    Err(error) => {
                        assert_well_formed(&error);
                        assert!(events.next().await.is_none(), "an error is the end");
                        break;
                    }
                }
            }
        }
        match connection.list().await {
            Ok(list) => assert!(list.entries.len() < 100),
            Err(error) => assert_well_formed(&error),
        }
        match connection.inspect(&ContainerId::from("a")).await {
            Ok(container) => assert!(container.is_none_or(|container| container.pid() != 0)),
            Err(error) => assert_well_formed(&error),
        }
        Ok(all)
    }
}

/// One line of bounded length.
fn assert_well_formed(error: &EngineError) {
    let text = error.to_string();
    assert!(text.len() < 4000 && !text.contains(char::is_control), "{text:?}");
}

fn answers() -> Vec<Vec<u8>> {
    ANSWERS.iter().map(|(_, answer)| answer.as_bytes().to_vec()).collect()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn ask(answers: Vec<Vec<u8>>, pieces: Vec<usize>) -> Result<Vec<EngineEvent>, EngineError> {
    runtime().block_on(async {
        let server = MutatedServer::answering(answers, pieces);
        timeout(TIMEOUT, server.query()).await.expect("each request ends")
    })
}

/// Failures are kept beside this file and played first from then on.
fn config() -> ProptestConfig {
    let failure_persistence = FileFailurePersistence::WithSource("regressions");
    ProptestConfig {
        cases: 300,
        failure_persistence: Some(Box::new(failure_persistence)),
        ..ProptestConfig::default()
    }
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0..60_usize, 0..30)
}

#[test]
fn unmutated_answers_are_decoded() {
    let reported = ask(answers(), Vec::new()).unwrap();
    let [
        EngineEvent::Subscribed,
        EngineEvent::Started { preview: Some(_), .. },
        EngineEvent::Exited { at: Some(_), .. },
    ] = &*reported
    else {
        panic!("{reported:?}");
    };
}

proptest! {
    #![proptest_config(config())]

    /// The same bytes are the same events, in pieces of any size.
    #[test]
    fn pieces_make_no_difference(pieces in pieces()) {
        prop_assert_eq!(ask(answers(), pieces).unwrap(), ask(answers(), Vec::new()).unwrap());
    }

    #[test]
    fn mutated_http(which in 0..ANSWERS.len(), mutations in mutations(), pieces in pieces(), refused in any::<bool>()) {
        let mut answers = answers();
        answers[which] = mutate(if refused { REFUSAL } else { ANSWERS[which].1 }, &mutations);
        match ask(answers, pieces) {
            Ok(reported) => prop_assert!(reported.len() < 100),
            Err(error) => assert_well_formed(&error),
        }
    }

    #[test]
    fn random_bytes(which in 0..ANSWERS.len(), bytes in proptest::collection::vec(any::<u8>(), 0..300), pieces in pieces()) {
        let mut answers = answers();
        answers[which] = bytes;
        if let Err(error) = ask(answers, pieces) {
            assert_well_formed(&error);
        }
    }
}
