//! containerd's own services, which know what its CRI plugin does not report yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use whalewatcher_adapter::containerd::{EventService, MAX_CONTAINER, MAX_EVENT, MAX_TASKS};
use whalewatcher_adapter::grpc::{Channel, origin};
use whalewatcher_api::containerd::services::containers::v1::GetContainerRequest;
use whalewatcher_api::containerd::services::containers::v1::containers_client::ContainersClient;
use whalewatcher_api::containerd::services::tasks::v1::tasks_client::TasksClient;
use whalewatcher_api::containerd::services::tasks::v1::{GetRequest, ListTasksRequest};
use whalewatcher_api::containerd::v1::types::Process;
use whalewatcher_core::{ContainerId, EngineError};

use crate::decode::container::Kind;
use crate::engine::ENGINE;
use crate::limits::Limits;

/// The namespace of the CRI plugin's containers.
const NAMESPACE: &str = "k8s.io";

/// The label that the CRI plugin sets to the kind of a container.
const KIND: &str = "io.cri-containerd.kind";

const CONTAINER: &str = "Containers.Get";
const TASKS: &str = "Tasks.List";

/// containerd's own services on one connection.
#[derive(Debug)]
pub(crate) struct ContainerdApi {
    channel: Channel,
    limits: Limits,
    pub(crate) service: EventService,
    pub(crate) subscribed: AtomicBool,
}

impl ContainerdApi {
    pub(crate) fn new(channel: Channel, limits: Limits, probe_every: Duration) -> Result<Self, EngineError> {
        let service = EventService::of_namespace(&channel, NAMESPACE)?
            .with_probe_every(probe_every)
            .with_limit(limits.containerd(MAX_EVENT));
        Ok(Self { channel, limits, service, subscribed: AtomicBool::new(false) })
    }

    /// Returns whether its events are subscribed to.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscribed.load(Ordering::Relaxed)
    }

    /// Returns the kind of a container of the CRI plugin; `None` if it is none of these.
    pub(crate) async fn kind(&self, id: &ContainerId) -> Result<Option<Kind>, EngineError> {
        let channel = self.channel.limited(self.limits.containerd(MAX_CONTAINER));
        let mut containers =
            ContainersClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX);
        match containers.get(within_namespace(GetContainerRequest { id: id.as_str().to_owned() })).await {
            Ok(answer) => Ok(answer.into_inner().container.and_then(|record| kind(&record.labels))),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(ENGINE.status_error(CONTAINER, status)),
        }
    }

    /// Lists all tasks of the namespace.
    pub(crate) async fn tasks(&self) -> Result<Vec<Process>, EngineError> {
        let request = within_namespace(ListTasksRequest::default());
        let answer = self.tasks_client().list(request).await;
        Ok(answer.map_err(|status| ENGINE.status_error(TASKS, status))?.into_inner().tasks)
    }

    /// Returns whether it certainly has no task, though it is a container of the CRI plugin. A sandbox that
    /// runs by other means than a task has no container either.
    pub(crate) async fn lacks_task(&self, id: &ContainerId) -> Result<bool, EngineError> {
        let request = GetRequest { container_id: id.as_str().to_owned(), ..GetRequest::default() };
        let answer = self.tasks_client().get(within_namespace(request)).await;
        let is_missing = answer.is_err_and(|status| status.code() == Code::NotFound);
        Ok(is_missing && self.kind(id).await?.is_some())
    }

    fn tasks_client(&self) -> TasksClient<Channel> {
        let channel = self.channel.limited(self.limits.containerd(MAX_TASKS));
        TasksClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
    }

    /// Checks that the event stream is alive; if it is not, the future never completes.
    pub(crate) async fn probe(&self) -> Result<(), EngineError> {
        self.service.probe().await
    }
}

fn within_namespace<T>(request: T) -> Request<T> {
    let mut request = Request::new(request);
    request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    request
}

fn kind(labels: &HashMap<String, String>) -> Option<Kind> {
    match labels.get(KIND)?.as_str() {
        "container" => Some(Kind::Container),
        "sandbox" => Some(Kind::Sandbox),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_distinguishes_containers_and_sandboxes() {
        for (label, expected) in [
            (Some("container"), Some(Kind::Container)),
            (Some("sandbox"), Some(Kind::Sandbox)),
            (Some("other"), None),
            (None, None),
        ] {
            let labels = label.map(|label| (KIND.to_owned(), label.to_owned())).into_iter().collect();
            assert_eq!(kind(&labels), expected);
        }
    }
}
