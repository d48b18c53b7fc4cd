//! Events that no container made, and how events are encoded.

use prost::{Message, Name};
use whalewatcher_api::containerd::events::TaskStart;
use whalewatcher_testkit::containerd::{Clock, Server};

use crate::client::Subscription;

#[tokio::test]
async fn an_event_carries_the_engines_time_and_a_type_without_a_slash() {
    let clock = Clock::stepped(jiff::Timestamp::from_second(1_000_000).unwrap());
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    let mut events = Subscription::registered(&server, &["topic==\"/tasks/start\""]).await;
    server.create("web").unwrap();
    clock.advance(std::time::Duration::from_secs(5));
    server.start("web").unwrap();
    let envelope = events.next().await.unwrap().unwrap();
    assert_eq!(envelope.timestamp.unwrap().seconds, 1_000_005);
    let event = envelope.event.unwrap();
    assert_eq!(event.type_url, "containerd.events.TaskStart");
    assert_eq!(event.type_url, TaskStart::full_name());
    let start = TaskStart::decode(&event.value[..]).unwrap();
    assert_eq!((start.container_id.as_str(), start.pid), ("web", 4000));
}

#[tokio::test]
async fn any_event_can_be_sent() {
    let server = Server::builder().start().unwrap();
    let mut events = Subscription::registered(&server, &[]).await;
    server.emit("shop", "/tasks/start", "containerd.events.TaskStart", b"\xff\xff");
    let envelope = events.next().await.unwrap().unwrap();
    assert_eq!((envelope.namespace.as_str(), envelope.topic.as_str()), ("shop", "/tasks/start"));
    assert!(TaskStart::decode(&envelope.event.unwrap().value[..]).is_err());
}

#[tokio::test]
async fn namespaces_come_and_go_with_events() {
    let server = Server::builder().start().unwrap();
    let mut events = Subscription::registered(&server, &[]).await;
    server.create_namespace("shop");
    server.create_namespace("shop");
    server.delete_namespace("shop").unwrap();
    assert_eq!(events.reported(2).await, ["/namespaces/create shop", "/namespaces/delete shop"]);
}
