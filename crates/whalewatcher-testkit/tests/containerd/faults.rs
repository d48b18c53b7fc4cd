//! An engine that goes away and comes back, streams that stand still, subscriptions that begin late.

use whalewatcher_testkit::containerd::{Reception, Server};

use crate::client::{Subscription, namespaces, tasks};

#[tokio::test]
async fn containers_live_on_while_the_engine_is_away() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    server.run("job").unwrap();
    let mut events = Subscription::registered(&server, &[]).await;
    server.stop_listening().await;
    assert!(!server.socket().exists());
    assert!(events.next().await.is_err());
    server.exit("job", 0).unwrap();
    server.listen_again().unwrap();
    assert_eq!(tasks(&server, "default").await["web"], "Running 4000");
    assert_eq!(tasks(&server, "default").await["job"], "Stopped 4001");
}

#[tokio::test]
async fn a_restarted_engine_has_no_subscribers() {
    let server = Server::builder().start().unwrap();
    let _events = Subscription::registered(&server, &[]).await;
    server.restart_engine().await.unwrap();
    assert_eq!(server.stats().subscriptions, 0);
    namespaces(&server).await;
}

#[tokio::test]
async fn streams_can_stand_still_and_go_on_without_a_loss() {
    let server = Server::builder().start().unwrap();
    let mut events = Subscription::registered(&server, &["topic==\"/tasks/start\""]).await;
    server.run("a").unwrap();
    events.reported(1).await;
    let gate = server.stall_streams();
    server.run("b").unwrap();
    server.run("c").unwrap();
    gate.until_waiting(1).await;
    assert_eq!(tasks(&server, "default").await.len(), 3);
    gate.open();
    assert_eq!(events.reported(2).await, ["/tasks/start default b 4001", "/tasks/start default c 4002"]);
}

#[tokio::test]
async fn a_subscription_can_be_registered_late() {
    let server = Server::builder().start().unwrap();
    let gate = server.hold_subscriptions();
    let mut events = Subscription::request(&server, &["topic==\"/tasks/start\""]);
    gate.until_waiting(1).await;
    server.run("missed").unwrap();
    gate.open();
    server.until_subscriptions(1).await;
    server.run("seen").unwrap();
    assert_eq!(events.reported(1).await, ["/tasks/start default seen 4001"]);
}

#[tokio::test]
async fn dropping_the_server_closes_its_connections_and_removes_its_socket() {
    let server = Server::builder().start().unwrap();
    let socket = server.socket();
    let mut events = Subscription::registered(&server, &[]).await;
    drop(server);
    assert!(events.next().await.is_err());
    assert!(!socket.exists());
}

#[tokio::test]
async fn an_engine_can_take_connections_and_say_nothing_or_nonsense() {
    let server = Server::builder().start().unwrap();
    server.receive(Reception::Silence);
    let asked = tokio::spawn({
        let server = server.clone();
        async move { tasks(&server, "default").await }
    });
    server.until(|stats| stats.open == 1).await;
    server.receive(Reception::Serve);
    namespaces(&server).await;
    assert!(!asked.is_finished());
    assert_eq!(server.stats().requests.total(), 1);
    asked.abort();
    server.receive(Reception::Garbage("HTTP/1.1 400 Bad Request\r\n\r\n".into()));
    assert!(Subscription::request(&server, &[]).next().await.is_err());
    assert_eq!(server.stats().requests.total(), 1);
}
