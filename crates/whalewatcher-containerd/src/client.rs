//! What an application configures: where containerd is, and what else is to be done.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint as Dial};
use whalewatcher_adapter::containerd::{DEFAULT_PROBE_EVERY, ENGINE, IgnoredNamespaces};
use whalewatcher_adapter::grpc::Transport;
use whalewatcher_adapter::{Endpoint, Lives};
use whalewatcher_core::adapter::{EngineClient, Hook};
use whalewatcher_core::{EngineError, ErrorKind, Settings};

use crate::connection::Connection;
use crate::container::{Details, Packer};
use crate::handshake::{CONTAINERD, greet};
use crate::limits::Limits;
use crate::namespace::LeftOut;
use crate::session::Configured;

/// A client of containerd. It connects when a watcher has it connect; clones share what was configured, and what
/// [`ignored_with_tasks`](Client::ignored_with_tasks) returns.
pub struct Client {
    endpoint: Arc<Endpoint>,
    engine_type: Option<String>,
    configured: Configured,
    before_watch: Hook,
    before_attempt: Hook,
}

impl Client {
    /// At this socket: `unix:///path` or `/path`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if it cannot be used. That nobody is there is no error yet.
    pub fn new(endpoint: impl Into<String>) -> Result<Self, EngineError> {
        Self::builder().endpoint(endpoint).build()
    }

    /// To configure more.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the [ignored](Builder::ignored_namespaces) namespaces in which tasks are alive, sorted: what an empty picture
    /// leaves out. As of the newest list that a watch asked for; empty before the first one, and where that list shows any
    /// container. Costs no request: a list that is empty looks into the ignored namespaces, for a tenth of the time that a list may
    /// take.
    #[must_use]
    pub fn ignored_with_tasks(&self) -> Vec<String> {
        self.configured.left_out.get()
    }

    /// Returns a channel for the application's own requests to the same containerd. It has a connection of its own, which no
    /// watch ends, and connects with its first request.
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
    /// Outside of a tokio runtime.
    pub fn channel(&self) -> Result<Channel, EngineError> {
        let dial = Dial::from_shared(self.endpoint.as_str().to_owned()).map_err(|error| {
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
    /// Outside of a tokio runtime.
    #[cfg(feature = "containerd-client")]
    pub fn client(&self) -> Result<containerd_client::Client, EngineError> {
        self.channel().map(containerd_client::Client::from)
    }
}

impl EngineClient for Client {
    type Connection = Connection;

    fn engine_type(&self) -> &str {
        self.engine_type.as_deref().unwrap_or(CONTAINERD)
    }

    fn endpoint(&self) -> &str {
        self.endpoint.as_str()
    }

    async fn before_watch(&self) -> Result<(), EngineError> {
        self.before_watch.call().await
    }

    async fn before_attempt(&self) -> Result<(), EngineError> {
        self.before_attempt.call().await
    }

    async fn connect(&self, settings: &Settings) -> Result<Connection, EngineError> {
        let transport = Transport::connect(&self.endpoint).await?;
        let mut identity = greet(&self.endpoint, &transport).await?;
        self.engine_type().clone_into(&mut identity.engine_type);
        tracing::debug!(?identity, "connected");
        Ok(Connection::new(transport, identity, self.configured.clone(), settings))
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            engine_type: self.engine_type.clone(),
            // What one watcher saw to be over another one may still see to be alive.
            configured: Configured { lives: Lives::default(), ..self.configured.clone() },
            before_watch: self.before_watch.clone(),
            before_attempt: self.before_attempt.clone(),
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

/// Makes a [`Client`]; get one from [`Client::builder`].
#[derive(Default)]
pub struct Builder {
    endpoint: Option<String>,
    engine_type: Option<String>,
    ignored: Option<Vec<String>>,
    packer: Option<Packer>,
    probe_every: Option<Duration>,
    limits: Limits,
    before_watch: Hook,
    before_attempt: Hook,
}

impl Builder {
    /// Where containerd is: `unix:///path` or `/path`. By default at `unix:///run/containerd/containerd.sock`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// What the engine's type is called, in place of `containerd.io`.
    #[must_use]
    pub fn engine_type(mut self, engine_type: impl Into<String>) -> Self {
        self.engine_type = Some(engine_type.into());
        self
    }

    /// Leaves out these namespaces, in place of [`moby` and `k8s.io`](crate::IGNORED_BY_DEFAULT); without any, none.
    #[must_use]
    pub fn ignored_namespaces<N: Into<String>>(mut self, namespaces: impl IntoIterator<Item = N>) -> Self {
        self.ignored = Some(namespaces.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how long the event stream may be silent before an event of our own is published to see whether it still brings
    /// anything, in place of [30 seconds](DEFAULT_PROBE_EVERY); 10 ms at least. Others that listen to containerd's events
    /// see these too. At shorter silences the engine is only asked for its version, which nobody else sees.
    #[must_use]
    pub fn probe_every(mut self, every: Duration) -> Self {
        self.probe_every = Some(every);
        self
    }

    /// Sets what the engine may cost in memory while its answers are read, in bytes, in place of 128 MiB; 1 MiB at least. What
    /// exceeds it is an error. The limits of single answers are shares of it, by default [`MAX_CONTAINER`](crate::MAX_CONTAINER),
    /// [`MAX_TASKS`](crate::MAX_TASKS), [`MAX_LIST`](crate::MAX_LIST) and [`MAX_EVENT`](crate::MAX_EVENT).
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.limits = Limits::new(bytes);
        self
    }

    /// Has this pack a rucksack for each container, listed or started, from what containerd tells of it. It is called
    /// within the watch, so it should be quick.
    #[must_use]
    pub fn rucksack<F>(mut self, packer: F) -> Self
    where
        F: Fn(Details<'_>) -> Option<Arc<dyn Any + Send + Sync>> + Send + Sync + 'static,
    {
        self.packer = Some(Arc::new(packer));
        self
    }

    /// Something to do once before watching; an error ends the watch.
    #[must_use]
    pub fn before_watch<F, D>(mut self, hook: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        self.before_watch = Hook::new(hook);
        self
    }

    /// Something to do before each attempt to connect; an error fails the attempt.
    #[must_use]
    pub fn before_attempt<F, D>(mut self, hook: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        self.before_attempt = Hook::new(hook);
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if the endpoint cannot be used, or if no namespace can have a name that is to be
    /// ignored.
    pub fn build(self) -> Result<Client, EngineError> {
        Ok(Client {
            endpoint: Arc::new(Endpoint::parse(
                &ENGINE,
                self.endpoint.as_deref().unwrap_or(ENGINE.default_endpoint),
            )?),
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
    fn containerd_is_where_it_always_is_unless_reported_otherwise() {
        let client = Client::builder().build().unwrap();
        assert_eq!(client.endpoint(), "unix:///run/containerd/containerd.sock");
        assert_eq!(client.engine_type(), "containerd.io");
        let client = Client::builder().endpoint("/run/k3s.sock").engine_type("k3s.io").build().unwrap();
        assert_eq!((client.endpoint(), client.engine_type()), ("unix:///run/k3s.sock", "k3s.io"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_at_once() {
        let wrong = Client::builder().ignored_namespaces(["moby", "no good"]).build().unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Configuration);
        assert_eq!(Client::new("tcp://whale").unwrap_err().kind(), ErrorKind::Configuration);
    }
}
