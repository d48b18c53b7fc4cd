//! A gRPC server whose answers are larger than any engine's: made of one piece again and again, so that they cost nothing
//! here. For tests of what they cost there.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

/// What a method is answered with.
#[derive(Clone, Debug)]
pub struct Answer {
    header: usize,
    start: Bytes,
    piece: Bytes,
    times: usize,
    is_endless: bool,
}

impl Answer {
    /// One message of this content.
    pub fn message(content: &[u8]) -> Self {
        Self::announced(content.len(), content, 1)
    }

    /// One message whose content is this piece, so many times.
    pub fn pieces(piece: &[u8], times: usize) -> Self {
        Self::announced(piece.len() * times, piece, times)
    }

    /// A message that is announced with so many bytes, and of these this piece, so many times.
    pub fn announced(length: usize, piece: &[u8], times: usize) -> Self {
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let start = [&[0], &length[..]].concat().into();
        Self { header: 0, start, piece: piece.to_vec().into(), times, is_endless: false }
    }

    /// This message, so many times.
    pub fn messages(content: &[u8], times: usize) -> Self {
        let message = Self::message(content);
        let piece = [&message.start[..], content].concat().into();
        Self { start: Bytes::new(), piece, times, ..message }
    }

    /// With a header of so many bytes more.
    pub fn with_header(mut self, bytes: usize) -> Self {
        self.header = bytes;
        self
    }

    /// It never ends.
    pub fn without_end(mut self) -> Self {
        self.is_endless = true;
        self
    }
}

/// The server. It ends when it is dropped.
pub struct Endless {
    endpoint: String,
    accepting: JoinHandle<()>,
}

impl Endless {
    /// Listens at a socket, and answers each method, such as `/containerd.services.tasks.v1.Tasks/List`, with its answer; others
    /// never.
    ///
    /// # Errors
    ///
    /// If it cannot listen there.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
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

    /// Where it listens.
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
