//! A runtime that goes away and comes back as it was or as another, that says nothing or nonsense, streams that stand
//! still, subscriptions that begin late.

use tonic::Code;
use whalewatcher_testkit::cri::{Fate, Flavour, Gate, Reception, Server};

use crate::client::{Subscription, container_in_words, containers, named, pod, sandboxes, version};

#[tokio::test]
async fn pods_live_on_without_events_while_the_runtime_is_away() {
    let server = Server::builder().start().unwrap();
    server.run_pod(pod("p")).unwrap();
    server.run("p", named("a")).unwrap();
    server.run("p", named("b")).unwrap();
    let mut events = Subscription::registered(&server).await;
    events.reported(6).await;
    server.stop_listening().await;
    assert!(!server.socket().exists());
    assert!(events.next().await.is_err());
    let (made, made_meanwhile) = std::sync::mpsc::channel();
    server.on_event(move |event| {
        made.send(event.container_id.clone()).unwrap();
        Fate::Deliver
    });
    server.exit("b", 0).unwrap();
    server.run_pod(pod("q")).unwrap();
    assert!(made_meanwhile.try_recv().is_err());
    server.listen_again().unwrap();
    assert_eq!(containers(&server, None).await, ["a RUNNING", "b EXITED"]);
    assert_eq!(sandboxes(&server, None).await, ["p READY", "q READY"]);
    let mut events = Subscription::registered(&server).await;
    server.exit("a", 0).unwrap();
    assert_eq!(events.reported(1).await, ["STOPPED a READY a:EXITED b:EXITED"]);
    assert_eq!(made_meanwhile.try_recv().unwrap(), "a");
}

#[tokio::test]
async fn what_was_kept_for_subscribers_is_lost_with_the_runtime() {
    let server = Server::builder().start().unwrap();
    server.run_pod(pod("p")).unwrap();
    server.restart_runtime().await.unwrap();
    assert_eq!(server.stats().subscriptions, 0);
    let mut events = Subscription::registered(&server).await;
    server.run("p", named("a")).unwrap();
    assert_eq!(events.reported(1).await, ["CREATED a READY a:CREATED"]);
}

#[tokio::test]
async fn a_runtime_can_come_back_as_another_with_the_same_pods() {
    let server = Server::builder().flavour(Flavour::Containerd1_7).start().unwrap();
    server.run_pod(pod("p")).unwrap();
    server.stop_listening().await;
    server.become_flavour(Flavour::Containerd2_1);
    server.listen_again().unwrap();
    assert_eq!(version(&server).await.unwrap(), "containerd v2.1.9 v1");
    assert_eq!(sandboxes(&server, None).await, ["p READY"]);
    let mut first = Subscription::registered(&server).await;
    let mut second = Subscription::registered(&server).await;
    server.create("p", named("a")).unwrap();
    assert_eq!(first.reported(1).await, second.reported(1).await);
    server.become_flavour(Flavour::Containerd1_6);
    assert_eq!(Subscription::request(&server).next().await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn streams_can_stand_still_and_go_on_without_a_loss() {
    let server = Server::builder().start().unwrap();
    let mut events = Subscription::registered(&server).await;
    server.run_pod(pod("p")).unwrap();
    events.reported(2).await;
    let gate = server.stall_streams();
    server.run("p", named("a")).unwrap();
    gate.until_waiting(1).await;
    assert_eq!(container_in_words(&server, "a").await, "RUNNING 4001");
    gate.open();
    assert_eq!(events.reported(2).await, ["CREATED a READY a:CREATED", "STARTED a READY a:RUNNING"]);
}

#[tokio::test]
async fn a_subscription_can_be_registered_late() {
    let server = Server::builder().flavour(Flavour::CrioWithEvents).start().unwrap();
    drop(Subscription::registered(&server).await);
    server.until(|stats| stats.subscriptions == 0).await;
    let gate: Gate = server.hold_subscriptions();
    let mut events = Subscription::request(&server);
    gate.until_waiting(1).await;
    server.run_pod(pod("missed")).unwrap();
    gate.open();
    server.until_subscriptions(1).await;
    server.run_pod(pod("seen")).unwrap();
    assert_eq!(events.reported(1).await, ["STARTED seen READY"]);
}

#[tokio::test]
async fn a_runtime_can_take_connections_and_say_nothing() {
    let server = Server::builder().start().unwrap();
    server.receive(Reception::Silence);
    let asked = tokio::spawn({
        let server = server.clone();
        async move { version(&server).await }
    });
    server.until(|stats| stats.open == 1).await;
    // Later connections are served, and this one still gets no answer.
    server.receive(Reception::Serve);
    version(&server).await.unwrap();
    assert!(!asked.is_finished());
    assert_eq!(server.stats().requests.total(), 1);
    server.disconnect_all();
    assert!(asked.await.unwrap().is_err());
}

#[tokio::test]
async fn a_runtime_can_answer_with_nonsense() {
    let server = Server::builder().start().unwrap();
    server.receive(Reception::Garbage("HTTP/1.1 400 Bad Request\r\n\r\n".into()));
    version(&server).await.unwrap_err();
    assert_eq!(server.stats().requests.total(), 0);
    server.receive(Reception::Serve);
    version(&server).await.unwrap();
}

#[tokio::test]
async fn dropping_the_server_closes_its_connections_and_removes_its_socket() {
    let server = Server::builder().start().unwrap();
    let (socket, containerd) = (server.socket(), server.containerd());
    let mut events = Subscription::registered(&server).await;
    drop(server);
    // The other half of it is still held.
    assert!(socket.exists());
    drop(containerd);
    assert!(events.next().await.is_err());
    assert!(!socket.exists());
}
