//! A gRPC server with answers that are larger than any engine's, made of one repeated piece so that they take
//! no memory here. For tests of the memory that they take in a client.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use whalewatcher_core::adapter::{EngineClient, EngineConnection, EngineEvent};
use whalewatcher_core::{ChangeSource, Settings};

/// The limit for each case.
const PATIENCE: Duration = Duration::from_secs(60);

const MIB: usize = 1024 * 1024;

/// The memory that a hostile engine may take in the client, plus the server's own in this process, in MiB.
const COST: usize = 128 + 16;

/// The answer to a method.
#[derive(Clone, Debug)]
pub struct Answer {
    header: usize,
    start: Bytes,
    piece: Bytes,
    times: usize,
    is_endless: bool,
}

impl Answer {
    /// Returns one message with this content.
    pub fn message(content: &[u8]) -> Self {
        Self::announced(content.len(), content, 1)
    }

    /// Returns one message whose content is this piece, repeated.
    pub fn pieces(piece: &[u8], times: usize) -> Self {
        Self::announced(piece.len() * times, piece, times)
    }

    /// Returns a message that is announced with this length and contains this piece, repeated.
    pub fn announced(length: usize, piece: &[u8], times: usize) -> Self {
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let start = [&[0], &length[..]].concat().into();
        Self { header: 0, start, piece: piece.to_vec().into(), times, is_endless: false }
    }

    /// Returns this message, repeated.
    pub fn messages(content: &[u8], times: usize) -> Self {
        let message = Self::message(content);
        let piece = [&message.start[..], content].concat().into();
        Self { start: Bytes::new(), piece, times, ..message }
    }

    /// Returns one message of about this many bytes that repeats this entry.
    ///
    /// # Panics
    ///
    /// If the entry is empty or has more than 16 KiB.
    pub fn entries(entry: &[u8], bytes: usize) -> Self {
        let piece = entry.repeat(16 * 1024 / entry.len());
        Self::pieces(&piece, bytes / piece.len())
    }

    /// Adds a header of this many bytes.
    pub fn with_header(mut self, bytes: usize) -> Self {
        self.header = bytes;
        self
    }

    /// Makes the answer never end.
    pub fn without_end(mut self) -> Self {
        self.is_endless = true;
        self
    }
}

/// The call of a case.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    /// A list. The outcome is the error of the list or of a part of it; `nothing` if it is complete.
    List,
    /// Eight inspections of the container `a` at once. The outcome is the first one's error, or `answered`.
    Inspect,
    /// The event stream. The outcome is the error that ends it, or `polled` if the client polls instead.
    Events,
}

/// A call, its answers and the expected outcome.
#[derive(Clone, Debug)]
pub struct Case {
    /// The name in the test's output.
    pub what: &'static str,
    /// The call.
    pub ask: Ask,
    /// The answers that replace the proper ones, by method.
    pub answers: Vec<(&'static str, Answer)>,
    /// The text that the outcome must contain.
    pub expected: &'static str,
}

/// The growth of this process's peak memory since this was created.
#[derive(Debug)]
pub struct Cost {
    began: usize,
}

impl Cost {
    /// Measures from now on.
    ///
    /// # Panics
    ///
    /// If `/proc` does not show the memory of this process.
    #[expect(clippy::new_without_default, reason = "it is a moment")]
    pub fn new() -> Self {
        Self { began: peak() }
    }

