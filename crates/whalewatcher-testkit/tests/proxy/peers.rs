//! Both sides of a proxy: plain sockets, and an HTTP client with a persistent connection.

use std::{io, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::timeout,
};
use whalewatcher_testkit::proxy::Proxy;

/// No step takes as long unless it hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Awaits a future that resolves soon.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(TIMEOUT, future).await.expect("it resolves in time")
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// One end of a connection.
pub(crate) struct Peer(Box<dyn Io>);

impl Peer {
    pub(crate) async fn to(endpoint: &str) -> io::Result<Self> {
        Ok(match endpoint.split_once("://").unwrap() {
            ("unix", path) => Self(Box::new(UnixStream::connect(path).await?)),
            (_, address) => Self(Box::new(TcpStream::connect(address).await?)),
        })
    }

    pub(crate) async fn say(&mut self, words: impl AsRef<[u8]>) {
        self.0.write_all(words.as_ref()).await.unwrap();
    }

    pub(crate) async fn receive(&mut self, words: &str) {
        let mut received = vec![0; words.len()];
        in_time(self.0.read_exact(&mut received)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&received), words);
    }

    pub(crate) async fn receive_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut received = vec![0; count];
        in_time(self.0.read_exact(&mut received)).await.unwrap();
        received
    }

    /// Receives everything up to the end.
    pub(crate) async fn receive_all(&mut self) -> io::Result<String> {
        let mut received = Vec::new();
        in_time(self.0.read_to_end(&mut received)).await?;
        Ok(String::from_utf8_lossy(&received).into())
    }

    /// Ends the data to the other side.
    pub(crate) async fn end(&mut self) {
        self.0.shutdown().await.unwrap();
    }
}

/// A listener in place of an engine.
pub(crate) enum Engine {
    Unix(UnixListener, TempDir),
    Tcp(TcpListener),
}

impl Engine {
    pub(crate) fn unix() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::Unix(UnixListener::bind(folder.path().join("e.sock")).unwrap(), folder)
    }

    pub(crate) async fn tcp() -> Self {
        Self::Tcp(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn endpoint(&self) -> String {
        match self {
            Self::Unix(_, folder) => format!("unix://{}", folder.path().join("e.sock").display()),
            Self::Tcp(listener) => format!("tcp://{}", listener.local_addr().unwrap()),
        }
    }

    pub(crate) async fn accept(&self) -> Peer {
        match self {
            Self::Unix(listener, _) => Peer(Box::new(in_time(listener.accept()).await.unwrap().0)),
            Self::Tcp(listener) => Peer(Box::new(in_time(listener.accept()).await.unwrap().0)),
        }
    }

    /// Starts a proxy on a unix socket before this listener.
    pub(crate) fn proxy(&self) -> Proxy {
        Proxy::builder().upstream(self.endpoint()).start().unwrap()
    }

    /// Opens a connection over the proxy, and returns both ends: the client's and the engine's.
    pub(crate) async fn meet(&self, proxy: &Proxy) -> (Peer, Peer) {
        let client = Peer::to(&proxy.endpoint()).await.unwrap();
        (client, self.accept().await)
    }
}

/// An HTTP client with a persistent connection.
pub(crate) struct Client(BufReader<Box<dyn Io>>);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) chunked: bool,
    pub(crate) body: String,
}

impl Client {
    pub(crate) async fn to(proxy: &Proxy) -> Self {
        Self::try_to(proxy).await.unwrap()
    }

    pub(crate) async fn try_to(proxy: &Proxy) -> io::Result<Self> {
        Ok(Self(BufReader::new(Peer::to(&proxy.endpoint()).await?.0)))
    }

    pub(crate) async fn try_ask(&mut self, request: &str) -> io::Result<()> {
        let request = format!("{request} HTTP/1.1\r\nHost: whale\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).await
    }

    pub(crate) async fn say(&mut self, words: &str) {
        self.0.get_mut().write_all(words.as_bytes()).await.unwrap();
    }

    pub(crate) async fn ask(&mut self, request: &str) {
        self.try_ask(request).await.unwrap();
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if in_time(self.0.read_line(&mut line)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().into())
    }

    /// Returns the status, whether the answer is chunked, and its length.
    pub(crate) async fn head(&mut self) -> io::Result<(u16, bool, usize)> {
        let status = self.line().await?.split(' ').nth(1).unwrap().parse().unwrap();
        let (mut chunked, mut length) = (false, 0);
        loop {
            let line = self.line().await?.to_lowercase();
            if line.is_empty() {
                return Ok((status, chunked, length));
            }
            chunked |= line == "transfer-encoding: chunked";
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
    }

    /// Returns the next chunk; `None` for the last one.
    pub(crate) async fn chunk(&mut self) -> io::Result<Option<String>> {
        let line = self.line().await?;
        let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("'{line}' is a chunk's size"));
        let mut chunk = vec![0; size + 2];
        in_time(self.0.read_exact(&mut chunk)).await?;
        assert_eq!(chunk.split_off(size), b"\r\n");
        Ok((size > 0).then(|| String::from_utf8(chunk).unwrap()))
    }

    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let (status, chunked, length) = self.head().await?;
        let mut body = vec![0; length];
        in_time(self.0.read_exact(&mut body)).await?;
        let mut body = String::from_utf8(body).unwrap();
        while chunked && let Some(chunk) = self.chunk().await? {
            body += &chunk;
        }
        Ok(Answer { status, chunked, body })
    }

    pub(crate) async fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask(&format!("GET {path}")).await;
        self.answer().await
    }

    /// Receives everything until the other side closes the connection.
    pub(crate) async fn rest(&mut self) -> io::Result<String> {
        let mut rest = String::new();
        in_time(self.0.read_to_string(&mut rest)).await?;
        Ok(rest)
    }

    /// Requests events, and waits until the engine's answer has begun.
    pub(crate) async fn follow(&mut self) {
        self.ask("GET /events").await;
        assert_eq!(self.head().await.unwrap().0, 200);
    }

    /// Returns action and name of the next event, such as `start web`.
    pub(crate) async fn event(&mut self) -> String {
        let chunk = self.chunk().await.unwrap().expect("the stream goes on");
        let event: Event = serde_json::from_str(&chunk).unwrap_or_else(|error| panic!("{error}: {chunk}"));
        let name = event.actor.attributes["name"].as_str().unwrap().to_owned();
        format!("{} {name}", event.action)
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    action: String,
    actor: Actor,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Actor {
    attributes: serde_json::Value,
}
