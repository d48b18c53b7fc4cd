//! Connections: taking them, serving HTTP/2 on them, closing them.

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

/// What is served on connections.
pub(crate) trait Serve: fmt::Debug + Send + Sync + 'static {
    /// Answers a request.
    fn respond(self: Arc<Self>, connection: Connection, request: Request<Incoming>) -> Responding;

    /// One more connection was taken.
    fn opened(&self);

    /// A connection is closed.
    fn closed(&self);

    /// The socket is there.
    fn began(&self) {}

    /// The socket is gone.
    fn ended(&self) {}
}

/// It never fails: whatever goes wrong is told by the response.
pub(crate) type Responding = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// How connections are received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reception {
    /// They are served.
    #[default]
    Serve,
    /// They are taken, but nothing is ever said, and nothing read.
    Silence,
    /// These bytes are all they ever get. They stay open.
    Garbage(Bytes),
}

/// All connections that there are at a time, and how new ones are received.
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

/// Takes connections until it is dropped.
pub(super) async fn accept(listener: UnixListener, host: Arc<dyn Serve>, connections: Arc<Connections>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve(stream, Arc::clone(&host), &connections),
            Err(error) => give_way(&error).await,
        }
    }
}

/// No descriptor left, most likely: trying again at once would only burn time.
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
        // However the connection ends, so do the streams on it.
        let _ends = closing.clone().drop_guard();
        match reception {
            Reception::Serve => {}
            Reception::Silence => return closing.cancelled().await,
            Reception::Garbage(bytes) => {
                // One that has gone needs none.
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

/// What calls know of the connection that they came by.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Cancelled when it is to be closed.
    closing: CancellationToken,
    sent: Arc<watch::Sender<Sent>>,
}

/// How many bytes have left by a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    written: usize,
    /// Of these, how many are not in any buffer of ours.
    flushed: usize,
}

impl Connection {
    /// Closes it at once, with everything on it.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// How many bytes will have been written when so many more are.
    pub(super) fn after(&self, bytes: usize) -> usize {
        self.sent.borrow().written + bytes
    }

    /// Resolves when so many bytes have been sent.
    pub(super) async fn until_sent(&self, bytes: usize) {
        // Fails only without a sender, and this has one.
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

/// Runs the streams of one connection, for as long as it is open.
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

/// Counts a connection for as long as it is open.
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
