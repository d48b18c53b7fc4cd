//! The calls that a connection can make, and the client's configuration.

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

/// The client's configuration, as connections use it.
#[derive(Clone)]
pub(crate) struct Configured {
    pub(crate) ignored: IgnoredNamespaces,
    pub(crate) packer: Option<Packer>,
    pub(crate) probe_every: Duration,
    pub(crate) limits: Limits,
    pub(crate) lives: Lives,
    pub(crate) left_out: LeftOut,
}

/// One connection, as the operations on it use it.
pub(crate) struct Session {
    transport: Transport,
    configured: Configured,
    /// Exits that lists show and the event stream reports: at most one for each recorded life.
    report: mpsc::UnboundedSender<EngineEvent>,
    list_limit: Duration,
}

impl Session {
    /// Returns the session, and the events that the stream has to report in addition to containerd's.
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

    /// Returns a client of the containers service; the limit applies to each message.
    pub(crate) fn containers(&self, limit: Limit) -> ContainersClient<Channel> {
        let channel = self.channel().limited(limit);
        ContainersClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
    }

    /// Returns a client of the tasks service; the limit applies to each message.
    pub(crate) fn tasks(&self, limit: Limit) -> TasksClient<Channel> {
        let channel = self.channel().limited(limit);
        TasksClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
    }

    /// Returns the lives that this client saw on any connection.
    pub(crate) fn lives(&self) -> &Lives {
        &self.configured.lives
    }

    /// Records that the container is alive, if there is room for its labels.
    pub(crate) fn note(&self, container: &Container) -> Result<(), EngineError> {
        self.lives().add(container, self.limits().kept())
    }

    pub(crate) fn left_out(&self) -> &LeftOut {
        &self.configured.left_out
    }

    /// Makes the event stream report this.
    pub(crate) fn report(&self, event: EngineEvent) {
        // The receiver is gone if the stream was dropped.
        let _ = self.report.send(event);
    }

    pub(crate) fn ignored(&self) -> &IgnoredNamespaces {
        &self.configured.ignored
    }

    /// Returns the time limit for a list of all namespaces.
    pub(crate) fn list_limit(&self) -> Duration {
        self.list_limit
    }

    pub(crate) fn packer(&self) -> Option<&Packer> {
        self.configured.packer.as_ref()
    }
}
