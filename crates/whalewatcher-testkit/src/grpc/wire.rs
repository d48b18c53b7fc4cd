//! Connections: accepts them, serves HTTP/2 on them, and closes them.

use std::{
    convert::Infallible,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::{Request, Response, body::Incoming, rt::Executor, server::conn::http2, service::Service};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::watch,
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

/// The service on connections.
pub(crate) trait Serve: fmt::Debug + Send + Sync + 'static {
    /// Answers a request.
    fn respond(self: Arc<Self>, connection: Connection, request: Request<Incoming>) -> Responding;

    /// A connection was accepted.
    fn opened(&self);

    /// A connection is closed.
    fn closed(&self);

    /// The socket was created.
    fn began(&self) {}

    /// The socket was removed.
    fn ended(&self) {}
}

/// The answer to a request. It never fails: errors are part of the response.
pub(crate) type Responding = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// How connections are received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reception {
    /// They are served.
    #[default]
    Serve,
    /// They are accepted, but nothing is ever sent or read.
    Silence,
    /// They receive these bytes and nothing else, and stay open.
    Garbage(Bytes),
}

/// All open connections, and how new ones are received.
#[derive(Debug, Default)]
pub(super) struct Connections {
    closing: Mutex<CancellationToken>,
    reception: Mutex<Reception>,
}

impl Connections {
    fn closing(&self) -> MutexGuard<'_, CancellationToken> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close_all(&self) {
        std::mem::take(&mut *self.closing()).cancel();
    }

    pub(super) fn receive(&self, reception: Reception) {
        *self.reception.lock().unwrap_or_else(PoisonError::into_inner) = reception;
    }

    fn reception(&self) -> Reception {
        self.reception.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Accepts connections until it is dropped.
pub(super) async fn accept(listener: UnixListener, host: Arc<dyn Serve>, connections: Arc<Connections>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve(stream, Arc::clone(&host), &connections),
            Err(error) => give_way(&error).await,
        }
    }
}

/// Most likely there are no descriptors left: retrying at once would only burn time.
async fn give_way(error: &io::Error) {
    tracing::warn!(%error, "cannot take a connection");
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
}

fn serve(mut stream: UnixStream, host: Arc<dyn Serve>, connections: &Connections) {
    let connection = Connection { closing: connections.closing().child_token(), sent: Arc::default() };
    let reception = connections.reception();
    let open = Open::new(Arc::clone(&host));
    tokio::spawn(async move {
        let _open = open;
        let closing = connection.closing.clone();
        // The streams end with the connection.
        let _ends = closing.clone().drop_guard();
        match reception {
            Reception::Serve => {}
            Reception::Silence => return closing.cancelled().await,
            Reception::Garbage(bytes) => {
                // A closed connection needs none.
                let _ = stream.write_all(&bytes).await;
                return closing.cancelled().await;
            }
        }
        let stream = Metered { stream, sent: Arc::clone(&connection.sent) };
        let service = Requests { host, connection };
        let serving =
            http2::Builder::new(Streams(closing.clone())).serve_connection(TokioIo::new(stream), service);
        if let Some(Err(error)) = closing.run_until_cancelled(serving).await {
            tracing::debug!(%error, "a connection ended");
        }
    });
}

/// The requests of one connection.
struct Requests {
    host: Arc<dyn Serve>,
    connection: Connection,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Responding;

    fn call(&self, request: Request<Incoming>) -> Responding {
        Arc::clone(&self.host).respond(self.connection.clone(), request)
    }
}

/// The connection of a call.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Cancelled to close the connection.
    closing: CancellationToken,
    sent: Arc<watch::Sender<Sent>>,
}

/// The number of bytes sent on a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    written: usize,
    /// The number of these that have left all buffers of this process.
    flushed: usize,
}

impl Connection {
    /// Closes it immediately, with everything on it.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// Returns the total after this many more bytes.
    pub(super) fn after(&self, bytes: usize) -> usize {
        self.sent.borrow().written + bytes
    }

    /// Waits until this many bytes have been sent.
    pub(super) async fn until_sent(&self, bytes: usize) {
        // Waiting fails only without a sender, which is a field of this.
        let _ = self.sent.subscribe().wait_for(|sent| sent.flushed >= bytes).await;
    }
}

/// Counts what is sent.
struct Metered {
    stream: UnixStream,
    sent: Arc<watch::Sender<Sent>>,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.sent.send_modify(|sent| sent.written += count);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.sent.send_modify(|sent| sent.flushed = sent.written);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Runs the streams of one connection as long as it is open.
#[derive(Clone)]
struct Streams(CancellationToken);

impl<F: Future + Send + 'static> Executor<F> for Streams
where
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let closing = self.0.clone();
        tokio::spawn(async move { closing.run_until_cancelled(stream).await });
    }
}

/// Counts a connection as long as it is open.
struct Open(Arc<dyn Serve>);

impl Open {
    fn new(host: Arc<dyn Serve>) -> Self {
        host.opened();
        Self(host)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed();
    }
}
