//! How the runtime is asked on one session, what its client configured, and what is remembered meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use whalewatcher_adapter::Lives;
use whalewatcher_adapter::grpc::{Channel, Hold, Limit, Transport, origin};
use whalewatcher_api::cri::v1::runtime_service_client::RuntimeServiceClient;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{EngineError, Settings};

use crate::cache::Memory;
use crate::cache::lists::Lists;
use crate::cache::tombstones::Endings;
use crate::decode::container::Packer;
use crate::decode::runtime::Runtime;
use crate::limits::Limits;
#[cfg(feature = "containerd")]
use crate::rpc::containerd::Hints;

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

/// What operations ask with, on one session.
pub(crate) struct Session {
    transport: Transport,
    runtime: Runtime,
    configured: Configured,
    list_limit: Duration,
    inspect_limit: Duration,
    memory: Mutex<Memory>,
    lists: Lists,
    /// What lists show that the stream of events has to tell. No list is polled before that is taken, so it is never more than
    /// what two lists show.
    report: mpsc::UnboundedSender<EngineEvent>,
    #[cfg(feature = "containerd")]
    hints: Hints,
}

impl Session {
    /// Returns it with what the stream of events has to report.
    pub(crate) fn new(
        transport: Transport,
        runtime: Runtime,
        configured: Configured,
        settings: &Settings,
    ) -> Result<(Self, mpsc::UnboundedReceiver<EngineEvent>), EngineError> {
        let (report, reported) = mpsc::unbounded_channel();
        let memory =
            Memory::new(configured.endings.clone(), configured.lives.clone(), configured.limits.kept());
        let session = Self {
            #[cfg(feature = "containerd")]
            hints: Hints::new(transport.channel(), configured.limits, configured.probe_every)?,
            transport,
            runtime,
            configured,
            list_limit: settings.list_limit(),
            inspect_limit: settings.inspect_limit(),
            memory: Mutex::new(memory),
            lists: Lists::default(),
            report,
        };
        Ok((session, reported))
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
}

pub(crate) fn client(channel: Channel) -> RuntimeServiceClient<Channel> {
    RuntimeServiceClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
}
