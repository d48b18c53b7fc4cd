//! Builds a [`Client`] from what an application sets and what the environment contains.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use whalewatcher_core::EngineError;
use whalewatcher_core::adapter::Hook;

use crate::client::{Client, Config, Podman};
use crate::config::context::{Context, Contexts, prefixed};
use crate::config::endpoint::Endpoint;
use crate::config::environment::Environment;
use crate::config::tls::{self, Tls};
use crate::decode::raw_inspection::{Packer, RawInspection};
use crate::decode::version;
use crate::limits::MEMORY_LIMIT;

impl Client {
    /// Returns a client of the engine that Docker's tools use without arguments: at `DOCKER_HOST`, else in
    /// the context that `DOCKER_CONTEXT` or `docker context use` names, else at
    /// `unix:///var/run/docker.sock`; with the API version `DOCKER_API_VERSION` if that is set.
    ///
    /// With `DOCKER_TLS_VERIFY` or `DOCKER_CERT_PATH`, which need the feature `tls`, `tcp://` uses TLS with the files
    /// `ca.pem`, `cert.pem` and `key.pem` in `DOCKER_CERT_PATH` or else in `DOCKER_CONFIG` or `~/.docker`. The engine's
    /// certificate is verified even without `DOCKER_TLS_VERIFY`. These variables do not concern contexts, which have
    /// certificates of their own.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if a variable, or a file of Docker's
    /// tools, cannot be used. The engine is not contacted yet.
    pub fn from_env() -> Result<Self, EngineError> {
        Self::builder().build()
    }

    /// Returns a client of the engine at this endpoint, without regard to the environment: `unix:///path`, `/path`,
    /// `tcp://host:port`, `http://host:port`, with the feature `tls` `https://host:port`, or with the feature `ssh`
    /// `ssh://user@host`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the endpoint cannot be used. The engine is not
    /// contacted yet.
    pub fn new(endpoint: impl Into<String>) -> Result<Self, EngineError> {
        Self::builder().endpoint(endpoint).build()
    }

    /// Returns a builder.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// Builds a [`Client`]; [`Client::builder`] returns one.
#[derive(Default)]
pub struct Builder {
    /// Where the engine is; `None` for what the environment names.
    context: Option<Context>,
    socket: Option<String>,
    engine_type: Option<String>,
    tls: Option<Tls>,
    pub(crate) packer: Option<Packer>,
    without_networks: bool,
    memory_limit: Option<usize>,
    ssh: Option<PathBuf>,
    before_watch: Hook,
    before_attempt: Hook,
    podman: Option<Podman>,
}

impl Builder {
    /// Sets the endpoint of the engine. By default the environment names it, as for [`Client::from_env`].
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.context = Some(Context::of_endpoint(endpoint.into()));
        self
    }

    /// Connects to the socket at this path, and keeps the endpoint as its name. For a socket that no short
    /// path leads to, or in the root of another process.
    #[must_use]
    pub fn socket(mut self, path: impl Into<String>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// Sets where the engine is, with its certificates, to a context of Docker's tools. Replaces an endpoint
    /// that was set before.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }

    /// Sets the certificates for an engine at `tcp://` or `https://`. By default those of the context are
    /// used, or those of the environment if the endpoint is the environment's; for `https://` the
    /// certificates that the system trusts are trusted.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the program that is run for `ssh://` endpoints in place of `ssh`. It has to take the arguments of
    /// OpenSSH's client.
    #[cfg(feature = "ssh")]
    #[must_use]
    pub fn ssh_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.ssh = Some(program.into());
        self
    }

    /// Sets the engine's type, such as `podman.io`. By default podman is recognised once connected, and every
    /// other engine is `docker.com`.
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

    /// Leaves out the networks and ports of containers: that saves some memory, and an inspection whenever a
    /// container is connected to a network or disconnected from one.
    #[must_use]
    pub fn without_networks(mut self) -> Self {
        self.without_networks = true;
        self
    }

    /// Watches nothing but podman, through its own API where that answers. With `inspects_all`, containers
    /// whose list entry is complete are inspected too. For `whalewatcher-podman`.
    #[doc(hidden)]
    #[must_use]
    pub fn podman(mut self, inspects_all: bool) -> Self {
        self.podman = Some(Podman { inspects_all });
        self
    }

