//! Connections: taking them, serving HTTP/2 on them, closing them.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::{rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use super::{grpc, server::Shared};

/// Takes connections until it is dropped.
pub(super) async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve(stream, &shared),
            Err(error) => give_way(&error).await,
        }
    }
}

/// No descriptor left, most likely: trying again at once would only burn time.
async fn give_way(error: &io::Error) {
    tracing::warn!(%error, "cannot take a connection");
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
}

fn serve(stream: UnixStream, shared: &Arc<Shared>) {
    let connection = Connection { closing: shared.connections.child(), sent: Arc::default() };
    let shared = Arc::clone(shared);
    let open = Open::new(&shared);
    tokio::spawn(async move {
        let _open = open;
        let closing = connection.closing.clone();
        // However the connection ends, so do the streams on it.
        let _ends = closing.clone().drop_guard();
        let stream = Metered { stream, sent: Arc::clone(&connection.sent) };
        let service = service_fn(|request| grpc::respond(Arc::clone(&shared), connection.clone(), request));
        let serving =
            http2::Builder::new(Streams(closing.clone())).serve_connection(TokioIo::new(stream), service);
        if let Some(Err(error)) = closing.run_until_cancelled(serving).await {
            tracing::debug!(%error, "a connection ended");
        }
    });
}

/// What calls know of the connection that they came by.
#[derive(Clone, Debug)]
pub(super) struct Connection {
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
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.stats.count(|stats| {
            stats.accepted += 1;
            stats.open += 1;
        });
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.stats.count(|stats| stats.open -= 1);
    }
}
