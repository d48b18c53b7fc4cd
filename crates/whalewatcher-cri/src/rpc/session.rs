//! The calls that a connection can make, the client's configuration, and what is known on this connection.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use whalewatcher_adapter::Lives;
use whalewatcher_adapter::grpc::{Channel, Hold, Limit, Transport, origin};
use whalewatcher_api::cri::v1::PodSandboxStatus;
use whalewatcher_api::cri::v1::runtime_service_client::RuntimeServiceClient;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{ContainerId, EngineError, Settings};

use crate::cache::Cache;
use crate::cache::lists::Lists;
use crate::decode::container::Packer;
use crate::decode::details::network;
use crate::decode::runtime::Runtime;
use crate::limits::Limits;
#[cfg(feature = "containerd")]
use crate::rpc::containerd::ContainerdApi;

/// The client's configuration, as connections use it.
#[derive(Clone)]
pub(crate) struct Configured {
    pub(crate) poll_every: Duration,
    pub(crate) polls_only: bool,
    pub(crate) limits: Limits,
    #[cfg(feature = "containerd")]
    pub(crate) probe_every: Duration,
    pub(crate) packer: Option<Packer>,
    pub(crate) lives: Lives,
}

/// One connection, as the operations on it use it.
pub(crate) struct Session {
    transport: Transport,
    runtime: Runtime,
    configured: Configured,
    list_limit: Duration,
    inspect_limit: Duration,
    cache: Mutex<Cache>,
    lists: Lists,
    /// Notified when the network of a sandbox is known, or its inspection is over.
    sandbox_inspected: Notify,
    /// Changes that lists show and the event stream reports. No list is polled before they are taken, so
    /// there are never more than two lists show.
    report: mpsc::UnboundedSender<EngineEvent>,
    #[cfg(feature = "containerd")]
    containerd: ContainerdApi,
}

impl Session {
    /// Returns the session, and the events that the stream has to report in addition to those of its source.
    pub(crate) fn new(
        transport: Transport,
        runtime: Runtime,
        configured: Configured,
        settings: &Settings,
    ) -> Result<(Self, mpsc::UnboundedReceiver<EngineEvent>), EngineError> {
        let (report, reported) = mpsc::unbounded_channel();
        let cache = Cache::new(configured.lives.clone(), configured.limits.kept());
        let session = Self {
            #[cfg(feature = "containerd")]
            containerd: ContainerdApi::new(transport.channel(), configured.limits, configured.probe_every)?,
            transport,
            runtime,
            configured,
            list_limit: settings.list_limit(),
            inspect_limit: settings.inspect_limit(),
            cache: Mutex::new(cache),
            lists: Lists::default(),
            sandbox_inspected: Notify::new(),
            report,
        };
        Ok((session, reported))
    }

    /// Returns a client of the runtime; the limit applies to each answer.
    pub(crate) fn client(&self, limit: Limit) -> RuntimeServiceClient<Channel> {
        client(self.transport.channel().limited(limit))
    }

    /// Returns a client for calls that are made while the answer with this hold is in use.
    pub(crate) fn client_within(&self, limit: Limit, hold: &Hold) -> RuntimeServiceClient<Channel> {
        client(self.transport.channel().limited(limit).within(hold))
    }

    /// Returns a client for a stream; the limit applies to each message.
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

    /// Returns whether the client is configured to poll always.
    pub(crate) fn polls_only(&self) -> bool {
        self.configured.polls_only
    }

    pub(crate) fn packer(&self) -> Option<&Packer> {
        self.configured.packer.as_ref()
    }

    /// Returns the time limit for a list.
    pub(crate) fn list_limit(&self) -> Duration {
        self.list_limit
    }

    /// Returns the time limit for an inspection.
    pub(crate) fn inspect_limit(&self) -> Duration {
        self.inspect_limit
    }

    pub(crate) fn lists(&self) -> &Lists {
        &self.lists
    }

    #[cfg(feature = "containerd")]
    pub(crate) fn containerd(&self) -> &ContainerdApi {
        &self.containerd
    }

    /// Locks what is known; do not hold the guard across an await.
    pub(crate) fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is notified when the network of a sandbox is known, or its inspection is over.
    pub(crate) fn sandbox_inspected(&self) -> &Notify {
        &self.sandbox_inspected
    }

    /// Records the network of a ready sandbox. Its containers that were reported without it are inspected again.
    pub(crate) fn record_network(&self, sandbox: &ContainerId, status: &PodSandboxStatus) {
        let lacking = self.cache().networks.record(sandbox, network(status));
        for id in lacking {
            self.report(EngineEvent::Changed { id, at: None });
        }
        self.sandbox_inspected.notify_waiters();
    }

    /// Makes the event stream report this.
    pub(crate) fn report(&self, event: EngineEvent) {
        // The receiver is gone if the stream was dropped.
        let _ = self.report.send(event);
    }
}

pub(crate) fn client(channel: Channel) -> RuntimeServiceClient<Channel> {
    RuntimeServiceClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
}
