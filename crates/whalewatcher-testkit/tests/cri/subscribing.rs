//! The subscribers that receive an event, which differs between runtimes.

use std::time::Duration;

use tonic::Code;
use whalewatcher_testkit::cri::{Clock, Flavour, Server};

use crate::client::{Subscription, named, pod, version};

fn playing(flavour: Flavour) -> Server {
    Server::builder().flavour(flavour).start().unwrap()
}

#[tokio::test]
async fn a_subscription_is_answered_with_its_first_event_only() {
    for flavour in [Flavour::Containerd1_7, Flavour::Containerd2_1, Flavour::CrioWithEvents] {
        let server = playing(flavour);
        let mut events = Subscription::registered(&server).await;
        version(&server).await.unwrap();
        assert!(!events.is_answered(), "{flavour:?}");
        server.run_pod(pod("p")).unwrap();
        assert!(events.reported(1).await[0].ends_with(" p READY"));
    }
}

#[tokio::test]
async fn containerd_2_and_crio_report_everybody() {
    for flavour in [Flavour::Containerd2_1, Flavour::CrioWithEvents] {
        let server = playing(flavour);
        let mut first = Subscription::registered(&server).await;
        let mut second = Subscription::registered(&server).await;
        server.run_pod(pod("p")).unwrap();
        server.run("p", named("a")).unwrap();
        assert_eq!(first.reported(3).await, second.reported(3).await, "{flavour:?}");
    }
}

#[tokio::test]
async fn containerd_1_7_sends_each_event_to_one_subscriber() {
    let server = playing(Flavour::Containerd1_7);
    let mut kubelet = Subscription::registered(&server).await;
    server.run_pod(pod("p")).unwrap();
    // Alone, it gets everything.
    assert_eq!(kubelet.reported(2).await, ["CREATED p READY", "STARTED p READY"]);
    let mut thief = Subscription::registered(&server).await;
    server.run("p", named("a")).unwrap();
    server.run("p", named("b")).unwrap();
    let words =
        |reported: Vec<String>| reported.iter().map(|reported| reported[..9].to_owned()).collect::<Vec<_>>();
    assert_eq!(words(thief.reported(2).await), ["CREATED a", "CREATED b"]);
    assert_eq!(words(kubelet.reported(2).await), ["STARTED a", "STARTED b"]);
    drop(thief);
    server.until(|stats| stats.subscriptions == 1).await;
    server.exit("a", 0).unwrap();
    server.exit("b", 0).unwrap();
    assert_eq!(words(kubelet.reported(2).await), ["STOPPED a", "STOPPED b"]);
}

#[tokio::test]
async fn containerd_1_7_keeps_up_to_a_thousand_events() {
    let server = playing(Flavour::Containerd1_7);
    for number in 0..501 {
        server.run_pod(pod(&format!("p{number:03}"))).unwrap();
    }
    let mut events = Subscription::registered(&server).await;
    server.run_pod(pod("later")).unwrap();
    let reported = events.reported(1001).await;
    assert_eq!((reported[0].as_str(), reported[999].as_str()), ("CREATED p000 READY", "STARTED p499 READY"));
    assert_eq!(reported[1000], "CREATED later READY");
}

#[tokio::test]
async fn containerd_2_keeps_events_for_five_minutes() {
    let clock = Clock::stepped(jiff::Timestamp::from_second(1_000_000).unwrap());
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    server.run_pod(pod("old")).unwrap();
    clock.advance(Duration::from_secs(200));
    server.run_pod(pod("p")).unwrap();
    clock.advance(Duration::from_secs(101));
    let mut first = Subscription::registered(&server).await;
    assert_eq!(first.reported(2).await, ["CREATED p READY", "STARTED p READY"]);
    // Nothing is kept for later subscribers.
    let mut second = Subscription::registered(&server).await;
    server.run("p", named("a")).unwrap();
    assert_eq!(second.reported(1).await, ["CREATED a READY a:CREATED"]);
    // But again once there is no subscriber.
    drop((first, second));
    server.until(|stats| stats.subscriptions == 0).await;
    server.exit("a", 0).unwrap();
    let mut third = Subscription::registered(&server).await;
    assert_eq!(third.reported(1).await, ["STOPPED a READY a:EXITED"]);
}

#[tokio::test]
async fn crio_keeps_only_events_before_the_first_subscription() {
    let server = playing(Flavour::CrioWithEvents);
    server.run_pod(pod("p")).unwrap();
    let mut first = Subscription::registered(&server).await;
    assert_eq!(first.reported(1).await, ["STARTED p READY"]);
    drop(first);
    server.until(|stats| stats.subscriptions == 0).await;
    server.run("p", named("missed")).unwrap();
    let mut second = Subscription::registered(&server).await;
    server.exit("missed", 0).unwrap();
    assert_eq!(second.reported(1).await, ["STOPPED missed READY missed:EXITED"]);
}

#[tokio::test]
async fn crio_without_events_ends_the_stream_at_once() {
    let server = playing(Flavour::Crio);
    server.run_pod(pod("p")).unwrap();
    assert!(Subscription::request(&server).next().await.unwrap().is_none());
    assert_eq!(server.stats().subscribed, 0);
}

#[tokio::test]
async fn containerd_1_6_knows_no_events() {
    let refused = Subscription::request(&playing(Flavour::Containerd1_6)).next().await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert_eq!(refused.message(), "unknown method GetContainerEvents for service runtime.v1.RuntimeService");
}

#[tokio::test]
async fn crio_finds_the_containers_of_an_event_by_a_label() {
    let server = playing(Flavour::CrioWithEvents);
    let mut events = Subscription::registered(&server).await;
    server.run_pod(pod("p").without_kubelet()).unwrap();
    server.create("p", named("a")).unwrap();
    server.run_pod(pod("q")).unwrap();
    server.create("q", named("b")).unwrap();
    assert_eq!(
        events.reported(4).await,
        ["STARTED p READY", "CREATED a READY", "STARTED q READY", "CREATED b READY b:CREATED"]
    );
}

#[tokio::test]
async fn a_client_that_goes_is_subscribed_no_more() {
    let server = Server::builder().start().unwrap();
    let unanswered = Subscription::registered(&server).await;
    let mut answered = Subscription::registered(&server).await;
    server.run_pod(pod("p")).unwrap();
    answered.reported(1).await;
    drop((unanswered, answered));
    server.until(|stats| stats.subscriptions == 0 && stats.open == 0).await;
    assert_eq!(server.stats().subscribed, 2);
}