    /// Sets how many bytes of memory the answers in flight on one connection may take together, whatever the
    /// engine sends: [`MEMORY_LIMIT`] unless set, at least 1 MiB. A container of a list takes the size of its
    /// JSON twice and 1 KiB more.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = Some(bytes.max(1024 * 1024));
        self
    }

    /// Sets a hook that runs once before watching; an error ends the watch.
    #[must_use]
    pub fn before_watch<F, D>(mut self, hook: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        self.before_watch = Hook::new(hook);
        self
    }

    /// Sets a hook that runs before each attempt to connect; an error fails the attempt.
    #[must_use]
    pub fn before_attempt<F, D>(mut self, hook: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        self.before_attempt = Hook::new(hook);
        self
    }

    /// Returns the client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the endpoint, or a variable of the
    /// environment that concerns it, cannot be used.
    pub fn build(self) -> Result<Client, EngineError> {
        let environment = match self.context {
            Some(_) => Environment::default(),
            None => Environment::read(|name| std::env::var_os(name))?,
        };
        self.build_in(environment)
    }

    fn build_in(self, environment: Environment) -> Result<Client, EngineError> {
        let api = environment.api_version.as_deref().map(version::pinned).transpose()?;
        let is_named_by_variable = self.context.is_none() && environment.host.is_some();
        let context = match self.context {
            Some(context) => context,
            None => Contexts::of(environment).current()?,
        };
        let endpoint = match &self.socket {
            Some(path) => Endpoint::unix_named(context.endpoint(), path),
            None => Endpoint::parse(context.endpoint(), self.tls.is_some() || context.wants_tls()),
        };
        let endpoint = endpoint.map_err(|error| match is_named_by_variable {
            true => prefixed("DOCKER_HOST", &error),
            false => error,
        })?;
        let tls = match self.tls {
            _ if !endpoint.is_secure() => None,
            Some(tls) => Some(tls),
            None => {
                if context.skips_tls_verification() {
                    tracing::warn!(%endpoint, "the certificate is not verified: the context skips that");
                }
                Some(tls::of_context(&context)?)
            }
        };
        Ok(Client::from_config(Config {
            endpoint: Arc::new(endpoint),
            engine_type: self.engine_type,
            api,
            tls,
            packer: self.packer,
            networks: !self.without_networks,
            before_watch: self.before_watch,
            before_attempt: self.before_attempt,
            memory_limit: self.memory_limit.unwrap_or(MEMORY_LIMIT),
            podman: self.podman,
            ssh: self.ssh,
        }))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("context", &self.context).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::ErrorKind;
    use whalewatcher_core::adapter::EngineClient;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        // Not the contexts of the user.
        let nowhere = |name: &str| (name == "DOCKER_CONFIG").then(|| "/no/such".into());
        Environment::read(|name| find(name).or_else(|| nowhere(name))).unwrap()
    }

    #[test]
    fn the_environment_names_the_endpoint() {
        for (variables, endpoint) in [
            (&[][..], "unix:///var/run/docker.sock"),
            (&[("DOCKER_HOST", "tcp://whale:2375")][..], "tcp://whale:2375"),
            (&[("DOCKER_HOST", ""), ("DOCKER_TLS_VERIFY", "1")], "unix:///var/run/docker.sock"),
        ] {
            let client = Client::builder().build_in(environment(variables)).unwrap();
            assert_eq!((client.endpoint(), client.engine_type()), (endpoint, "docker.com"));
        }
    }

    #[test]
    fn unusable_variables_are_refused() {
        for (variables, text) in [
            (&[("DOCKER_HOST", "whale")][..], "DOCKER_HOST: endpoint 'whale' cannot be used"),
            (&[("DOCKER_API_VERSION", "1.20")][..], "DOCKER_API_VERSION '1.20' cannot be used"),
            (&[("DOCKER_HOST", "tcp://whale"), ("DOCKER_CERT_PATH", "/no/such")], "TLS"),
            (&[("DOCKER_HOST", "http://whale"), ("DOCKER_TLS_VERIFY", "1")], "use tcp:// or https://"),
        ] {
            let error = Client::builder().build_in(environment(variables)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn tls_without_the_feature_is_refused() {
        let asked = environment(&[("DOCKER_HOST", "tcp://whale"), ("DOCKER_TLS_VERIFY", "1")]);
        for error in
            [Client::builder().build_in(asked).unwrap_err(), Client::new("https://whale").unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains("needs the feature `tls`"), "{error}");
        }
    }

    #[test]
    fn an_endpoint_may_be_the_name_of_a_socket_elsewhere() {
        let name = format!("unix:///proc/1/root/{}", "x".repeat(107));
        let client = Client::builder().endpoint(&name).socket("/proc/self/fd/3/s").build().unwrap();
        assert_eq!(client.endpoint(), name);
        let address = client.config.endpoint.address();
        assert_eq!(*address, crate::config::endpoint::Address::Unix("/proc/self/fd/3/s".into()));
        assert!(Client::builder().endpoint("tcp://whale").socket("/run/d.sock").build().is_err());
    }

    #[test]
    fn the_engine_type_can_be_overridden() {
        let client = Client::builder().endpoint("/run/podman.sock").engine_type("podman.io").build().unwrap();
        assert_eq!((client.engine_type(), client.endpoint()), ("podman.io", "unix:///run/podman.sock"));
    }
}
