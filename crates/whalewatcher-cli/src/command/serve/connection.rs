//! A connection of a client: whatever it does, it takes bounded time and memory.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many connections of a listener are served at once; others wait.
const MAX_CONNECTIONS: usize = 4_096;

/// The most bytes of a request's head, and the most fields in it.
const MAX_REQUEST: usize = 64 * 1024;
const MAX_FIELDS: usize = 100;

/// How long a request's head may take to arrive, also on a connection that is kept.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// How long a client may take to read an answer that is not a stream, from when it does not read all of it at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// How long answers may take to be written when the server ends.
const END_LIMIT: Duration = Duration::from_secs(1);

/// How long no connection is accepted after that has failed, as it does without free descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections, until this is dropped: each is a task.
pub(super) async fn accept_all<S, F: Future<Output = ()> + Send + 'static>(
    accept: impl AsyncFn() -> io::Result<S>,
    tasks: &TaskTracker,
    connection: impl Fn(S) -> F,
) {
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        match accept().await {
            Ok(stream) => {
                let connection = connection(stream);
                tasks.spawn(async move {
                    let _permit = permit;
                    connection.await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Serves a connection, to its end or until soon after `ending` is cancelled.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    app: Router,
    ending: CancellationToken,
) {
    let is_stream = Arc::new(AtomicBool::new(false));
    let stream = Timely { stream, is_stream: is_stream.clone(), late: None };
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |request: Request<Incoming>| {
        let (answer, is_stream) = (app.call(request), is_stream.clone());
        async move {
            let answer: Response<axum::body::Body> = answer.await?;
            is_stream.store(answer.body().size_hint().exact().is_none(), Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
    server.max_buf_size(MAX_REQUEST).max_headers(MAX_FIELDS);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    // What fails concerns its client only.
    tokio::select! {
        _ = &mut connection => return,
        () = ending.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(END_LIMIT, connection).await;
}

/// A connection on which writing fails once an answer takes too long. Streams are as slow as their clients.
struct Timely<S> {
    stream: S,
    is_stream: Arc<AtomicBool>,
    /// Fires unless everything is written by then; `None` if nothing waits to be written.
    late: Option<Pin<Box<Sleep>>>,
}

impl<S> Timely<S> {
    fn in_time<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() || self.is_stream.load(Ordering::Relaxed) {
            return written;
        }
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(ANSWER_LIMIT)));
        late.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timely<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timely<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.in_time(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Is called by hyper once it has no more to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.late = None;
        }
        self.in_time(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.in_time(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;

    /// Serves a connection whose other end is returned; it holds so many bytes that are not read.
    fn served(bytes: usize) -> (DuplexStream, JoinHandle<()>) {
        let large = axum::body::Bytes::from(vec![b'x'; 1 << 20]);
        let forever = async || {
            let pieces = futures_util::stream::repeat_with(|| Ok::<_, io::Error>(vec![b'x'; 1 << 16]));
            axum::body::Body::from_stream(pieces)
        };
        let app = Router::new().route("/large", get(async || large)).route("/stream", get(forever));
        let (client, server) = duplex(bytes);
        (client, tokio::spawn(serve(server, app, CancellationToken::new())))
    }

    async fn status(client: &mut DuplexStream) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            answer.push(client.read_u8().await.unwrap());
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_comes_byte_by_byte_has_a_time_limit_in_all() {
        let (mut client, connection) = served(1 << 16);
        let begin = Instant::now();
        let dripping = async {
            for byte in std::iter::repeat_n(b'x', 1 << 16) {
                if client.write_u8(byte).await.is_err() {
                    return;
                }
                sleep(Duration::from_secs(1)).await;
            }
        };
        dripping.await;
        connection.await.unwrap();
        assert!(begin.elapsed() <= HEAD_LIMIT + Duration::from_secs(2), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_not_used_ends() {
        let (mut client, connection) = served(1 << 21);
        client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(status(&mut client).await, "HTTP/1.1 200 OK\r\n");
        connection.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_is_too_long_or_has_too_many_fields_is_refused() {
        let fields = (0..=MAX_FIELDS).fold(String::new(), |mut all, nth| {
            let _ = write!(all, "x-{nth}: x\r\n");
            all
        });
        for head in [format!("x: {}\r\n", "x".repeat(2 * MAX_REQUEST)), fields] {
            let (mut client, connection) = served(1 << 21);
            client.write_all(format!("GET /large HTTP/1.1\r\n{head}\r\n").as_bytes()).await.unwrap();
            assert_eq!(status(&mut client).await, "HTTP/1.1 431 Request Header Fields Too Large\r\n");
            connection.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_read_has_a_time_limit() {
        let (mut client, connection) = served(1 << 10);
        let begin = Instant::now();
        client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        connection.await.unwrap();
        assert_eq!(begin.elapsed(), ANSWER_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_read_slowly_has_the_same_time_limit() {
        let (mut client, connection) = served(1 << 10);
        let begin = Instant::now();
        client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let reading = async {
            loop {
                let _ = client.read_u8().await;
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = reading => {}
            ended = connection => ended.unwrap(),
        }
        assert_eq!(begin.elapsed(), ANSWER_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_as_slow_as_its_client() {
        let (mut client, mut connection) = served(1 << 10);
        client.write_all(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(timeout(100 * ANSWER_LIMIT, &mut connection).await.is_err());
        assert_eq!(status(&mut client).await, "HTTP/1.1 200 OK\r\n");
        drop(client);
        connection.await.unwrap();
    }
}
