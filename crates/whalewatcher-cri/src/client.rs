//! The client: its endpoint and options.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tonic::transport::{Channel, Endpoint as Dial};
use whalewatcher_adapter::grpc::Transport;
use whalewatcher_adapter::{Endpoint, Lives, SocketMonitor};
use whalewatcher_core::adapter::{EngineClient, Hook};
use whalewatcher_core::{EngineError, ErrorKind, Layer, Settings};

use crate::connection::Connection;
use crate::decode::container::{Details, Packer};
use crate::engine::ENGINE;
use crate::limits::Limits;
use crate::rpc::handshake::{ENGINE_TYPE, handshake};
use crate::rpc::session::Configured;

/// The default interval of polling: 1 second.
pub const DEFAULT_POLL_EVERY: Duration = Duration::from_secs(1);

/// The shortest interval that can be configured.
const LEAST_POLL_EVERY: Duration = Duration::from_millis(10);

/// A client of a CRI runtime. It connects when it is watched. Clones share the configuration.
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
    /// [`ErrorKind::Configuration`] if no socket can have this path. Whether a runtime listens there is not checked.
    pub fn new(endpoint: impl Into<String>) -> Result<Self, EngineError> {
        Self::builder().endpoint(endpoint).build()
    }

    /// Returns a builder.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns a channel for the application's own requests to the same runtime. It has a connection of its
    /// own, which no watch ends, and connects with its first request.
    ///
    /// Do not request container events on containerd before 2.0: they would be taken from the kubelet.
    ///
    /// ```no_run
    /// use whalewatcher_cri::Client;
    /// use whalewatcher_cri::api::v1::StatusRequest;
    /// use whalewatcher_cri::api::v1::runtime_service_client::RuntimeServiceClient;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::new("/run/containerd/containerd.sock")?;
    /// let mut runtime = RuntimeServiceClient::new(client.channel()?);
    /// let status = runtime.status(StatusRequest::default()).await?.into_inner();
    /// println!("{:?}", status.status);
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
}

impl Client {
    /// Connects, and negotiates what the connection needs.
    async fn open(&self, settings: &Settings) -> Result<Connection, EngineError> {
        let reached = self.monitor.begin_attempt();
        let transport = Transport::connect(&self.endpoint).await?;
        reached.record(transport.socket());
        let (runtime, mut identity) = handshake(&self.endpoint, &transport).await?;
        self.engine_type().clone_into(&mut identity.engine_type);
        tracing::debug!(?identity, "connected");
        Connection::new(transport, runtime, identity, self.configured.clone(), settings)
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
        Layer::Kubernetes
    }

    fn scope_below(&self) -> Option<&str> {
        Some("k8s.io")
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
            .field("poll_every", &self.configured.poll_every)
            .field("polls_only", &self.configured.polls_only)
            .finish_non_exhaustive()
    }
}

/// Builds a [`Client`]; returned by [`Client::builder`].
#[derive(Default)]
pub struct Builder {
    endpoint: Option<String>,
    socket: Option<String>,
    engine_type: Option<String>,
    poll_every: Option<Duration>,
    polls_only: bool,
    limits: Limits,
    #[cfg(feature = "containerd")]
    probe_every: Option<Duration>,
    packer: Option<Packer>,
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

    /// Sets the engine type. Default: `k8s.io/cri-api`.
    #[must_use]
    pub fn engine_type(mut self, engine_type: impl Into<String>) -> Self {
        self.engine_type = Some(engine_type.into());
        self
    }

    /// Sets the interval of polling, where that is the source of changes; at least 10 ms. Default: [1
    /// second](DEFAULT_POLL_EVERY).
    #[must_use]
    pub fn poll_every(mut self, every: Duration) -> Self {
        self.poll_every = Some(every.max(LEAST_POLL_EVERY));
        self
    }

    /// Polls always, and subscribes to no events: neither to the runtime's nor to containerd's own. For
    /// clients that may only list, also where another part of the same program enables the feature
    /// `containerd`.
    #[must_use]
    pub fn polling(mut self) -> Self {
        self.polls_only = true;
        self
    }

    /// Sets how long containerd's own events may be silent, where they are used as hints, before they are
    /// probed by an event of our own, which other subscribers receive too; at least 10 ms. Before that,
    /// probes only ask for the version. Default: [30
    /// seconds](whalewatcher_adapter::containerd::DEFAULT_PROBE_EVERY).
    #[cfg(feature = "containerd")]
    #[must_use]
    pub fn probe_every(mut self, every: Duration) -> Self {
        self.probe_every = Some(every);
        self
    }

    /// Sets the memory that the engine may take while its answers are read, in bytes; at least 1 MiB.
    /// Exceeding it is an error. The limits of single answers are shares of it:
    /// [`MAX_STATUS`](crate::MAX_STATUS), [`MAX_LIST`](crate::MAX_LIST) and [`MAX_EVENT`](crate::MAX_EVENT)
    /// by default. Default: 128 MiB.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.limits = Limits::new(bytes);
        self
    }

    /// Sets the function that packs a rucksack for each container and sandbox that is listed or started, from
    /// its status. It runs within the watch, so it must be quick.
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
    /// [`ErrorKind::Configuration`] if no socket can have the endpoint's path.
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
                poll_every: self.poll_every.unwrap_or(DEFAULT_POLL_EVERY),
                polls_only: self.polls_only,
                limits: self.limits,
                #[cfg(feature = "containerd")]
                probe_every: self
                    .probe_every
                    .unwrap_or(whalewatcher_adapter::containerd::DEFAULT_PROBE_EVERY),
                packer: self.packer,
                lives: Lives::default(),
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
            .field("poll_every", &self.poll_every)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_type_and_interval_have_defaults() {
        let client = Client::builder().build().unwrap();
        assert_eq!(client.endpoint(), "unix:///run/containerd/containerd.sock");
        assert_eq!(
            (client.engine_type(), client.configured.poll_every),
            ("k8s.io/cri-api", Duration::from_secs(1))
        );
        let client =
            Client::builder().endpoint("/run/crio/crio.sock").engine_type("cri-o.io").build().unwrap();
        assert_eq!((client.endpoint(), client.engine_type()), ("unix:///run/crio/crio.sock", "cri-o.io"));
    }

    #[test]
    fn invalid_endpoints_are_refused_and_the_interval_has_a_minimum() {
        let error = Client::new("tcp://whale").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("a CRI runtime has a unix socket"), "{error}");
        let client = Client::builder().poll_every(Duration::ZERO).build().unwrap();
        assert_eq!(client.configured.poll_every, LEAST_POLL_EVERY);
    }
}
