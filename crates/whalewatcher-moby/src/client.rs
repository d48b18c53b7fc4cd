//! The client of an engine: what an application configured, and what is remembered between connections.

use std::fmt;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::spawn_blocking;
use whalewatcher_adapter::{Reached, SocketMonitor};
use whalewatcher_core::adapter::{EngineClient, Hook};
use whalewatcher_core::{EngineError, ErrorKind, Settings};

use crate::api::handshake::Handshake;
use crate::api::lives::Lives;
use crate::api::own_api::OwnApi;
use crate::api::session::{Own, Session};
use crate::api::stream_history::StreamHistory;
use crate::config::endpoint::{Address, Endpoint};
use crate::config::tls::Tls;
use crate::connection::Connection;
use crate::decode::identity::Dialect;
use crate::decode::raw_inspection::Packer;
use crate::decode::version::ApiVersion;
use crate::http::transport::{Connector, Transport};
use crate::inspector::Inspector;

const DOCKER: &str = "docker.com";

/// A client of Docker, or of an engine with Docker's API. It connects when a watcher does; clones share no connection.
pub struct Client {
    pub(crate) config: Config,
    history: StreamHistory,
    lives: Lives,
    own_api: OwnApi,
    /// Of the endpoint, if that is a unix socket.
    monitor: Option<SocketMonitor>,
    pub(crate) inspector: Inspector,
}

/// What a client is configured for.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) engine_type: Option<String>,
    /// The API version that the environment pins.
    pub(crate) api: Option<ApiVersion>,
    pub(crate) tls: Option<Tls>,
    pub(crate) packer: Option<Packer>,
    /// Whether containers have their networks and ports.
    pub(crate) networks: bool,
    pub(crate) before_watch: Hook,
    pub(crate) before_attempt: Hook,
    pub(crate) memory_limit: usize,
    /// The program to run in place of `ssh`.
    pub(crate) ssh: Option<PathBuf>,
    /// If only podman is to be watched, through its own API where that answers.
    pub(crate) podman: Option<Podman>,
}

/// How to use podman's own API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Podman {
    /// Whether to inspect containers whose list entry is complete: a list contains fewer details.
    pub(crate) inspects_all: bool,
}

impl Config {
    /// `limit` is how long connecting may take.
    pub(crate) fn connector(&self, tls: Option<Tls>, limit: Duration) -> Connector {
        Connector::new(self.endpoint.clone(), tls, self.ssh.clone(), limit)
    }

    /// The same, with certificates that are read now.
    pub(crate) async fn renewed_connector(&self, limit: Duration) -> Result<Connector, EngineError> {
        let tls = match self.tls.clone() {
            // In a thread, since files may be on a server that does not answer.
            Some(tls) => Some(spawn_blocking(move || tls.renewed()).await.map_err(|error| {
                EngineError::new(ErrorKind::Failed, format!("certificates cannot be read: {error}"))
            })??),
            None => None,
        };
        Ok(self.connector(tls, limit))
    }
}

impl Client {
    pub(crate) fn from_config(config: Config) -> Self {
        let monitor = match config.endpoint.address() {
            Address::Unix(path) => Some(SocketMonitor::new(path)),
            Address::Tcp { .. } | Address::Ssh(_) => None,
        };
        Self {
            config,
            history: StreamHistory::default(),
            lives: Lives::default(),
            own_api: OwnApi::default(),
            monitor,
            inspector: Inspector::default(),
        }
    }
}

impl Client {
    /// Connects, and negotiates what the connection needs.
    async fn open(&self, settings: &Settings) -> Result<Connection, EngineError> {
        let Config { api, engine_type, packer, networks, memory_limit, podman, .. } = &self.config;
        let reached = self.monitor.as_ref().map_or_else(Reached::default, SocketMonitor::begin_attempt);
        let limit = settings.connect_limit();
        let connector = self.config.renewed_connector(limit).await?;
        let transport = Transport::new(connector, *memory_limit, reached);
        let wants_podman = podman.is_some();
        let mut handshake =
            Handshake::perform(&transport, *api, engine_type.as_deref(), wants_podman, limit).await?;
        let mut own = Own::default();
        if let Some(podman) = podman {
            own.refused = self.own_api.refused(&transport).await?;
            if own.refused.is_none() {
                handshake.dialect = Dialect::Libpod;
                let since = self.own_api.first_since(&handshake.clock);
                // Rucksacks are packed from inspections.
                own.listed_until = since.filter(|_| packer.is_none() && !podman.inspects_all);
            }
        }
        tracing::debug!(?handshake, "connected");
        let session = Session::new(transport, handshake, *networks, own, settings);
        Ok(Connection::new(session, packer.clone(), self.history.clone(), self.lives.clone()))
    }
}

impl EngineClient for Client {
    type Connection = Connection;

    fn engine_type(&self) -> &str {
        self.config.engine_type.as_deref().unwrap_or(DOCKER)
    }

    fn endpoint(&self) -> &str {
        self.config.endpoint.as_str()
    }

    /// The default of dockerd's `--containerd-namespace`.
    fn scope_below(&self) -> Option<&str> {
        Some("moby")
    }

    async fn before_watch(&self) -> Result<(), EngineError> {
        self.config.before_watch.call().await
    }

    async fn before_attempt(&self) -> Result<(), EngineError> {
        self.config.before_attempt.call().await
    }

    // Boxed for the same reason as in `Connection`.
    fn connect(&self, settings: &Settings) -> impl Future<Output = Result<Connection, EngineError>> + Send {
        let settings = settings.clone();
        async move { self.open(&settings).await }.boxed()
    }

    async fn reachable(&self) {
        match &self.monitor {
            Some(monitor) => monitor.listening().await,
            None => pending().await,
        }
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        // Each watcher follows lives by itself.
        Self { history: self.history.clone(), ..Self::from_config(self.config.clone()) }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.config.endpoint.as_str())
            .field("engine_type", &self.engine_type())
            .finish_non_exhaustive()
    }
}
