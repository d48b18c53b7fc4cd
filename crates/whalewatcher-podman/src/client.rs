//! The client: its endpoint and options. Connections are those of the Docker adapter, which speaks podman's
//! own API too.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{EngineError, Settings};
use whalewatcher_moby::{Connection, RawInspection};

use crate::socket;

const ENGINE_TYPE: &str = "podman.io";

/// A client of podman. It connects when a watcher does; clones share no connection.
#[derive(Clone)]
pub struct Client(whalewatcher_moby::Client);

impl Client {
    /// Returns a client of the podman that the environment names: at `CONTAINER_HOST`, by default that of root if this
    /// process is root's, at `/run/podman/podman.sock`, or else that of the user, at `podman/podman.sock` below
    /// `XDG_RUNTIME_DIR` or `/run/user/UID`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if `CONTAINER_HOST` cannot be used. podman is not
    /// contacted yet.
    pub fn from_env() -> Result<Self, EngineError> {
        Self::builder().endpoint(socket::from_environment()?).build()
    }

    /// Returns a client of the podman at this endpoint: `unix:///path`, `/path`, `tcp://host:port` or
    /// `http://host:port`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the endpoint cannot be used. podman is not
    /// contacted yet.
    pub fn new(endpoint: impl Into<String>) -> Result<Self, EngineError> {
        Self::builder().endpoint(endpoint).build()
    }

    /// Returns a builder.
    #[must_use]
    pub fn builder() -> Builder {
        Builder { inspects_all: false, endpoint: None, moby: whalewatcher_moby::Client::builder() }
    }

    /// Returns podman's answer to the inspection of a container, alive or not, by its API that is compatible
    /// with Docker's. `None` if it has no such container.
    ///
    /// # Errors
    ///
    /// If podman cannot be reached, refuses the request, or does not answer within `limit`.
    pub async fn inspect_json(&self, id: &str, limit: Duration) -> Result<Option<Vec<u8>>, EngineError> {
        self.0.inspect_json(id, limit).await
    }
}

impl EngineClient for Client {
    type Connection = Connection;

    fn engine_type(&self) -> &str {
        self.0.engine_type()
    }

    fn endpoint(&self) -> &str {
        self.0.endpoint()
    }

    async fn before_watch(&self) -> Result<(), EngineError> {
        self.0.before_watch().await
    }

    async fn before_attempt(&self) -> Result<(), EngineError> {
        self.0.before_attempt().await
    }

    async fn connect(&self, settings: &Settings) -> Result<Connection, EngineError> {
        self.0.connect(settings).await
    }

    async fn reachable(&self) {
        self.0.reachable().await;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

/// Builds a [`Client`]; [`Client::builder`] returns one.
pub struct Builder {
    inspects_all: bool,
    endpoint: Option<String>,
    moby: whalewatcher_moby::Builder,
}

impl Builder {
    /// Sets the endpoint of podman. By default it is that of the user whose process this is, whatever the
    /// environment names.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Connects to the socket at this path, and keeps the endpoint as its name. For a socket that no short
    /// path leads to, or in the root of another process.
    #[must_use]
    pub fn socket(mut self, path: impl Into<String>) -> Self {
        self.moby = self.moby.socket(path);
        self
    }

    /// Inspects also the containers that were alive before, for what podman's list does not contain:
    /// addresses, start times below a second, whether containers are privileged. That is one more request for
    /// each of them.
    #[must_use]
    pub fn inspect_all(mut self) -> Self {
        self.inspects_all = true;
        self
    }

    /// Packs a rucksack for each container, listed or started, from the JSON of its inspection, which is that
    /// of `podman inspect`, or that of `docker inspect` where podman's own API is [not
    /// available](crate#which-api-is-used). Each container is inspected then. The packer runs within the
    /// watch, so it should be quick; it replaces one that was set before.
    #[must_use]
    pub fn rucksack_json<F>(mut self, packer: F) -> Self
    where
        F: Fn(RawInspection<'_>) -> Option<Arc<dyn Any + Send + Sync>> + Send + Sync + 'static,
    {
        self.moby = self.moby.rucksack_json(packer);
        self
    }

    /// Leaves out the networks and ports of containers: that saves some memory, and an inspection whenever a
    /// container is connected to a network or disconnected from one.
    #[must_use]
    pub fn without_networks(mut self) -> Self {
        self.moby = self.moby.without_networks();
        self
    }

    /// Sets how many bytes of memory the answers in flight on one connection may take together, whatever
    /// podman sends: 128 MiB unless set, at least 1 MiB.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.moby = self.moby.memory_limit(bytes);
        self
    }

    /// Sets a hook that runs once before watching; an error ends the watch.
    #[must_use]
    pub fn before_watch<F, D>(mut self, hook: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        self.moby = self.moby.before_watch(hook);
        self
    }

    /// Sets a hook that runs before each attempt to connect; an error fails the attempt.
    #[must_use]
    pub fn before_attempt<F, D>(mut self, hook: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        self.moby = self.moby.before_attempt(hook);
        self
    }

    /// Returns the client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the endpoint cannot be used.
    pub fn build(self) -> Result<Client, EngineError> {
        let endpoint = self.endpoint.unwrap_or_else(socket::default);
        socket::check(&endpoint)?;
        let moby = self.moby.endpoint(endpoint).engine_type(ENGINE_TYPE).podman(self.inspects_all);
        moby.build().map(Client)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
