//! The client: its endpoint and options.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tonic::transport::{Channel, Endpoint as Dial};
use whalewatcher_adapter::containerd::{DEFAULT_PROBE_EVERY, ENGINE, IgnoredNamespaces};
use whalewatcher_adapter::grpc::Transport;
use whalewatcher_adapter::{Endpoint, Lives, SocketMonitor};
use whalewatcher_core::adapter::{EngineClient, Hook};
use whalewatcher_core::{EngineError, ErrorKind, Layer, Settings};

use crate::connection::Connection;
use crate::container::{Details, Packer};
use crate::handshake::{ENGINE_TYPE, handshake};
use crate::limits::Limits;
use crate::namespace::LeftOut;
use crate::session::Configured;

/// A client of containerd. It connects when it is watched. Clones share the configuration and the result of
/// [`ignored_with_tasks`](Client::ignored_with_tasks).
pub struct Client {
    endpoint: Arc<Endpoint>,
    engine_type: Option<String>,
    configured: Configured,
    before_watch: Hook,
    before_attempt: Hook,
    monitor: SocketMonitor,
}

impl Client {
    /// Creates a client for this socket: `unix:///path` or `/path`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if no socket can have this path. Whether containerd listens there is not checked.
    pub fn new(endpoint: impl Into<String>) -> Result<Self, EngineError> {
        Self::builder().endpoint(endpoint).build()
    }

    /// Returns a builder.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the [ignored](Builder::ignored_namespaces) namespaces that have live tasks, sorted, as of the
    /// newest list. Empty before the first list, and where that list contains any container. It causes no
    /// request: an empty list checks the ignored namespaces itself, in a tenth of the time limit for lists.
    #[must_use]
    pub fn ignored_with_tasks(&self) -> Vec<String> {
        self.configured.left_out.get()
    }

    /// Returns a channel for the application's own requests to the same containerd. It has a connection of
    /// its own, which no watch ends, and connects with its first request.
    ///
    /// ```no_run
    /// use whalewatcher_containerd::Client;
    /// use whalewatcher_containerd::api::services::version::v1::version_client::VersionClient;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::new("/run/containerd/containerd.sock")?;
    /// let version = VersionClient::new(client.channel()?).version(()).await?.into_inner();
    /// println!("{}", version.version);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if tonic cannot dial that path.
    ///
    /// # Panics
    ///
    /// If called outside a tokio runtime.
    pub fn channel(&self) -> Result<Channel, EngineError> {
        let dial =
            Dial::from_shared(format!("unix://{}", self.endpoint.path().display())).map_err(|error| {
                let message = format!("tonic cannot dial {}", self.endpoint);
                EngineError::new(ErrorKind::Configuration, message).with_source(error)
            })?;
        Ok(dial.connect_lazy())
    }

    /// Returns a client of the crate `containerd-client`, for what [`api`](crate::api) lacks, such as images and
    /// snapshots. It is on a [channel](Self::channel) of its own.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if tonic cannot dial that path.
    ///
    /// # Panics
    ///
    /// If called outside a tokio runtime.
    #[cfg(feature = "containerd-client")]
    pub fn client(&self) -> Result<containerd_client::Client, EngineError> {
        self.channel().map(containerd_client::Client::from)
    }
}

impl Client {
    /// Connects, and negotiates what the connection needs.
    async fn open(&self, settings: &Settings) -> Result<Connection, EngineError> {
        let reached = self.monitor.begin_attempt();
        let transport = Transport::connect(&self.endpoint).await?;
        reached.record(transport.socket());
        let mut identity = handshake(&self.endpoint, &transport).await?;
        self.engine_type().clone_into(&mut identity.engine_type);
        tracing::debug!(?identity, "connected");
        Ok(Connection::new(transport, identity, self.configured.clone(), settings))
    }
}

impl EngineClient for Client {
    type Connection = Connection;

    fn engine_type(&self) -> &str {
        self.engine_type.as_deref().unwrap_or(ENGINE_TYPE)
    }

    fn endpoint(&self) -> &str {
        self.endpoint.as_str()
    }

    fn layer(&self) -> Layer {
        Layer::Runtime
    }

    async fn before_watch(&self) -> Result<(), EngineError> {
        self.before_watch.call().await
    }

    async fn before_attempt(&self) -> Result<(), EngineError> {
        self.before_attempt.call().await
    }

    // Boxed for the same reason as in `Connection`.
    fn connect(&self, settings: &Settings) -> impl Future<Output = Result<Connection, EngineError>> + Send {
        let settings = settings.clone();
        async move { self.open(&settings).await }.boxed()
    }

    async fn reachable(&self) {
        self.monitor.listening().await;
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            engine_type: self.engine_type.clone(),
            // A life that one watcher saw end may still be alive for another.
            configured: Configured { lives: Lives::default(), ..self.configured.clone() },
            before_watch: self.before_watch.clone(),
            before_attempt: self.before_attempt.clone(),
            monitor: SocketMonitor::new(self.endpoint.path()),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint.as_str())
            .field("ignored", &self.configured.ignored)
            .finish_non_exhaustive()
    }
}

