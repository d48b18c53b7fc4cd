//! Servers at an endpoint that are no engine.

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{Backoff, EngineError, ErrorKind, Settings, watch_with};
use whalewatcher_moby::{Client, MAX_IDENTITY};
use whalewatcher_testkit::docker::{Kind, Server, Verdict};

use crate::watched::in_time;

/// A server that answers the first request of each connection with these bytes, and closes it; without bytes, it never
/// answers.
struct ForeignServer {
    folder: TempDir,
    _task: AbortOnDropHandle<()>,
}

impl ForeignServer {
    fn answering(answer: Option<&'static str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let task: JoinHandle<()> = tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked).await;
                match answer {
                    Some(answer) => {
                        let _ = stream.write_all(answer.as_bytes()).await;
                        let _ = stream.shutdown().await;
                    }
                    None => silent.push(stream),
                }
            }
        });
        Self { folder, _task: AbortOnDropHandle::new(task) }
    }

    fn endpoint(&self) -> String {
        format!("unix://{}/s", self.folder.path().display())
    }

    async fn refusal(&self) -> EngineError {
        in_time(Client::new(self.endpoint()).unwrap().connect(&Settings::default())).await.unwrap_err()
    }
}

#[tokio::test]
async fn an_answer_that_is_not_dockers_is_reported_so() {
    for (answer, reason) in [
        ("SSH-2.0-OpenSSH_9.2p1\r\n", "does not speak HTTP"),
        ("\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{16}", "does not speak HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "names no API version"),
        ("HTTP/1.1 200 OK\r\nApi-Version: latest\r\nContent-Length: 2\r\n\r\nOK", "names no API version"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>", "status 404: <html>"),
        (
            "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            "Client sent an HTTP request to an HTTPS server",
        ),
    ] {
        let error = ForeignServer::answering(Some(answer)).refusal().await;
        assert_eq!(error.kind(), ErrorKind::NotThisEngine, "{error}");
        assert!(error.to_string().contains(reason) && !error.to_string().contains('\n'), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_without_an_api_version_is_a_refusal() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
        let error = ForeignServer::answering(Some(answer.leak())).refusal().await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
}

#[tokio::test]
async fn an_answer_may_be_as_large_as_its_limit() {
    for (size, refused) in [(MAX_IDENTITY, false), (MAX_IDENTITY + 1, true)] {
        let server = Server::builder().api_versions("1.60", "1.24").start().unwrap();
        let mut body = br#"{"MinAPIVersion":"1.24"}"#.to_vec();
        body.resize(size, b' ');
        server.on(Kind::Version, Verdict::Answer { status: 200, body: body.clone().into() });
        let answer = in_time(Client::new(server.endpoint()).unwrap().connect(&Settings::default())).await;
        assert_eq!(answer.is_err(), refused, "{size} bytes");
        if let Err(error) = answer {
            assert_eq!(error.kind(), ErrorKind::Malformed);
            assert!(
                error.to_string().contains("GET /version: the answer has more than 4194304 bytes"),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn a_server_that_closes_the_connection_is_disconnected() {
    let error = ForeignServer::answering(Some("")).refusal().await;
    assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
}

#[tokio::test]
async fn a_silent_server_exceeds_the_connect_limit() {
    let server = ForeignServer::answering(None);
    let limit = std::time::Duration::from_millis(50);
    let settings = Settings::default()
        .with_limits(limit, limit, limit)
        .with_backoff(Backoff::default().with_delays(limit, limit).with_attempts(1));
    let watching = watch_with(Client::new(server.endpoint()).unwrap(), settings);
    let error = in_time(watching.ready()).await.unwrap_err();
    assert!(error.to_string().contains("connecting: no answer within 0.05 s"), "{error}");
}

#[tokio::test]
async fn an_engine_with_a_malformed_version_is_refused() {
    let server = Server::builder().api_versions("1.60", "1.44").start().unwrap();
    server.on(Kind::Version, Verdict::Answer { status: 200, body: "[".into() });
    let error =
        in_time(Client::new(server.endpoint()).unwrap().connect(&Settings::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.to_string().contains("GET /version: the answer cannot be understood"), "{error}");
}

#[tokio::test]
async fn a_server_that_sends_data_first_does_not_speak_http() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("s")).unwrap();
    let _task = AbortOnDropHandle::new(tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
            open.push(stream);
        }
    }));
    let endpoint = format!("unix://{}/s", folder.path().display());
    let error = in_time(Client::new(endpoint).unwrap().connect(&Settings::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotThisEngine);
    assert!(error.to_string().contains("does not speak HTTP"), "{error}");
}
