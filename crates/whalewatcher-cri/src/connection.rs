//! A connection to a runtime, for as long as it lasts: what the watcher asks.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use tokio::sync::mpsc;
use whalewatcher_adapter::Lives;
use whalewatcher_adapter::grpc::{Channel, Hold, Limit, Transport};
use whalewatcher_api::cri::v1::runtime_service_client::RuntimeServiceClient;
use whalewatcher_core::adapter::{EngineConnection, EngineEvent, Listing};
use whalewatcher_core::{Container, ContainerId, EngineError, EngineIdentity, Settings};

use crate::changes;
use crate::container::Packer;
use crate::endings::Endings;
use crate::handshake::{ask_version, client};
#[cfg(feature = "containerd")]
use crate::hints::Hints;
use crate::inspection;
use crate::limits::Limits;
use crate::list;
use crate::lists::Lists;
use crate::memory::Memory;
use crate::runtime::Runtime;

/// A connection to a CRI runtime, made by [`Client`](crate::Client). Dropping it closes its descriptor and ends every
/// task that belongs to it.
pub struct Connection {
    transport: Transport,
    runtime: Runtime,
    identity: EngineIdentity,
    configured: Configured,
    list_limit: Duration,
    inspect_limit: Duration,
    memory: Mutex<Memory>,
    lists: Lists,
    /// What lists show that the stream of events has to tell. No list is polled before that is taken, so it is never more than
    /// what two lists show.
    report: mpsc::UnboundedSender<EngineEvent>,
    reported: Mutex<Option<mpsc::UnboundedReceiver<EngineEvent>>>,
    #[cfg(feature = "containerd")]
    hints: Hints,
}

/// What a connection has from its client.
#[derive(Clone)]
pub(crate) struct Configured {
    pub(crate) poll_every: Duration,
    pub(crate) polls_only: bool,
    pub(crate) limits: Limits,
    #[cfg(feature = "containerd")]
    pub(crate) probe_every: Duration,
    pub(crate) packer: Option<Packer>,
    pub(crate) endings: Endings,
    pub(crate) lives: Lives,
}

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        runtime: Runtime,
        identity: EngineIdentity,
        configured: Configured,
        settings: &Settings,
    ) -> Result<Self, EngineError> {
        let (report, reported) = mpsc::unbounded_channel();
        let memory =
            Memory::new(configured.endings.clone(), configured.lives.clone(), configured.limits.kept());
        Ok(Self {
            #[cfg(feature = "containerd")]
            hints: Hints::new(transport.channel(), configured.limits, configured.probe_every)?,
            transport,
            runtime,
            identity,
            configured,
            list_limit: settings.list_limit(),
            inspect_limit: settings.inspect_limit(),
            memory: Mutex::new(memory),
            lists: Lists::default(),
            report,
            reported: Mutex::new(Some(reported)),
        })
    }

    /// What asks the runtime; answers are to be within the limit.
    pub(crate) fn client(&self, limit: Limit) -> RuntimeServiceClient<Channel> {
        client(self.transport.channel().limited(limit))
    }

    /// The same for what is asked while the answer with this hold is in use.
    pub(crate) fn client_within(&self, limit: Limit, hold: &Hold) -> RuntimeServiceClient<Channel> {
        client(self.transport.channel().limited(limit).within(hold))
    }

    /// What asks for a stream, each message of which is to be within the limit.
    pub(crate) fn client_for_stream(&self, limit: Limit) -> RuntimeServiceClient<Channel> {
        client(self.transport.channel().for_stream(limit))
    }

    pub(crate) fn limits(&self) -> Limits {
        self.configured.limits
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) fn poll_every(&self) -> Duration {
        self.configured.poll_every
    }

    /// Whether no events are to be asked for.
    pub(crate) fn polls_only(&self) -> bool {
        self.configured.polls_only
    }

    pub(crate) fn packer(&self) -> Option<&Packer> {
        self.configured.packer.as_ref()
    }

    /// How long a list may take.
    pub(crate) fn list_limit(&self) -> Duration {
        self.list_limit
    }

    /// How long an answer about one container may take.
    pub(crate) fn inspect_limit(&self) -> Duration {
        self.inspect_limit
    }

    pub(crate) fn lists(&self) -> &Lists {
        &self.lists
    }

    #[cfg(feature = "containerd")]
    pub(crate) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// What is remembered; not to be held while anything is awaited.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the stream of events tell that.
    pub(crate) fn report(&self, event: EngineEvent) {
        // Without a stream there is nothing to report to.
        let _ = self.report.send(event);
    }

    /// What the stream of events has to tell besides; once only.
    pub(crate) fn reported(&self) -> Option<mpsc::UnboundedReceiver<EngineEvent>> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl EngineConnection for Connection {
    fn identity(&self) -> EngineIdentity {
        self.identity.clone()
    }

    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        changes::changes(self)
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        list::list(self).await
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Container>, EngineError> {
        inspection::inspect(self, id).await
    }

    /// Nothing that the runtime offers shows that its stream of events is alive, but all goes over one connection: whoever
    /// answers on it can bring events too. Where containerd's own events are taken for hints, and were silent for long enough,
    /// one of ours has to come back.
    async fn probe(&self, _since: Option<SystemTime>) -> Result<Option<SystemTime>, EngineError> {
        self.transport.check_socket()?;
        #[cfg(feature = "containerd")]
        if self.hints.stand() {
            self.hints.probe().await?;
            return Ok(None);
        }
        ask_version(self.transport.channel()).await?;
        Ok(None)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("identity", &self.identity).finish_non_exhaustive()
    }
}
