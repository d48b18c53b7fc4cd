//! What tests ask the server for, by the generated client.

use std::collections::HashMap;

use serde_json::Value;
use tokio::task::JoinHandle;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};
use whalewatcher_api::cri::v1::{
    ContainerEventResponse, ContainerFilter, ContainerState, ContainerStatusRequest, ContainerStatusResponse,
    GetEventsRequest, ListContainersRequest, ListPodSandboxRequest, PodSandboxFilter, PodSandboxState,
    PodSandboxStatusRequest, PodSandboxStatusResponse, VersionRequest,
    runtime_service_client::RuntimeServiceClient,
};
use whalewatcher_testkit::cri::{ContainerSpec, PodSpec, Server};

pub(crate) fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(server.endpoint()).unwrap().connect_lazy()
}

pub(crate) fn client(server: &Server) -> RuntimeServiceClient<Channel> {
    RuntimeServiceClient::new(channel(server)).max_decoding_message_size(usize::MAX)
}

/// `NAME VERSION API`.
pub(crate) async fn version(server: &Server) -> Result<String, Status> {
    let answer = client(server).version(VersionRequest::default()).await?.into_inner();
    Ok(format!("{} {} {}", answer.runtime_name, answer.runtime_version, answer.runtime_api_version))
}

/// `ID STATE` of each container that is selected.
pub(crate) async fn containers(server: &Server, filter: Option<ContainerFilter>) -> Vec<String> {
    let answer = client(server).list_containers(ListContainersRequest { filter }).await.unwrap().into_inner();
    let containers = answer.containers.iter();
    containers.map(|container| format!("{} {}", container.id, state(container.state))).collect()
}

/// `ID STATE` of each sandbox that is selected.
pub(crate) async fn sandboxes(server: &Server, filter: Option<PodSandboxFilter>) -> Vec<String> {
    let answer =
        client(server).list_pod_sandbox(ListPodSandboxRequest { filter }).await.unwrap().into_inner();
    let sandboxes = answer.items.iter();
    sandboxes.map(|sandbox| format!("{} {}", sandbox.id, readiness(sandbox.state))).collect()
}

pub(crate) async fn container(server: &Server, id: &str) -> Result<ContainerStatusResponse, Status> {
    let request = ContainerStatusRequest { container_id: id.into(), verbose: true };
    Ok(client(server).container_status(request).await?.into_inner())
}

pub(crate) async fn sandbox(server: &Server, id: &str) -> Result<PodSandboxStatusResponse, Status> {
    let request = PodSandboxStatusRequest { pod_sandbox_id: id.into(), verbose: true };
    Ok(client(server).pod_sandbox_status(request).await?.into_inner())
}

/// `STATE PID` of a container.
pub(crate) async fn container_in_words(server: &Server, id: &str) -> String {
    let answer = container(server, id).await.unwrap();
    format!("{} {}", state(answer.status.unwrap().state), info(&answer.info)["pid"])
}

/// `STATE PID` of a sandbox.
pub(crate) async fn sandbox_in_words(server: &Server, id: &str) -> String {
    let answer = sandbox(server, id).await.unwrap();
    format!("{} {}", readiness(answer.status.unwrap().state), info(&answer.info)["pid"])
}

pub(crate) fn info(info: &HashMap<String, String>) -> Value {
    serde_json::from_str(&info["info"]).unwrap()
}

pub(crate) fn state(number: i32) -> String {
    let known = ContainerState::try_from(number).map(|state| state.as_str_name().to_owned());
    known.unwrap_or_else(|_| number.to_string()).replace("CONTAINER_", "")
}

pub(crate) fn readiness(number: i32) -> String {
    let known = PodSandboxState::try_from(number).map(|state| state.as_str_name().to_owned());
    known.unwrap_or_else(|_| number.to_string()).replace("SANDBOX_", "")
}

/// A subscription, which is answered with its first event.
pub(crate) struct Subscription {
    answer: Option<JoinHandle<Result<Streaming<ContainerEventResponse>, Status>>>,
    stream: Option<Streaming<ContainerEventResponse>>,
}

impl Subscription {
    /// Returns when the one more subscription is registered.
    pub(crate) async fn registered(server: &Server) -> Self {
        let subscribed = server.stats().subscribed;
        let subscription = Self::request(server);
        server.until(|stats| stats.subscribed > subscribed).await;
        subscription
    }

    pub(crate) fn request(server: &Server) -> Self {
        let mut client = client(server);
        let answer = tokio::spawn(async move {
            client.get_container_events(GetEventsRequest {}).await.map(tonic::Response::into_inner)
        });
        Self { answer: Some(answer), stream: None }
    }

    /// Whether the response headers have come.
    pub(crate) fn is_answered(&self) -> bool {
        self.answer.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub(crate) async fn next(&mut self) -> Result<Option<ContainerEventResponse>, Status> {
        if let Some(answer) = self.answer.take() {
            self.stream = Some(answer.await.unwrap()?);
        }
        self.stream.as_mut().unwrap().message().await
    }

    /// The next events in words.
    pub(crate) async fn reported(&mut self, count: usize) -> Vec<String> {
        let mut reported = Vec::new();
        while reported.len() < count {
            let event = self.next().await.unwrap().expect("the stream ended too early");
            reported.push(in_words(&event));
        }
        reported
    }
}

impl Drop for Subscription {
    /// One that waits for its answer waits no more.
    fn drop(&mut self) {
        if let Some(answer) = &self.answer {
            answer.abort();
        }
    }
}

/// `KIND ID SANDBOX CONTAINERS`: the kind and the subject of an event, the state of the sandbox, and the containers with
/// theirs.
pub(crate) fn in_words(event: &ContainerEventResponse) -> String {
    let kind = event.container_event_type().as_str_name().replace("CONTAINER_", "").replace("_EVENT", "");
    let sandbox = event.pod_sandbox_status.as_ref().map_or("-".into(), |status| readiness(status.state));
    let mut words = vec![kind, event.container_id.clone(), sandbox];
    let statuses = event.containers_statuses.iter();
    words.extend(statuses.map(|status| format!("{}:{}", status.id, state(status.state))));
    words.join(" ")
}

/// A pod named `web` in a sandbox of this ID.
pub(crate) fn pod(id: &str) -> PodSpec {
    PodSpec::new("web").id(id)
}

/// A container named `nginx` of this ID.
pub(crate) fn named(id: &str) -> ContainerSpec {
    ContainerSpec::new("nginx").id(id)
}
