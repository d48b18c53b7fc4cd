//! The subscription, which nothing proves, and events that are replayed to late subscribers.

use futures_util::FutureExt;
use tokio::time::Duration;
use whalewatcher_core::Settings;
use whalewatcher_testkit::cri::{ContainerEventType, ContainerSpec, Fate, Flavour, Method};

use crate::watched::{assert_true, client, in_time, lists, server, statuses, watch, watch_with_settings};

const REPORTING: [Flavour; 2] = [Flavour::Containerd2_1, Flavour::CrioWithEvents];

#[tokio::test]
async fn the_first_event_causes_a_second_list() {
    for flavour in REPORTING {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let there = server.run(&pod, "there").unwrap();
        // Another client has read the events that would be replayed.
        server.on_event(|_| Fate::Vanish);
        let gate = server.hold_subscriptions();
        let mut watched = watch(&server).live().await;
        server.run(&pod, "missed").unwrap();
        gate.open();
        in_time(server.until_subscriptions(1)).await;
        server.on_event(|_| Fate::Deliver);
        drop(server.exit(&there, 0));
        let mut reported = watched.reported_all(2).await;
        reported.sort();
        assert!(reported[0].starts_with("exited there") && reported[1] == "started missed", "{reported:?}");
        assert_true(&watched, &server);
        assert_eq!(watched.watching.status().counters.lists, 2);
    }
}

#[tokio::test]
async fn silence_causes_a_second_list() {
    let server = server(Flavour::Containerd2_1);
    let pod = server.run_pod("p").unwrap();
    let gate = server.hold_subscriptions();
    let mut watched = watch(&server).live().await;
    server.on_event(|_| Fate::Vanish);
    server.run(&pod, "missed").unwrap();
    gate.open();
    assert_eq!(watched.reported().await, "started missed");
    let counters = watched.watching.status().counters;
    assert_eq!((counters.lists, counters.connects), (2, 1));
}

#[tokio::test]
async fn a_quiet_runtime_is_live_after_a_moment_and_listed_once_more() {
    let server = server(Flavour::Containerd2_1);
    let pod = server.run_pod("p").unwrap();
    server.run(&pod, "web").unwrap();
    // The kept events are read.
    let first = watch(&server).live().await;
    drop(first);
    in_time(server.until(|stats| stats.open == 0)).await;
    let before = server.stats();
    let settings = Settings::default().with_audits(None).with_probes(None, Duration::from_secs(1));
    let watched = watch_with_settings(client(&server), settings).live().await;
    in_time(server.until(|stats| lists(stats) == (lists(&before).0 + 2, lists(&before).1 + 2))).await;
    let after = server.stats();
    assert_eq!(statuses(&after), (statuses(&before).0 + 1, statuses(&before).1 + 1));
    assert_true(&watched, &server);
}

#[tokio::test]
async fn replayed_events_change_nothing() {
    for flavour in REPORTING {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        for nth in 0..30 {
            let short = server.run(&pod, ContainerSpec::new(format!("short{nth}"))).unwrap();
            server.exit(&short, 1).unwrap();
            if nth % 2 == 0 {
                server.remove(&short).unwrap();
            }
        }
        let gone = server.run_pod("gone").unwrap();
        server.remove(&gone).unwrap();
        server.run(&pod, "web").unwrap();
        let settings = Settings::default().with_audits(None);
        let mut watched = watch_with_settings(client(&server), settings);
        let mut reported = watched.reported_all(3).await;
        reported.sort();
        assert_eq!(
            reported,
            [format!("started {pod}"), "started web".into(), "synced 2".into()],
            "{flavour:?}"
        );
        assert_eq!(statuses(&server.stats()), (1, 1), "what is over is not inspected");
        server.run(&pod, "last").unwrap();
        assert_eq!(watched.reported().await, "started last");
        assert!(watched.next().now_or_never().is_none());
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn what_changes_while_the_list_is_on_its_way_is_reported() {
    for flavour in REPORTING {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let goes = server.run(&pod, "goes").unwrap();
        let gate = server.hold_answers(Method::ListContainers, None);
        let mut watched = watch(&server);
        in_time(gate.until_waiting(1)).await;
        server.exit(&goes, 0).unwrap();
        server.run(&pod, "comes").unwrap();
        gate.open();
        watched.until_reported("synced").await;
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn a_start_that_was_listed_too_is_reported_once() {
    let server = server(Flavour::Containerd2_1);
    let pod = server.run_pod("p").unwrap();
    let mut watched = watch(&server).live().await;
    let gate = server.stall_streams();
    let web = server.run(&pod, "web").unwrap();
    server.disconnect_all();
    let reported = watched.until_reported("synced").await;
    assert!(reported.contains(&"started web".to_owned()), "{reported:?}");
    gate.open();
    server.report(ContainerEventType::ContainerStartedEvent, &web).unwrap();
    server.exit(&web, 0).unwrap();
    assert_eq!(watched.reported().await, "exited web 0");
}
