//! Both sides of a proxy: plain sockets, and an HTTP client with a persistent connection.

use std::io;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use whalewatcher_testkit::proxy::Proxy;
use whalewatcher_testkit::watched::in_time;

pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// One end of a connection.
pub(crate) struct Peer(BufReader<Box<dyn Io>>);

impl Peer {
    fn new(stream: impl Io + 'static) -> Self {
        Self(BufReader::new(Box::new(stream)))
    }

    pub(crate) async fn to(proxy: &Proxy) -> io::Result<Self> {
        Ok(match proxy.endpoint().split_once("://").unwrap() {
            ("unix", path) => Self::new(UnixStream::connect(path).await?),
            (_, address) => Self::new(TcpStream::connect(address).await?),
        })
    }

    pub(crate) async fn say(&mut self, words: impl AsRef<[u8]>) {
        self.0.write_all(words.as_ref()).await.unwrap();
    }

    pub(crate) async fn receive(&mut self, words: &str) {
        assert_eq!(String::from_utf8_lossy(&self.bytes(words.len()).await), words);
    }

    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut received = vec![0; count];
        in_time(self.0.read_exact(&mut received)).await.unwrap();
        received
    }

    /// Receives everything up to the end.
    pub(crate) async fn rest(&mut self) -> io::Result<String> {
        let mut received = Vec::new();
        in_time(self.0.read_to_end(&mut received)).await?;
        Ok(String::from_utf8_lossy(&received).into())
    }

    /// Ends the data to the other side.
    pub(crate) async fn end(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    pub(crate) async fn ask(&mut self, request: &str) -> io::Result<()> {
        self.0.write_all(format!("{request} HTTP/1.1\r\nHost: whale\r\n\r\n").as_bytes()).await
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(in_time(self.0.read_line(&mut line)).await.unwrap() > 0, "the connection has ended");
        line.trim_end().into()
    }

    /// Returns the status and the length of an answer; none if it is in chunks.
    pub(crate) async fn head(&mut self) -> (u16, Option<usize>) {
        let status = self.line().await.split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = None;
        loop {
            let line = self.line().await.to_lowercase();
            if line.is_empty() {
                return (status, length);
            }
            length = line.strip_prefix("content-length: ").map(|value| value.parse().unwrap()).or(length);
        }
    }

    /// Returns the next chunk; `None` for the last one.
    pub(crate) async fn chunk(&mut self) -> Option<String> {
        let size = usize::from_str_radix(&self.line().await, 16).expect("the size of a chunk");
        let chunk = self.bytes(size + 2).await;
        (size > 0).then(|| String::from_utf8_lossy(&chunk[..size]).into())
    }

    /// Returns status and body of an answer.
    pub(crate) async fn answer(&mut self) -> (u16, String) {
        let (status, length) = self.head().await;
        let mut body = String::from_utf8(self.bytes(length.unwrap_or(0)).await).unwrap();
        while length.is_none()
            && let Some(chunk) = self.chunk().await
        {
            body += &chunk;
        }
        (status, body)
    }

    pub(crate) async fn get(&mut self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path}")).await.unwrap();
        self.answer().await
    }

    /// Returns action and name of the next event, such as `start web`, or of several in one chunk.
    pub(crate) async fn event(&mut self) -> String {
        let chunk = self.chunk().await.expect("the stream goes on");
        let words = chunk.lines().map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let name = event["Actor"]["Attributes"]["name"].as_str().unwrap();
            format!("{} {name}", event["Action"].as_str().unwrap())
        });
        words.collect::<Vec<_>>().join(", ")
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
            Self::Unix(listener, _) => Peer::new(in_time(listener.accept()).await.unwrap().0),
            Self::Tcp(listener) => Peer::new(in_time(listener.accept()).await.unwrap().0),
        }
    }

    /// Starts a proxy on a unix socket before this listener.
    pub(crate) fn proxy(&self) -> Proxy {
        Proxy::builder().upstream(self.endpoint()).start().unwrap()
    }

    /// Starts a proxy on a TCP port before this listener.
    pub(crate) fn tcp_proxy(&self) -> Proxy {
        Proxy::builder().listen_tcp().upstream(self.endpoint()).start().unwrap()
    }

    /// Opens a connection over the proxy, and returns both ends: the client's and the engine's.
    pub(crate) async fn meet(&self, proxy: &Proxy) -> (Peer, Peer) {
        (Peer::to(proxy).await.unwrap(), self.accept().await)
    }
}
