//! How subscriptions begin, what they select, and how they end.

use tonic::Code;
use whalewatcher_testkit::containerd::Server;

use crate::client::{Subscription, namespaces, publish};

#[tokio::test]
async fn a_subscription_is_answered_with_its_first_event_only() {
    let server = Server::builder().start().unwrap();
    let mut events = Subscription::registered(&server, &["topic~=\"^/tasks/\""]).await;
    // Nothing that it selected happened, though it is registered, and everything else is answered.
    server.create("web").unwrap();
    namespaces(&server).await;
    assert!(!events.is_answered());
    server.start("web").unwrap();
    assert_eq!(events.reported(2).await, ["/tasks/create default", "/tasks/start default web 4000"]);
}

#[tokio::test]
async fn the_server_filters_namespaces_and_topics() {
    let server = Server::builder().start().unwrap();
    let filters =
        ["topic~=\"^/tasks/(start|exit)$\",namespace!=moby,namespace!=k8s.io", "topic==\"/test/probe\""];
    let mut events = Subscription::registered(&server, &filters).await;
    for key in ["moby/a", "k8s.io/b", "shop/c", "d"] {
        server.run(key).unwrap();
    }
    publish(&server, "test", "/test/probe").await.unwrap();
    assert_eq!(
        events.reported(3).await,
        ["/tasks/start shop c 4002", "/tasks/start default d 4003", "/test/probe test"]
    );
    // Publishing makes no namespace.
    assert!(!namespaces(&server).await.contains(&"test".to_owned()));
}

#[tokio::test]
async fn events_can_be_selected_by_their_container() {
    let server = Server::builder().start().unwrap();
    let filters = ["event.container_id==web", "event.id==api,topic==\"/containers/create\""];
    let mut events = Subscription::registered(&server, &filters).await;
    server.run("api").unwrap();
    server.run("web").unwrap();
    assert_eq!(
        events.reported(3).await,
        ["/containers/create default", "/tasks/create default", "/tasks/start default web 4001"]
    );
}

#[tokio::test]
async fn everybody_gets_every_event() {
    let server = Server::builder().start().unwrap();
    let mut first = Subscription::registered(&server, &[]).await;
    let mut second = Subscription::registered(&server, &[]).await;
    assert_eq!(server.stats().subscriptions, 2);
    server.run("web").unwrap();
    assert_eq!(first.reported(3).await, second.reported(3).await);
}

#[tokio::test]
async fn nothing_is_kept_for_later_subscribers() {
    let server = Server::builder().start().unwrap();
    server.run("early").unwrap();
    let mut events = Subscription::registered(&server, &["topic==\"/tasks/start\""]).await;
    server.run("late").unwrap();
    assert_eq!(events.reported(1).await, ["/tasks/start default late 4001"]);
}

#[tokio::test]
async fn what_is_no_filter_or_no_topic_is_refused() {
    let server = Server::builder().start().unwrap();
    let refused = Subscription::request(&server, &["topic=x"]).next().await.unwrap_err();
    assert_eq!(refused.code(), Code::Unknown);
    assert!(refused.message().contains("failed parsing subscription filters"), "{refused}");
    for topic in ["", "/", "probe", "/test/", "/te st"] {
        let refused = publish(&server, "test", topic).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{topic}");
    }
    assert_eq!(publish(&server, "", "/test").await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_client_that_goes_is_subscribed_no_more() {
    let server = Server::builder().start().unwrap();
    let unanswered = Subscription::registered(&server, &[]).await;
    let mut answered = Subscription::registered(&server, &[]).await;
    server.run("web").unwrap();
    answered.reported(1).await;
    drop((unanswered, answered));
    server.until(|stats| stats.subscriptions == 0 && stats.open == 0).await;
    assert_eq!(server.stats().subscribed, 2);
}
