//! What an application configures: where the runtime is, and what else is to be done.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint as Dial};
use whalewatcher_adapter::grpc::Transport;
use whalewatcher_adapter::{Endpoint, Lives};
use whalewatcher_core::adapter::{EngineClient, Hook};
use whalewatcher_core::{EngineError, ErrorKind, Settings};

use crate::cache::tombstones::Endings;
use crate::connection::Connection;
use crate::decode::container::{Details, Packer};
use crate::engine::ENGINE;
use crate::limits::Limits;
use crate::rpc::handshake::{CRI, greet};
use crate::rpc::session::Configured;

/// How often the runtime is polled where nobody tells of changes, unless configured: once a second.
pub const DEFAULT_POLL_EVERY: Duration = Duration::from_secs(1);

/// No runtime is polled more often.
const LEAST_POLL_EVERY: Duration = Duration::from_millis(10);

/// A client of a CRI runtime. It connects when a watcher has it connect; clones share no more than what was
/// configured, and what they know to be over for good.
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

    /// Returns a channel for the application's own requests to the same runtime. It has a connection of its own, which no
    /// watch ends, and connects with its first request.
    ///
    /// On containerd before 2.0 it must not ask for container events: they would be taken from the kubelet.
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
    /// Outside of a tokio runtime.
    pub fn channel(&self) -> Result<Channel, EngineError> {
        let dial = Dial::from_shared(self.endpoint.as_str().to_owned()).map_err(|error| {
            let message = format!("tonic cannot dial {}", self.endpoint);
            EngineError::new(ErrorKind::Configuration, message).with_source(error)
        })?;
        Ok(dial.connect_lazy())
    }
}

impl EngineClient for Client {
    type Connection = Connection;

    fn engine_type(&self) -> &str {
        self.engine_type.as_deref().unwrap_or(CRI)
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
        let (runtime, mut identity) = greet(&self.endpoint, &transport).await?;
        self.engine_type().clone_into(&mut identity.engine_type);
        tracing::debug!(?identity, "connected");
        Connection::new(transport, runtime, identity, self.configured.clone(), settings)
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
            .field("poll_every", &self.configured.poll_every)
            .field("polls_only", &self.configured.polls_only)
            .finish_non_exhaustive()
    }
}

/// Makes a [`Client`]; get one from [`Client::builder`].
#[derive(Default)]
pub struct Builder {
    endpoint: Option<String>,
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
    /// Where the runtime is: `unix:///path` or `/path`. By default at `unix:///run/containerd/containerd.sock`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// What the engine's type is called, in place of `k8s.io/cri-api`.
    #[must_use]
    pub fn engine_type(mut self, engine_type: impl Into<String>) -> Self {
        self.engine_type = Some(engine_type.into());
        self
    }

    /// How often to ask for what is alive where nobody tells of changes, in place of
    /// [every second](DEFAULT_POLL_EVERY); 10 ms at least.
    #[must_use]
    pub fn poll_every(mut self, every: Duration) -> Self {
        self.poll_every = Some(every.max(LEAST_POLL_EVERY));
        self
    }

    /// Asks for what is alive again and again, and for no events: neither for those of the runtime nor for hints. For who
    /// may do no more than list, and where another part of the same program has enabled the feature `containerd`.
    #[must_use]
    pub fn polling(mut self) -> Self {
        self.polls_only = true;
        self
    }

    /// Sets how long containerd's own events may be silent, where they are taken for hints, before one of ours is published
    /// to see whether the stream still brings anything, in place of
    /// [30 seconds](whalewatcher_adapter::containerd::DEFAULT_PROBE_EVERY); 10 ms at least. Others that listen to containerd's
    /// events see these too. At shorter silences containerd is only asked for its version, which nobody else sees.
    #[cfg(feature = "containerd")]
    #[must_use]
    pub fn probe_every(mut self, every: Duration) -> Self {
        self.probe_every = Some(every);
        self
    }

    /// Sets what the engine may cost in memory while its answers are read, in bytes, in place of 128 MiB; 1 MiB at least. What
    /// exceeds it is an error. The limits of single answers are shares of it, by default [`MAX_STATUS`](crate::MAX_STATUS),
    /// [`MAX_LIST`](crate::MAX_LIST) and [`MAX_EVENT`](crate::MAX_EVENT).
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.limits = Limits::new(bytes);
        self
    }

    /// Has this pack a rucksack for each container and sandbox, listed or started, from what the runtime tells of it. It
    /// is called within the watch, so it should be quick.
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
    /// [`ErrorKind::Configuration`] if the endpoint cannot be used.
    pub fn build(self) -> Result<Client, EngineError> {
        let endpoint = self.endpoint.as_deref().unwrap_or(ENGINE.default_endpoint);
        Ok(Client {
            endpoint: Arc::new(Endpoint::parse(&ENGINE, endpoint)?),
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
                endings: Endings::default(),
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
    fn the_runtime_is_where_containerd_always_is_unless_reported_otherwise() {
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
    fn what_cannot_be_used_is_refused_at_once_and_nobody_polls_without_pause() {
        let error = Client::new("tcp://whale").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("a CRI runtime has a unix socket"), "{error}");
        let client = Client::builder().poll_every(Duration::ZERO).build().unwrap();
        assert_eq!(client.configured.poll_every, LEAST_POLL_EVERY);
    }
}
