//! Lives that end before they can be inspected.

use futures_util::FutureExt;
use whalewatcher_testkit::cri::{ContainerEventType, ContainerSpec, Fate, Flavour, Method};

use crate::watched::{assert_true, in_time, server, watch};

#[tokio::test]
async fn a_life_too_short_to_inspect_is_reported_by_its_events() {
    for flavour in [Flavour::Containerd2_1, Flavour::CrioWithEvents] {
        let server = server(flavour);
        let sandbox = server.run_pod("p").unwrap();
        let mut watched = watch(&server).live().await;
        let gate = server.hold(Method::ContainerStatus, None);
        let short = server.run(&sandbox, ContainerSpec::new("short").annotation("a", "b")).unwrap();
        in_time(gate.until_waiting(1)).await;
        server.exit(&short, 7).unwrap();
        server.remove(&short).unwrap();
        gate.open();
        let started = watched.next().await;
        let container = started.container().unwrap();
        assert_eq!((container.name(), container.pid()), ("short", 0));
        assert_eq!(container.labels().get("io.kubernetes.annotation/a"), Some("b"));
        assert_eq!(container.labels().get("io.kubernetes.pod.name"), Some("p"));
        assert_eq!(watched.reported().await, "exited short 7");
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn short_lived_pods_are_reported_once_each() {
    for flavour in [Flavour::Containerd2_1, Flavour::CrioWithEvents] {
        let server = server(flavour);
        let mut watched = watch(&server).live().await;
        for _ in 0..50 {
            let sandbox = server.run_pod("p").unwrap();
            let container = server.create(&sandbox, "c").unwrap();
            server.start_and_exit(&container, 1).unwrap();
            server.remove(&sandbox).unwrap();
        }
        let reported = watched.reported_all(200).await;
        let count = |what: &str| reported.iter().filter(|reported| reported.starts_with(what)).count();
        let of = |what: &str| reported.iter().filter(|reported| *reported == what).count();
        assert_eq!((of("started c"), of("exited c 1")), (50, 50), "{flavour:?}");
        assert_eq!((count("started "), count("exited ")), (100, 100));
        let last = server.run_pod("last").unwrap();
        assert_eq!(watched.reported().await, format!("started {last}"));
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn an_end_that_is_reported_before_its_start_is_reported_after_it() {
    let server = server(Flavour::Containerd2_1);
    let sandbox = server.run_pod("p").unwrap();
    let mut watched = watch(&server).live().await;
    let container = server.create(&sandbox, "c").unwrap();
    server.on_event(|event| match event.container_event_type() {
        ContainerEventType::ContainerStartedEvent => Fate::Postpone,
        _ => Fate::Deliver,
    });
    server.start_and_exit(&container, 3).unwrap();
    assert_eq!(watched.reported_all(2).await, ["started c", "exited c 3"]);
    let last = server.run(&sandbox, "last").unwrap();
    server.report(ContainerEventType::ContainerCreatedEvent, &last).unwrap();
    assert_eq!(watched.reported().await, "started last", "and nothing else of the former");
    assert!(watched.next().now_or_never().is_none());
}
