//! Servers that are not the expected engine.

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio_util::task::AbortOnDropHandle;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{EngineError, ErrorKind, Settings};
use whalewatcher_cri::Client;

use crate::watched::in_time;

/// Starts a server that answers each connection with these bytes after the first request, and closes it.
struct Stranger {
    folder: TempDir,
    _task: AbortOnDropHandle<()>,
}

impl Stranger {
    fn saying(answer: &'static [u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { folder, _task: AbortOnDropHandle::new(task) }
    }

    async fn refusal(&self) -> EngineError {
        let endpoint = self.folder.path().join("s").display().to_string();
        in_time(Client::new(endpoint).unwrap().connect(&Settings::default())).await.unwrap_err()
    }
}

#[tokio::test]
async fn a_server_without_http2_is_reported_as_such() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request"
            [..],
        b"HTTP/1.1 505 HTTP Version Not Supported\r\nConnection: close\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"220 mail.example.com ESMTP\r\n",
    ] {
        let error = Stranger::saying(answer).refusal().await;
        assert_eq!(error.kind(), ErrorKind::NotThisEngine, "{error}");
        assert!(error.to_string().contains("does not speak gRPC"), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_a_lost_connection() {
    let error = Stranger::saying(b"").refusal().await;
    assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
    assert!(
        error.to_string().ends_with("closed the connection immediately: is this a CRI runtime?"),
        "{error}"
    );
}