    /// Runs each case on a connection of its own, to a server that answers everything else properly.
    ///
    /// # Panics
    ///
    /// If an outcome is unexpected, a case does not end, or the peak grew by more than 128 MiB, and 16 MiB
    /// for the server.
    #[expect(clippy::print_stdout, reason = "it is a test's")]
    pub async fn assert_bounded<C: EngineClient>(
        &self,
        client: impl Fn(&str) -> C,
        proper: &[(&'static str, Answer)],
        cases: Vec<Case>,
    ) {
        for Case { what, ask, answers, expected } in cases {
            let folder = tempfile::tempdir().expect("a folder");
            let answers = proper.iter().cloned().chain(answers);
            let server = Endless::start(&folder.path().join("s"), answers).expect("a socket");
            let client = client(server.endpoint());
            let asking = async {
                let connection = client.connect(&Settings::default()).await.expect("a connection");
                match ask {
                    Ask::List => list(&connection).await,
                    Ask::Inspect => inspect(&connection).await,
                    Ask::Events => events(&connection).await,
                }
            };
            let outcome =
                timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{what}: it does not end"));
            let grown = (peak() - self.began) / MIB;
            println!("{grown} MiB after {what}: {outcome}");
            assert!(outcome.contains(expected), "{what}: {outcome}");
            assert!(grown < COST, "{what}: {grown} MiB");
        }
    }
}

/// Returns the peak memory of this process, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("what this process takes");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok());
    peak.expect("its peak") * 1024
}

async fn list(connection: &impl EngineConnection) -> String {
    match connection.list().await {
        Ok(listing) => {
            listing.unlisted.first().map_or_else(|| "nothing".to_owned(), |part| part.error.to_string())
        }
        Err(error) => error.to_string(),
    }
}

async fn inspect(connection: &impl EngineConnection) -> String {
    let id = "a".into();
    let outcome = async || match connection.inspect(&id).await {
        Ok(_) => "answered".to_owned(),
        Err(error) => error.to_string(),
    };
    join_all((0..8).map(|_| outcome())).await.swap_remove(0)
}

async fn events(connection: &impl EngineConnection) -> String {
    let mut events = pin!(connection.events());
    loop {
        match events.next().await {
            Some(Ok(EngineEvent::Source(ChangeSource::Polling { .. }))) => return "polled".to_owned(),
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.to_string(),
            None => return "the end".to_owned(),
        }
    }
}

/// The server. Dropping it ends it.
pub struct Endless {
    endpoint: String,
    accepting: JoinHandle<()>,
}

impl Endless {
    /// Listens at a socket, and answers each method, such as `/containerd.services.tasks.v1.Tasks/List`, with
    /// its answer. Other methods are never answered.
    ///
    /// # Errors
    ///
    /// If it cannot listen there.
    ///
    /// # Panics
    ///
    /// If called outside a tokio runtime.
    pub fn start(
        socket: &Path,
        answers: impl IntoIterator<Item = (&'static str, Answer)>,
    ) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let answers: Arc<HashMap<_, _>> = Arc::new(answers.into_iter().collect());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answers = Arc::clone(&answers);
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answers.get(request.uri().path()).cloned();
                    async move {
                        match answer {
                            Some(answer) => Ok::<_, Infallible>(response(answer)),
                            None => std::future::pending().await,
                        }
                    }
                });
                let serving = http2::Builder::new(Tasks).serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move {
                    if let Err(error) = serving.await {
                        tracing::debug!(%error, "a connection ended");
                    }
                });
            }
        });
        let endpoint = format!("unix://{}", socket.display());
        Ok(Self { endpoint, accepting })
    }

    /// Returns its endpoint.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl fmt::Debug for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endless").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn response(answer: Answer) -> Response<Pieces> {
    let header = HeaderValue::from_bytes(&b"x".repeat(answer.header));
    let mut response = Response::new(Pieces { left: answer.times, answer, is_begun: false, is_over: false });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Ok(header) = header {
        headers.insert("x-header", header);
    }
    response
}

struct Pieces {
    answer: Answer,
    left: usize,
    is_begun: bool,
    is_over: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !std::mem::replace(&mut self.is_begun, true) && !self.answer.start.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.answer.start.clone()))));
        }
        if self.left > 0 {
            self.left -= 1;
            return Poll::Ready(Some(Ok(Frame::data(self.answer.piece.clone()))));
        }
        if self.answer.is_endless {
            return Poll::Pending;
        }
        if std::mem::replace(&mut self.is_over, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

#[derive(Clone)]
struct Tasks;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        tokio::spawn(task);
    }
}
