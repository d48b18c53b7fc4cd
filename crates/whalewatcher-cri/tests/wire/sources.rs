//! The source of changes: chosen with each connection, and shown by the status.

use std::time::Duration;

use whalewatcher_core::ChangeSource;
use whalewatcher_cri::Client;
use whalewatcher_testkit::cri::{Code, Flavour, Method, Server, Verdict};

use crate::watched::{Watched, assert_true, in_time, lists, server, watch, watch_by};

const EVERY: Duration = Duration::from_millis(10);
const POLLING: ChangeSource = ChangeSource::Polling { every: EVERY };

/// The source where the runtime's own events would be taken from the kubelet.
const BEFORE_2_0: ChangeSource = if cfg!(feature = "containerd") { ChangeSource::Hints } else { POLLING };

fn source(watched: &Watched) -> Option<ChangeSource> {
    watched.watching.status().source
}

#[tokio::test]
async fn the_best_harmless_source_is_chosen() {
    for (flavour, expected, asked) in [
        (Flavour::Containerd1_6, BEFORE_2_0, 0),
        (Flavour::Containerd1_7, BEFORE_2_0, 0),
        (Flavour::Containerd2_1, ChangeSource::Events, 1),
        (Flavour::Crio, POLLING, 1),
        (Flavour::CrioWithEvents, ChangeSource::Events, 1),
    ] {
        let server = server(flavour);
        let sandbox = server.run_pod("p").unwrap();
        let mut watched = watch(&server).live().await;
        assert_eq!(source(&watched), Some(expected), "{flavour:?}");
        let fallback = watched.watching.status().fallback;
        assert_eq!(fallback.is_some(), matches!(expected, ChangeSource::Polling { .. }), "{fallback:?}");
        let web = server.run(&sandbox, "web").unwrap();
        assert_eq!(watched.reported().await, "started web");
        assert_true(&watched, &server);
        server.exit(&web, 0).unwrap();
        assert!(watched.reported().await.starts_with("exited web"));
        assert_eq!(server.stats().requests.of(Method::GetContainerEvents), asked, "{flavour:?}");
        assert_eq!(server.stats().accepted, 1, "{flavour:?}");
    }
}

#[tokio::test]
async fn configured_polling_subscribes_to_no_events() {
    for flavour in [Flavour::Containerd1_7, Flavour::Containerd2_1, Flavour::CrioWithEvents] {
        let server = server(flavour);
        let sandbox = server.run_pod("p").unwrap();
        let client = Client::builder().endpoint(server.endpoint()).poll_every(EVERY).polling();
        let mut watched = watch_by(client.build().unwrap()).live().await;
        assert_eq!(source(&watched), Some(POLLING), "{flavour:?}");
        assert!(watched.watching.status().fallback.is_none(), "as configured");
        let web = server.run(&sandbox, "web").unwrap();
        assert_eq!(watched.reported().await, "started web");
        assert_true(&watched, &server);
        server.exit(&web, 3).unwrap();
        assert_eq!(watched.reported().await, "exited web 3", "{flavour:?}");
        assert_eq!(server.stats().requests.of(Method::GetContainerEvents), 0, "{flavour:?}");
        assert_eq!(server.containerd().stats().subscribed, 0, "{flavour:?}");
    }
}

#[tokio::test]
async fn a_containerd_of_unknown_version_is_not_asked_for_events() {
    for version in ["", "unknown", "v1.7.99-dev", "2.0.0-rc.1", "main"] {
        let server = Server::builder().version("containerd", version).start().unwrap();
        server.run_pod("p").unwrap();
        let watched = watch(&server).live().await;
        assert_eq!(source(&watched), Some(BEFORE_2_0), "{version}");
        assert_eq!(server.stats().requests.of(Method::GetContainerEvents), 0, "{version}");
    }
}

