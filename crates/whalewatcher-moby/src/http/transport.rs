//! HTTP to an engine, over a unix socket, TCP or ssh, with reused connections.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{self, Builder, Client};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tower_service::Service;
use whalewatcher_adapter::{Excerpt, Reached};
use whalewatcher_core::adapter::{Spawner, Tasks};
use whalewatcher_core::{EngineError, ErrorKind};

use crate::config::endpoint::{Address, Endpoint};
use crate::config::tls::{self, Tls};
use crate::http::budget::Budget;
use crate::http::error;
use crate::http::pinned_socket::PinnedSocket;
use crate::http::ssh::Ssh;

/// How many idle connections are kept: as many as inspections run at once.
const MAX_IDLE: usize = 16;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// How many inspections are in flight at once through ssh. sshd allows ten sessions on one connection by
/// default, and the event stream, a list and a probe need one each. Whatever exceeds that logs in by itself,
/// which sshd limits too.
const SSH_TURNS: usize = 7;

/// An HTTP client of one engine. Dropping it closes all connections and ends the tasks that drive them.
#[derive(Debug)]
pub(crate) struct Transport {
    client: Client<Connector, Empty<Bytes>>,
    connector: Connector,
    budget: Budget,
    turns: Option<Semaphore>,
    _tasks: Tasks,
}

impl Transport {
    /// Creates a client without connecting. All its connections lead to the same socket, which is recorded;
    /// the answers in flight may take `memory_limit` bytes together.
    pub(crate) fn new(mut connector: Connector, memory_limit: usize, reached: Reached) -> Self {
        let tasks = Tasks::new();
        if let Address::Unix(path) = connector.endpoint.address() {
            connector.socket = Some(Arc::new(PinnedSocket::new(path.clone(), reached)));
        }
        let client = builder(Spawn(tasks.spawner())).build(connector.clone());
        let turns = connector.ssh.is_some().then(|| Semaphore::new(SSH_TURNS));
        Self { client, connector, budget: Budget::new(memory_limit), turns, _tasks: tasks }
    }

    /// Sends a GET request, and returns the answer once its headers have come. The path may have a query.
    /// Fails if another socket is bound at the endpoint by now, though a reused connection might still be
    /// answered.
    pub(crate) async fn get(&self, path: &str) -> Result<Response<Incoming>, EngineError> {
        self.check_socket()?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.connector.uri(path).map_err(|error| {
            EngineError::new(ErrorKind::Malformed, format!("no request can be made for {}", Excerpt(path)))
                .with_source(error)
        })?;
        self.client.request(request).await.map_err(|error| self.connector.request_error(error))
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.connector.endpoint
    }

    /// Fails if another socket is bound at the endpoint by now.
    pub(crate) fn check_socket(&self) -> Result<(), EngineError> {
        self.connector.socket.as_ref().map_or(Ok(()), |socket| socket.check())
    }

    /// Waits until one of many requests may be made, where connections are few. It ends with what this returns.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.as_ref()?.acquire().await.ok()
    }

    /// The memory that answers may take.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Resolves with the reason once another socket was noticed at the endpoint.
    pub(crate) async fn socket_replaced(&self) -> EngineError {
        match &self.connector.socket {
            Some(socket) => socket.replaced().await,
            None => std::future::pending().await,
        }
    }

    /// The PID of the process that listens at the unix socket, as the kernel reports it, once a connection was made.
    pub(crate) fn peer(&self) -> Option<u32> {
        Some(self.connector.peer.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }
}

/// Returns a builder of HTTP clients whose tasks the executor runs.
pub(crate) fn builder<E: Executor<BoxTask> + Clone + Send + Sync + 'static>(executor: E) -> Builder {
    let mut builder = Client::builder(executor);
    // The timer closes idle connections even if no further request is made.
    builder.pool_max_idle_per_host(MAX_IDLE).pool_idle_timeout(IDLE).pool_timer(TokioTimer::new());
    builder
}

type BoxTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Spawns the tasks that drive connections. With hyper-util's own executor they would outlive the transport.
#[derive(Clone)]
struct Spawn(Spawner);

impl Executor<BoxTask> for Spawn {
    fn execute(&self, task: BoxTask) {
        self.0.spawn(task);
    }
}

/// Makes connections to one engine.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    endpoint: Arc<Endpoint>,
    tls: Option<Tls>,
    peer: Arc<AtomicU32>,
    /// The one socket to connect to, if it must stay the same.
    socket: Option<Arc<PinnedSocket>>,
    ssh: Option<Arc<Ssh>>,
}

impl Connector {
    /// `ssh` is the program to use in place of `ssh`; `limit` is how long connecting may take.
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        tls: Option<Tls>,
        ssh: Option<PathBuf>,
        limit: Duration,
    ) -> Self {
        let ssh = match endpoint.address() {
            // So that ssh gives up first, and reports why.
            Address::Ssh(target) => Some(Ssh::new(endpoint.clone(), target.clone(), ssh, limit * 2 / 3)),
            Address::Unix(_) | Address::Tcp { .. } => None,
        };
        Self { endpoint, tls, peer: Arc::default(), socket: None, ssh: ssh.map(Arc::new) }
    }

    /// The URI of a path at this engine. Its scheme is always `http`: the connector adds TLS.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri, http::Error> {
        Uri::builder().scheme("http").authority(self.endpoint.authority()).path_and_query(path).build()
    }

    /// Describes why a request has no answer.
    pub(crate) fn request_error(&self, error: legacy::Error) -> EngineError {
        error::of_request(&self.endpoint, self.tls.as_ref(), error)
    }

    async fn connect(self) -> io::Result<Stream> {
        match self.endpoint.address() {
            Address::Unix(path) => {
                let stream = match &self.socket {
                    Some(socket) => socket.connect().await?,
                    None => UnixStream::connect(path).await?,
                };
                let pid = stream.peer_cred().ok().and_then(|peer| u32::try_from(peer.pid()?).ok());
                self.peer.store(pid.unwrap_or(0), Ordering::Relaxed);
                Ok(Stream(Box::pin(stream)))
            }
            Address::Tcp { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                let Some(tls) = &self.tls else { return Ok(Stream(Box::pin(stream))) };
                let secured = tls.secure(stream, host).await;
                let explained = |error| match tls::explain(tls, &self.endpoint, &error) {
                    Some(error) => io::Error::other(error),
                    None => error,
                };
                Ok(Stream(Box::pin(secured.map_err(explained)?)))
            }
            Address::Ssh(_) => match self.ssh {
                Some(ssh) => Ok(Stream(Box::pin(ssh.connect().await?))),
                None => Err(io::ErrorKind::Unsupported.into()),
            },
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = EngineError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, EngineError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let endpoint = connector.endpoint.clone();
            let connected = connector.connect().await;
            connected.map(TokioIo::new).map_err(|error| error::of_connecting(&endpoint, error))
        })
    }
}

trait Io: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// A connection over any transport.
pub(crate) struct Stream(Pin<Box<dyn Io>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}
