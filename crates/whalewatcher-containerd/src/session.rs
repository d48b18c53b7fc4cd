//! How containerd is asked on one connection, and what its client configured.

use std::time::Duration;

use tokio::sync::mpsc;
use whalewatcher_adapter::Lives;
use whalewatcher_adapter::containerd::IgnoredNamespaces;
use whalewatcher_adapter::grpc::{Channel, Limit, Transport, origin};
use whalewatcher_api::containerd::services::containers::v1::containers_client::ContainersClient;
use whalewatcher_api::containerd::services::tasks::v1::tasks_client::TasksClient;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{Container, EngineError, Settings};

use crate::container::Packer;
use crate::limits::Limits;
use crate::namespace::LeftOut;

/// What a connection has from its client.
#[derive(Clone)]
pub(crate) struct Configured {
    pub(crate) ignored: IgnoredNamespaces,
    pub(crate) packer: Option<Packer>,
    pub(crate) probe_every: Duration,
    pub(crate) limits: Limits,
    pub(crate) lives: Lives,
    pub(crate) left_out: LeftOut,
}

/// What operations ask with, on one connection.
pub(crate) struct Session {
    transport: Transport,
    configured: Configured,
    /// What lists show that the stream of events has to report: at most one end of each life that was known.
    report: mpsc::UnboundedSender<EngineEvent>,
    list_limit: Duration,
}

impl Session {
    /// Returns it with what the stream of events has to report.
    pub(crate) fn new(
        transport: Transport,
        configured: Configured,
        settings: &Settings,
    ) -> (Self, mpsc::UnboundedReceiver<EngineEvent>) {
        let (report, reported) = mpsc::unbounded_channel();
        (Self { transport, configured, report, list_limit: settings.list_limit() }, reported)
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) fn channel(&self) -> Channel {
        self.transport.channel()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.configured.limits
    }

    /// What asks about containers; each message of an answer is to be within the limit.
    pub(crate) fn containers(&self, limit: Limit) -> ContainersClient<Channel> {
        let channel = self.channel().limited(limit);
        ContainersClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
    }

    /// What asks about tasks; each message of an answer is to be within the limit.
    pub(crate) fn tasks(&self, limit: Limit) -> TasksClient<Channel> {
        let channel = self.channel().limited(limit);
        TasksClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
    }

    /// What this client saw alive, on whichever connection.
    pub(crate) fn lives(&self) -> &Lives {
        &self.configured.lives
    }

    /// Notes that the container is alive, if there is room for it.
    pub(crate) fn note(&self, container: &Container) -> Result<(), EngineError> {
        self.lives().add(container, self.limits().kept())
    }

    pub(crate) fn left_out(&self) -> &LeftOut {
        &self.configured.left_out
    }

    /// Has the stream of events report that.
    pub(crate) fn report(&self, event: EngineEvent) {
        // Without a stream there is nothing to report to.
        let _ = self.report.send(event);
    }

    pub(crate) fn ignored(&self) -> &IgnoredNamespaces {
        &self.configured.ignored
    }

    /// How long a list of all namespaces may take.
    pub(crate) fn list_limit(&self) -> Duration {
        self.list_limit
    }

    pub(crate) fn packer(&self) -> Option<&Packer> {
        self.configured.packer.as_ref()
    }
}
