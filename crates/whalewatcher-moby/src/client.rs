//! What an application configures: where the engine is, and what else is to be done.

#[cfg(feature = "bollard")]
mod with_bollard;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use whalewatcher_core::adapter::{EngineClient, Hook};
use whalewatcher_core::{EngineError, Settings};

use crate::api::handshake::greet;
use crate::api::kept::Kept;
use crate::api::lives::Lives;
use crate::config::endpoint::{DEFAULT_ENDPOINT, Endpoint};
use crate::config::environment::Environment;
use crate::config::tls::Tls;
use crate::connection::Connection;
use crate::decode::inspection::{Packer, RawInspection};
use crate::decode::version::{self, ApiVersion};
use crate::http::transport::{Connector, Transport};
use crate::limits::MEMORY_LIMIT;

const DOCKER: &str = "docker.com";

/// A client of Docker, or of what speaks its API. It connects when a watcher has it connect; clones share no
/// connection.
pub struct Client {
    endpoint: Arc<Endpoint>,
    engine_type: Option<String>,
    api: Option<ApiVersion>,
    tls: Option<Tls>,
    packer: Option<Packer>,
    before_watch: Hook,
    before_attempt: Hook,
    memory_limit: usize,
    kept: Kept,
    lives: Lives,
}

impl Client {
    /// Where the environment says: `DOCKER_HOST`, with the version `DOCKER_API_VERSION` of the API if that is set; else
    /// at `unix:///var/run/docker.sock`.
    ///
    /// With `DOCKER_TLS_VERIFY` or `DOCKER_CERT_PATH`, which need the feature `tls`, `tcp://` is TLS, by the files
    /// `ca.pem`, `cert.pem` and `key.pem` in `DOCKER_CERT_PATH` or else in `~/.docker`. The engine's certificate is
    /// verified even without `DOCKER_TLS_VERIFY`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if a variable has a value that cannot be used.
    /// That nobody is there is no error yet.
    pub fn from_env() -> Result<Self, EngineError> {
        Self::builder().build()
    }

    /// At this endpoint, whatever the environment says: `unix:///path`, `/path`, `tcp://host:port`,
    /// `http://host:port` or, with the feature `tls`, `https://host:port`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if it cannot be used. That nobody is
    /// there is no error yet.
    pub fn new(endpoint: impl Into<String>) -> Result<Self, EngineError> {
        Self::builder().endpoint(endpoint).build()
    }

    /// To configure more.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn connector(&self) -> Connector {
        Connector::new(self.endpoint.clone(), self.tls.clone())
    }
}

impl EngineClient for Client {
    type Connection = Connection;

    fn engine_type(&self) -> &str {
        self.engine_type.as_deref().unwrap_or(DOCKER)
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
        let transport = Transport::new(self.connector(), self.memory_limit);
        let acquaintance =
            greet(&transport, self.api, self.engine_type.as_deref(), settings.connect_limit()).await?;
        tracing::debug!(?acquaintance, "connected");
        Ok(Connection::new(
            transport,
            acquaintance,
            self.packer.clone(),
            self.kept.clone(),
            self.lives.clone(),
            settings,
        ))
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            engine_type: self.engine_type.clone(),
            api: self.api,
            tls: self.tls.clone(),
            packer: self.packer.clone(),
            before_watch: self.before_watch.clone(),
            before_attempt: self.before_attempt.clone(),
            memory_limit: self.memory_limit,
            kept: self.kept.clone(),
            // Each watcher sees lives end for itself.
            lives: Lives::default(),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint.as_str())
            .field("engine_type", &self.engine_type())
            .finish_non_exhaustive()
    }
}

/// Makes a [`Client`]; get one from [`Client::builder`].
#[derive(Default)]
pub struct Builder {
    endpoint: Option<String>,
    engine_type: Option<String>,
    tls: Option<Tls>,
    packer: Option<Packer>,
    memory_limit: Option<usize>,
    before_watch: Hook,
    before_attempt: Hook,
}

impl Builder {
    /// Where the engine is, whatever the environment says. By default the environment is asked, as by
    /// [`Client::from_env`].
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Speaks TLS like this with an engine at `tcp://` or `https://`. By default the environment says, for an endpoint
    /// that is the environment's; for `https://` whom the system trusts is trusted.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// What the engine's type is called, whatever it says of itself, such as `podman.io`. By default podman is
    /// recognised once connected, and everything else is `docker.com`.
    #[must_use]
    pub fn engine_type(mut self, engine_type: impl Into<String>) -> Self {
        self.engine_type = Some(engine_type.into());
        self
    }