/// Builds a [`Client`]; returned by [`Client::builder`].
#[derive(Default)]
pub struct Builder {
    endpoint: Option<String>,
    socket: Option<String>,
    engine_type: Option<String>,
    ignored: Option<Vec<String>>,
    packer: Option<Packer>,
    probe_every: Option<Duration>,
    limits: Limits,
    before_watch: Hook,
    before_attempt: Hook,
}

impl Builder {
    /// Sets the endpoint, `unix:///path` or `/path`. Default: `unix:///run/containerd/containerd.sock`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Connects to the socket at this path, and keeps the endpoint as its name. For a socket that no short
    /// path leads to, or in the root of another process.
    #[must_use]
    pub fn socket(mut self, path: impl Into<String>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// Sets the engine type. Default: `containerd.io`.
    #[must_use]
    pub fn engine_type(mut self, engine_type: impl Into<String>) -> Self {
        self.engine_type = Some(engine_type.into());
        self
    }

    /// Sets the ignored namespaces; an empty list ignores none. Default: [`moby` and
    /// `k8s.io`](crate::IGNORED_BY_DEFAULT).
    #[must_use]
    pub fn ignored_namespaces<N: Into<String>>(mut self, namespaces: impl IntoIterator<Item = N>) -> Self {
        self.ignored = Some(namespaces.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how long the event stream may be silent before it is probed by an event of our own, which other
    /// subscribers receive too; at least 10 ms. Before that, probes only ask for the version. Default: [30
    /// seconds](DEFAULT_PROBE_EVERY).
    #[must_use]
    pub fn probe_every(mut self, every: Duration) -> Self {
        self.probe_every = Some(every);
        self
    }

    /// Sets the memory that the engine may take while its answers are read, in bytes; at least 1 MiB.
    /// Exceeding it is an error. The limits of single answers are shares of it:
    /// [`MAX_CONTAINER`](crate::MAX_CONTAINER), [`MAX_TASKS`](crate::MAX_TASKS),
    /// [`MAX_LIST`](crate::MAX_LIST) and [`MAX_EVENT`](crate::MAX_EVENT) by default. Default: 128 MiB.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.limits = Limits::new(bytes);
        self
    }

    /// Sets the function that packs a rucksack for each container that is listed or started, from
    /// containerd's record and task. It runs within the watch, so it must be quick.
    #[must_use]
    pub fn rucksack<F>(mut self, packer: F) -> Self
    where
        F: Fn(Details<'_>) -> Option<Arc<dyn Any + Send + Sync>> + Send + Sync + 'static,
    {
        self.packer = Some(Arc::new(packer));
        self
    }

    /// Sets a hook that runs once before the watch begins. An error ends the watch.
    #[must_use]
    pub fn before_watch<F, D>(mut self, hook: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        self.before_watch = Hook::new(hook);
        self
    }

    /// Sets a hook that runs before each attempt to connect. An error fails the attempt.
    #[must_use]
    pub fn before_attempt<F, D>(mut self, hook: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        self.before_attempt = Hook::new(hook);
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if no socket can have the endpoint's path, or no namespace one of the
    /// ignored names.
    pub fn build(self) -> Result<Client, EngineError> {
        let endpoint = self.endpoint.as_deref().unwrap_or(ENGINE.default_endpoint);
        let endpoint = Arc::new(match &self.socket {
            Some(path) => Endpoint::parse_named(&ENGINE, endpoint, path)?,
            None => Endpoint::parse(&ENGINE, endpoint)?,
        });
        Ok(Client {
            monitor: SocketMonitor::new(endpoint.path()),
            endpoint,
            engine_type: self.engine_type,
            configured: Configured {
                ignored: self.ignored.map(IgnoredNamespaces::new).transpose()?.unwrap_or_default(),
                packer: self.packer,
                probe_every: self.probe_every.unwrap_or(DEFAULT_PROBE_EVERY),
                limits: self.limits,
                lives: Lives::default(),
                left_out: LeftOut::default(),
            },
            before_watch: self.before_watch,
            before_attempt: self.before_attempt,
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("endpoint", &self.endpoint)
            .field("ignored", &self.ignored)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_and_type_have_defaults() {
        let client = Client::builder().build().unwrap();
        assert_eq!(client.endpoint(), "unix:///run/containerd/containerd.sock");
        assert_eq!(client.engine_type(), "containerd.io");
        let client = Client::builder().endpoint("/run/k3s.sock").engine_type("k3s.io").build().unwrap();
        assert_eq!((client.endpoint(), client.engine_type()), ("unix:///run/k3s.sock", "k3s.io"));
    }

    #[test]
    fn invalid_options_are_refused() {
        let wrong = Client::builder().ignored_namespaces(["moby", "no good"]).build().unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Configuration);
        assert_eq!(Client::new("tcp://whale").unwrap_err().kind(), ErrorKind::Configuration);
    }
}
