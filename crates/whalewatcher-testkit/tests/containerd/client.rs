//! What tests ask the server for, each by the generated client of its service.

use std::collections::BTreeMap;

use prost::{Message, Name};
use prost_types::Any;
use tokio::task::JoinHandle;
use tonic::{
    Request, Status, Streaming,
    transport::{Channel, Endpoint},
};
use whalewatcher_api::containerd::events::{ContainerUpdate, TaskExit, TaskStart};
use whalewatcher_api::containerd::services::containers::v1::{
    Container, GetContainerRequest, ListContainersRequest, containers_client::ContainersClient,
};
use whalewatcher_api::containerd::services::events::v1::{
    PublishRequest, SubscribeRequest, events_client::EventsClient,
};
use whalewatcher_api::containerd::services::namespaces::v1::{
    ListNamespacesRequest, namespaces_client::NamespacesClient,
};
use whalewatcher_api::containerd::services::tasks::v1::{
    GetRequest, ListTasksRequest, tasks_client::TasksClient,
};
use whalewatcher_api::containerd::types::Envelope;
use whalewatcher_api::containerd::v1::types::Process;
use whalewatcher_testkit::containerd::Server;

pub(crate) fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(server.endpoint()).unwrap().connect_lazy()
}

/// A request for a namespace; none for the empty one.
pub(crate) fn within<T>(namespace: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !namespace.is_empty() {
        request.metadata_mut().insert("containerd-namespace", namespace.parse().unwrap());
    }
    request
}

pub(crate) async fn namespaces(server: &Server) -> Vec<String> {
    let mut client = NamespacesClient::new(channel(server));
    let answer = client.list(ListNamespacesRequest::default()).await.unwrap().into_inner();
    answer.namespaces.into_iter().map(|namespace| namespace.name).collect()
}

pub(crate) async fn container(server: &Server, namespace: &str, id: &str) -> Result<Container, Status> {
    let mut client = ContainersClient::new(channel(server));
    let answer = client.get(within(namespace, GetContainerRequest { id: id.into() })).await?;
    Ok(answer.into_inner().container.unwrap())
}

pub(crate) async fn containers(
    server: &Server,
    namespace: &str,
    filters: &[&str],
) -> Result<Vec<Container>, Status> {
    let mut client = ContainersClient::new(channel(server)).max_decoding_message_size(usize::MAX);
    let filters = filters.iter().map(|filter| (*filter).into()).collect();
    let answer = client.list(within(namespace, ListContainersRequest { filters })).await?;
    Ok(answer.into_inner().containers)
}

pub(crate) async fn streamed(server: &Server, namespace: &str) -> Result<Vec<Container>, Status> {
    let mut client = ContainersClient::new(channel(server));
    let request = within(namespace, ListContainersRequest::default());
    let mut messages = client.list_stream(request).await?.into_inner();
    let mut containers = Vec::new();
    while let Some(message) = messages.message().await? {
        containers.push(message.container.unwrap());
    }
    Ok(containers)
}

pub(crate) async fn task(server: &Server, namespace: &str, id: &str) -> Result<Process, Status> {
    let mut client = TasksClient::new(channel(server));
    let request = GetRequest { container_id: id.into(), exec_id: String::new() };
    Ok(client.get(within(namespace, request)).await?.into_inner().process.unwrap())
}

/// By ID, as `STATUS PID`.
pub(crate) async fn tasks(server: &Server, namespace: &str) -> BTreeMap<String, String> {
    let mut client = TasksClient::new(channel(server));
    let answer = client.list(within(namespace, ListTasksRequest::default())).await.unwrap();
    let tasks = answer.into_inner().tasks.into_iter();
    tasks.map(|task| (task.id.clone(), format!("{:?} {}", task.status(), task.pid))).collect()
}

pub(crate) async fn publish(server: &Server, namespace: &str, topic: &str) -> Result<(), Status> {
    let mut client = EventsClient::new(channel(server));
    let event = Some(Any { type_url: "test.Probe".into(), value: b"probe".to_vec() });
    client.publish(within(namespace, PublishRequest { topic: topic.into(), event })).await?;
    Ok(())
}

/// A subscription, which is answered with its first event.
pub(crate) struct Subscription {
    answer: Option<JoinHandle<Result<Streaming<Envelope>, Status>>>,
    stream: Option<Streaming<Envelope>>,
}

impl Subscription {
    /// Returns when the one more subscription is registered.
    pub(crate) async fn registered(server: &Server, filters: &[&str]) -> Self {
        let subscribed = server.stats().subscribed;
        let subscription = Self::request(server, filters);
        server.until(|stats| stats.subscribed > subscribed).await;
        subscription
    }

    pub(crate) fn request(server: &Server, filters: &[&str]) -> Self {
        let mut client = EventsClient::new(channel(server));
        let filters = filters.iter().map(|filter| (*filter).into()).collect();
        let answer = tokio::spawn(async move {
            client.subscribe(SubscribeRequest { filters }).await.map(tonic::Response::into_inner)
        });
        Self { answer: Some(answer), stream: None }
    }

    /// Whether the response headers have come.
    pub(crate) fn is_answered(&self) -> bool {
        self.answer.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Envelope>, Status> {
        if let Some(answer) = self.answer.take() {
            self.stream = Some(answer.await.unwrap()?);
        }
        self.stream.as_mut().unwrap().message().await
    }

    /// The next events as `TOPIC NAMESPACE` and what is special about each.
    pub(crate) async fn reported(&mut self, count: usize) -> Vec<String> {
        let mut reported = Vec::new();
        while reported.len() < count {
            let event = self.next().await.unwrap().expect("the stream ended too early");
            reported.push(in_words(&event));
        }
        reported
    }
}

pub(crate) fn in_words(envelope: &Envelope) -> String {
    let event = envelope.event.as_ref().unwrap();
    let what = match event.type_url.as_str() {
        url if url == TaskStart::full_name() => {
            let start = TaskStart::decode(&event.value[..]).unwrap();
            format!(" {} {}", start.container_id, start.pid)
        }
        url if url == TaskExit::full_name() => {
            let exit = TaskExit::decode(&event.value[..]).unwrap();
            format!(" {} {} {} {}", exit.container_id, exit.id, exit.pid, exit.exit_status)
        }
        url if url == ContainerUpdate::full_name() => {
            let update = ContainerUpdate::decode(&event.value[..]).unwrap();
            let labels: BTreeMap<_, _> = update.labels.into_iter().collect();
            format!(" {} {labels:?}", update.id)
        }
        _ => String::new(),
    };
    format!("{} {}{what}", envelope.topic, envelope.namespace)
}