#[tokio::test]
async fn a_runtime_without_events_is_polled_on_the_same_connection() {
    for (verdict, why) in [
        (
            Verdict::error(Code::Unimplemented, "unknown method"),
            "fails RuntimeService.GetContainerEvents: unknown",
        ),
        (
            Verdict::error(Code::PermissionDenied, "not you"),
            "refuses RuntimeService.GetContainerEvents: not you",
        ),
        (Verdict::error(Code::Unavailable, "subscription closed by server"), "subscription closed by server"),
        (Verdict::Garbage(vec![0x0a, 0xff].into()), "the answer cannot be understood"),
        (Verdict::End(0), "the CRI runtime ended its stream of events"),
    ] {
        let server = server(Flavour::CrioWithEvents);
        server.on_call(move |call| match call.method() {
            Method::GetContainerEvents => verdict.clone(),
            _ => Verdict::Pass,
        });
        let sandbox = server.run_pod("p").unwrap();
        let mut watched = watch(&server).live().await;
        assert_eq!(source(&watched), Some(POLLING));
        let fallback = watched.watching.status().fallback.unwrap().to_string();
        assert!(fallback.contains(why), "{fallback}");
        server.run(&sandbox, "web").unwrap();
        assert_eq!(watched.reported().await, "started web");
        let stats = in_time(server.until(|stats| lists(stats).0 >= 10)).await;
        assert_eq!(
            (stats.accepted, stats.requests.of(Method::GetContainerEvents)),
            (1, 1),
            "it does not spin"
        );
    }
}

#[tokio::test]
async fn a_stream_that_ends_early_is_replaced_by_polling() {
    let server = server(Flavour::Crio);
    let gate = server.hold(Method::GetContainerEvents, None);
    let sandbox = server.run_pod("p").unwrap();
    let mut watched = watch(&server).live().await;
    assert_eq!(source(&watched), Some(ChangeSource::Events));
    // No event reports it.
    server.run(&sandbox, "web").unwrap();
    gate.open();
    assert_eq!(watched.reported().await, "started web");
    assert_eq!(source(&watched), Some(POLLING));
    assert!(watched.watching.status().fallback.is_some());
    assert_eq!(server.stats().accepted, 1);
    assert_true(&watched, &server);
}

#[tokio::test]
async fn a_stream_that_ends_after_it_reported_something_is_a_lost_connection() {
    let server = server(Flavour::Containerd2_1);
    server.on(Method::GetContainerEvents, Verdict::End(1));
    let sandbox = server.run_pod("p").unwrap();
    let mut watched = watch(&server).live().await;
    server.run(&sandbox, "web").unwrap();
    let reported = watched.until_reported("synced").await;
    let lost = "disconnected the CRI runtime ended its stream of events";
    assert!(reported.iter().any(|reported| reported == lost), "{reported:?}");
    assert_eq!(reported.last().unwrap(), "synced 2");
}

#[tokio::test]
async fn the_source_is_chosen_again_for_another_runtime() {
    let server = server(Flavour::Containerd1_7);
    let sandbox = server.run_pod("p").unwrap();
    let web = server.run(&sandbox, "web").unwrap();
    let mut watched = watch(&server).live().await;
    assert_eq!(source(&watched), Some(BEFORE_2_0));
    for (flavour, expected) in [
        (Flavour::Containerd2_1, ChangeSource::Events),
        (Flavour::Containerd1_6, BEFORE_2_0),
        (Flavour::Containerd2_1, ChangeSource::Events),
    ] {
        server.stop_listening().await;
        assert!(watched.reported().await.starts_with("disconnected "));
        assert_eq!(source(&watched), None);
        server.become_flavour(flavour);
        server.listen_again().unwrap();
        assert_eq!(watched.reported().await, "synced 2");
        assert_eq!(source(&watched), Some(expected));
    }
    server.exit(&web, 5).unwrap();
    assert_eq!(watched.reported().await, "exited web 5");
}

#[tokio::test]
async fn a_runtime_is_polled_as_often_as_configured() {
    let server = server(Flavour::Crio);
    let client = Client::builder().endpoint(server.endpoint()).poll_every(Duration::from_millis(1500));
    let watched = watch_by(client.build().unwrap()).live().await;
    let every = Duration::from_millis(1500);
    assert_eq!(source(&watched), Some(ChangeSource::Polling { every }));
    let status = watched.watching.status();
    let text = status.to_string();
    let why = status.fallback.unwrap();
    assert_eq!(text, format!("live, by polling every 1.5 s because {why}"));
}
