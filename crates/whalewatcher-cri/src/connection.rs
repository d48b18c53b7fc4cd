//! A connection to a runtime, for as long as it lasts: what the watcher asks.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use tokio::sync::mpsc;
use whalewatcher_api::cri::v1::runtime_service_client::RuntimeServiceClient;
use whalewatcher_core::{
    Container, ContainerId, EngineConnection, EngineError, EngineEvent, EngineIdentity, Listing, Settings,
};
use whalewatcher_grpc::{Channel, Transport, origin};

use crate::changes;
use crate::container::Packer;
use crate::endings::Endings;
use crate::handshake::ask_version;
#[cfg(feature = "containerd")]
use crate::hints::Hints;
use crate::inspection;
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
    poll_every: Duration,
    polls_only: bool,
    packer: Option<Packer>,
    list_limit: Duration,
    inspect_limit: Duration,
    memory: Mutex<Memory>,
    lists: Lists,
    /// What lists show that the stream of events has to tell.
    tell: mpsc::UnboundedSender<EngineEvent>,
    told: Mutex<Option<mpsc::UnboundedReceiver<EngineEvent>>>,
    #[cfg(feature = "containerd")]
    hints: Hints,
}

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        runtime: Runtime,
        identity: EngineIdentity,
        (poll_every, polls_only): (Duration, bool),
        packer: Option<Packer>,
        endings: Endings,
    ) -> Result<Self, EngineError> {
        let (tell, told) = mpsc::unbounded_channel();
        let settings = Settings::default();
        Ok(Self {
            #[cfg(feature = "containerd")]
            hints: Hints::new(transport.channel())?,
            transport,
            runtime,
            identity,
            poll_every,
            polls_only,
            packer,
            list_limit: settings.list_limit(),
            inspect_limit: settings.inspect_limit(),
            memory: Mutex::new(Memory::new(endings)),
            lists: Lists::default(),
            tell,
            told: Mutex::new(Some(told)),
        })
    }

    /// What asks the runtime; answers may be of so many bytes.
    pub(crate) fn client(&self, limit: usize) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::with_origin(self.transport.channel(), origin()).max_decoding_message_size(limit)
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) fn poll_every(&self) -> Duration {
        self.poll_every
    }

    /// Whether no events are to be asked for.
    pub(crate) fn polls_only(&self) -> bool {
        self.polls_only
    }

    pub(crate) fn packer(&self) -> Option<&Packer> {
        self.packer.as_ref()
    }

    /// How long a list may take.
    pub(crate) fn list_limit(&self) -> Duration {
        self.list_limit
    }

    /// How long an answer about one container may take.
    #[cfg(feature = "containerd")]
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
    pub(crate) fn tell(&self, event: EngineEvent) {
        // Whoever dropped the stream wants to know nothing more.
        let _ = self.tell.send(event);
    }

    /// What the stream of events has to tell besides; once only.
    pub(crate) fn told(&self) -> Option<mpsc::UnboundedReceiver<EngineEvent>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl EngineConnection for Connection {
    fn configure(&mut self, settings: &Settings) {
        (self.list_limit, self.inspect_limit) = (settings.list_limit(), settings.inspect_limit());
    }

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
    /// answers on it can bring events too. Where containerd's own events are taken for hints, one of ours has to come back.
    async fn check(&self, _since: Option<SystemTime>) -> Result<Option<SystemTime>, EngineError> {
        #[cfg(feature = "containerd")]
        if self.hints.stand() {
            self.hints.check().await?;
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
