//! Sockets and connections: accepts them, serves HTTP on them, closes them, and replaces what they carry.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, UnixListener},
};

use super::{api, server::Shared};

/// How much of answers is buffered for a client that does not read, besides what its socket holds. dockerd writes
/// each event through at once, so this is as little as hyper allows.
const BUFFER: usize = 8 * 1024;

/// Accepts connections until it is dropped.
pub(super) async fn accept_unix(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve(stream, &shared),
            Err(error) => give_way(&error).await,
        }
    }
}

/// Accepts connections until it is dropped.
pub(super) async fn accept_tcp(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Each event is to leave at once.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot switch off Nagle's algorithm");
                }
                serve(stream, &shared);
            }
            Err(error) => give_way(&error).await,
        }
    }
}

/// Most likely no descriptor is left: trying again at once would only burn time.
async fn give_way(error: &io::Error) {
    tracing::warn!(%error, "cannot take a connection");
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
}

fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, shared: &Arc<Shared>) {
    let stop = shared.connections.current();
    let shared = Arc::clone(shared);
    let open = Open::new(&shared);
    tokio::spawn(async move {
        let _open = open;
        let spoiler = Spoiler::default();
        let stream = Spoilable { stream, spoiler: spoiler.clone() };
        let service = service_fn(|request| api::respond(Arc::clone(&shared), spoiler.clone(), request));
        let connection = http1::Builder::new()
            .max_buf_size(BUFFER)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service);
        if let Some(Err(error)) = stop.run_until_cancelled(connection).await {
            tracing::debug!(%error, "a connection ended");
        }
    });
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

/// Sends bytes on a connection in place of HTTP.
#[derive(Clone, Default)]
pub(super) struct Spoiler(Arc<Mutex<Option<Bytes>>>);

impl Spoiler {
    /// Sends only these bytes from now on.
    pub(super) fn spoil(&self, bytes: Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
    }

    fn rest(&self) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Spoilable<S> {
    stream: S,
    spoiler: Spoiler,
}

impl<S: AsyncWrite + Unpin> Spoilable<S> {
    /// Sends the replacement, then fails so that the connection is closed.
    fn poll_spoil(&mut self, context: &mut Context<'_>, mut rest: Bytes) -> Poll<io::Result<usize>> {
        while rest.has_remaining() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &rest))?;
            rest.advance(written);
            self.spoiler.spoil(rest.clone());
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Spoilable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Spoilable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.spoiler.rest() {
            Some(rest) => self.poll_spoil(context, rest),
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.spoiler.rest() {
            Some(rest) => self.poll_spoil(context, rest),
            None => Pin::new(&mut self.stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
