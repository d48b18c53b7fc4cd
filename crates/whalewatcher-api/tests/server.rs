//! Clients and servers that are generated from the same definitions understand each other.

use prost::Name as _;
use prost_types::{Any, Timestamp};
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status, async_trait};
use whalewatcher_api::containerd::events::TaskStart;
use whalewatcher_api::containerd::services::events::v1::events_client::EventsClient;
use whalewatcher_api::containerd::services::events::v1::events_server::{Events, EventsServer};
use whalewatcher_api::containerd::services::events::v1::{PublishRequest, SubscribeRequest};
use whalewatcher_api::containerd::types::Envelope;

/// Forwards one event, and refuses to publish any.
struct Server(Envelope);

#[async_trait]
impl Events for Server {
    type SubscribeStream = BoxStream<Envelope>;

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<()>, Status> {
        Err(Status::invalid_argument(request.into_inner().topic))
    }

    async fn subscribe(&self, _: Request<SubscribeRequest>) -> Result<Response<BoxStream<Envelope>>, Status> {
        let event = self.0.clone();
        Ok(Response::new(Box::pin(tonic::codegen::tokio_stream::once(Ok(event)))))
    }
}

#[tokio::test]
async fn what_a_server_sends_is_what_a_client_gets() {
    let start = TaskStart { container_id: "whale".into(), pid: 7 };
    let envelope = Envelope {
        timestamp: Some(Timestamp { seconds: 1, nanos: 2 }),
        namespace: "default".into(),
        topic: "/tasks/start".into(),
        event: Some(Any::from_msg(&start).unwrap()),
    };
    assert_eq!(TaskStart::full_name(), "containerd.events.TaskStart");
    let mut client = EventsClient::new(EventsServer::new(Server(envelope.clone())));
    let mut events = client.subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
    let received = events.message().await.unwrap().unwrap();
    assert_eq!(received, envelope);
    assert_eq!(received.event.unwrap().to_msg::<TaskStart>().unwrap(), start);
    assert!(events.message().await.unwrap().is_none());

    let request = PublishRequest { topic: "/tasks/start".into(), event: None };
    let refused = client.publish(request).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "/tasks/start"));
}