    /// Packs a rucksack for each container, listed or started, from the JSON of its inspection. The packer runs within
    /// the watch, so it should be quick; it replaces one that was set before.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use serde::Deserialize;
    /// use whalewatcher_moby::{Client, EngineError};
    ///
    /// #[derive(Deserialize)]
    /// #[serde(rename_all = "PascalCase")]
    /// struct Inspected {
    ///     log_path: Option<String>,
    /// }
    ///
    /// # fn example() -> Result<Client, EngineError> {
    /// Client::builder()
    ///     .rucksack_json(|inspection| {
    ///         let log_path = inspection.decode::<Inspected>().ok()?.log_path?;
    ///         Some(Arc::new(log_path)) // which `container.rucksack::<String>()` returns
    ///     })
    ///     .build()
    /// # }
    /// ```
    #[must_use]
    pub fn rucksack_json<F>(mut self, packer: F) -> Self
    where
        F: Fn(RawInspection<'_>) -> Option<Arc<dyn Any + Send + Sync>> + Send + Sync + 'static,
    {
        self.packer = Some(Arc::new(packer));
        self
    }

    /// Sets how many bytes of memory the answers that are under way on one connection may take together, whatever the engine
    /// sends: [`MEMORY_LIMIT`](crate::MEMORY_LIMIT) unless set, at least 1 MiB. A container of a list takes the size of its
    /// JSON twice and 1 KiB more.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = Some(bytes.max(1024 * 1024));
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
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the endpoint, or what the environment says
    /// of it, cannot be used.
    pub fn build(self) -> Result<Client, EngineError> {
        let environment = match self.endpoint {
            Some(_) => Environment::default(),
            None => Environment::read(|name| std::env::var_os(name))?,
        };
        self.build_in(&environment)
    }

    fn build_in(self, environment: &Environment) -> Result<Client, EngineError> {
        let text = self.endpoint.as_deref().or(environment.host.as_deref()).unwrap_or(DEFAULT_ENDPOINT);
        let endpoint = Endpoint::parse(text, self.tls.is_some() || environment.wants_tls())?;
        let tls = match self.tls {
            _ if !endpoint.is_secure() => None,
            Some(tls) => Some(tls),
            None if environment.wants_tls() => Some(Tls::from_folder(environment.certificates())?),
            None => Some(Tls::from_system()?),
        };
        Ok(Client {
            endpoint: Arc::new(endpoint),
            engine_type: self.engine_type,
            api: environment.api_version.as_deref().map(version::pinned).transpose()?,
            tls,
            packer: self.packer,
            before_watch: self.before_watch,
            before_attempt: self.before_attempt,
            memory_limit: self.memory_limit.unwrap_or(MEMORY_LIMIT),
            kept: Kept::default(),
            lives: Lives::default(),
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::ErrorKind;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        Environment::read(find).unwrap()
    }

    #[test]
    fn the_environment_says_where_docker_is() {
        for (variables, endpoint) in [
            (&[][..], "unix:///var/run/docker.sock"),
            (&[("DOCKER_HOST", "tcp://whale:2375")][..], "tcp://whale:2375"),
            (&[("DOCKER_HOST", ""), ("DOCKER_TLS_VERIFY", "1")], "unix:///var/run/docker.sock"),
        ] {
            let client = Client::builder().build_in(&environment(variables)).unwrap();
            assert_eq!((client.endpoint(), client.engine_type()), (endpoint, "docker.com"));
        }
    }

    #[test]
    fn what_the_environment_says_must_be_usable() {
        for (variables, text) in [
            (&[("DOCKER_HOST", "whale")][..], "endpoint 'whale' cannot be used"),
            (&[("DOCKER_API_VERSION", "1.20")][..], "DOCKER_API_VERSION '1.20' cannot be used"),
            (&[("DOCKER_HOST", "tcp://whale"), ("DOCKER_CERT_PATH", "/no/such")], "TLS"),
            (&[("DOCKER_HOST", "http://whale"), ("DOCKER_TLS_VERIFY", "1")], "write tcp:// or https://"),
        ] {
            let error = Client::builder().build_in(&environment(variables)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn whoever_asks_for_tls_is_reported_which_feature_it_needs() {
        let asked = environment(&[("DOCKER_HOST", "tcp://whale"), ("DOCKER_TLS_VERIFY", "1")]);
        for error in
            [Client::builder().build_in(&asked).unwrap_err(), Client::new("https://whale").unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains("needs the feature `tls`"), "{error}");
        }
    }

    #[test]
    fn the_engines_type_can_be_named_otherwise() {
        let client = Client::builder().endpoint("/run/podman.sock").engine_type("podman.io").build().unwrap();
        assert_eq!((client.engine_type(), client.endpoint()), ("podman.io", "unix:///run/podman.sock"));
    }
}
