//! Lost events, and streams that are stalled.

use std::time::Duration;

use whalewatcher_core::Settings;
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::{Fate, Server, Verdict};

use crate::watched::watch_with_settings;

fn audited() -> Settings {
    Settings::default().with_audits(Duration::from_millis(50)).with_probes(None, Duration::from_secs(60))
}

fn probed(limit: Duration) -> Settings {
    Settings::default().with_audits(None).with_probes(Duration::from_millis(50), limit)
}

fn client(server: &Server) -> Client {
    Client::new(server.endpoint()).unwrap()
}

#[tokio::test]
async fn an_audit_without_drift_takes_a_list_and_a_replay() {
    let server = Server::builder().start().unwrap();
    for nth in 0..20 {
        server.run(format!("c{nth}")).unwrap();
    }
    server.pause("c3").unwrap();
    let watched = watch_with_settings(client(&server), audited()).live().await;
    let stats = server.until(|stats| stats.requests.list >= 8).await;
    assert_eq!(stats.requests.inspect, 20);
    assert!(stats.requests.events <= 1 + stats.requests.list, "{stats:?}");
    let counters = watched.watching.status().counters;
    assert!(counters.audits >= 6 && counters.drifted == 0, "{counters:?}");
}

#[tokio::test]
async fn an_audit_repairs_what_lost_events_changed() {
    let server = Server::builder().start().unwrap();
    for name in ["exits", "paused", "renamed"] {
        server.run(name).unwrap();
    }
    let mut watched = watch_with_settings(client(&server), audited()).live().await;
    server.on_event(|_| Fate::Vanish);
    server.exit("exits", 3).unwrap();
    server.pause("paused").unwrap();
    server.rename("renamed", "other").unwrap();
    server.run("starts").unwrap();
    let mut reported = watched.reported_all(4).await;
    reported.sort();
    assert_eq!(reported, ["exited exits", "paused paused", "started starts", "updated other"]);
    let counters = watched.watching.status().counters;
    assert_eq!((counters.drifted, counters.connects), (4, 1));
}

#[tokio::test]
async fn an_unreported_restart_is_detected_by_the_status_in_the_list() {
    let clock = whalewatcher_testkit::docker::Clock::real();
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    server.run("web").unwrap();
    clock.advance(Duration::from_secs(3600));
    let mut watched = watch_with_settings(client(&server), audited()).live().await;
    server.on_event(|_| Fate::Vanish);
    server.restart("web").unwrap();
    assert_eq!(watched.reported_all(2).await, ["exited web", "started web"]);
    let truth = server.truth();
    assert_eq!(watched.watching.portfolio().by_name("web").unwrap().pid(), truth[0].pid);
}

#[tokio::test]
async fn an_unreported_restart_of_a_young_container_is_detected_by_a_replay() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let mut watched = watch_with_settings(client(&server), audited()).live().await;
    let web = server.truth()[0].id.clone();
    server.on_event(move |event| if event.actor == web { Fate::Skip } else { Fate::Deliver });
    server.restart("web").unwrap();
    server.run("later").unwrap();
    let mut reported = watched.reported_all(3).await;
    reported.retain(|reported| reported != "started later");
    assert_eq!(reported, ["exited web", "started web"]);
    let status = watched.watching.status();
    assert_eq!((status.counters.drifted, status.counters.connects), (1, 1));
    let web = server.truth().into_iter().find(|alive| alive.name == "web").unwrap();
    assert_eq!(watched.container("web").pid(), web.pid);
}

#[tokio::test]
async fn an_engine_without_replays_is_audited() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let mut watched = watch_with_settings(client(&server), audited()).live().await;
    server.on_request(|request| match request.query("until") {
        Some(_) => Verdict::error(500, "no"),
        None => Verdict::Pass,
    });
    server.on_event(|_| Fate::Vanish);
    server.exit("web", 3).unwrap();
    assert_eq!(watched.reported().await, "exited web");
    assert_eq!(watched.watching.status().counters.connects, 1);
}

#[tokio::test]
async fn a_stalled_stream_is_replaced() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let mut watched = watch_with_settings(client(&server), probed(Duration::from_secs(1))).live().await;
    server.on_event(|_| Fate::Skip);
    server.exit("web", 0).unwrap();
    let reported = watched.reported_all(3).await;
    assert!(reported[0].starts_with("disconnected"), "{reported:?}");
    assert_eq!(reported[1..], ["exited web 0", "synced 0"]);
}

#[tokio::test]
async fn an_engine_that_hangs_is_disconnected() {
    let server = Server::builder().start().unwrap();
    let mut watched = watch_with_settings(client(&server), probed(Duration::from_secs(1))).live().await;
    let hook = server.on_request(|_| Verdict::Hang);
    assert!(watched.reported().await.starts_with("disconnected"));
    server.remove_hook(hook);
    assert_eq!(watched.reported().await, "synced 0");
}

#[tokio::test]
async fn an_engine_that_answers_pings_only_is_not_dead() {
    let server = Server::builder().start().unwrap();
    let watched = watch_with_settings(client(&server), probed(Duration::from_secs(60))).live().await;
    server.until(|stats| stats.requests.events >= 3).await;
    server.on_request(|request| if request.query("until").is_some() { Verdict::Hang } else { Verdict::Pass });
    server.until(|stats| stats.requests.ping >= 4).await;
    assert_eq!(watched.watching.status().counters.connects, 1);
}

/// The end of a request for past events is estimated; with the clock set back, the answer would not come to it.
#[tokio::test]
async fn a_clock_that_is_set_back_between_two_probes_ends_no_connection() {
    let clock = whalewatcher_testkit::docker::Clock::real();
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    let mut watched = watch_with_settings(client(&server), probed(Duration::from_secs(1))).live().await;
    server.run("web").unwrap();
    assert_eq!(watched.reported().await, "started web");
    clock.advance(Duration::from_secs(10));
    let probes = server.stats().requests.events + 3;
    server.until(|stats| stats.requests.events >= probes).await;
    clock.set(clock.now() - jiff::SignedDuration::from_secs(5));
    let (pings, probes) = (server.stats().requests.ping, server.stats().requests.events + 5);
    server.until(|stats| stats.requests.ping > pings && stats.requests.events >= probes).await;
    assert_eq!(watched.watching.status().counters.connects, 1);
    server.on_event(|_| Fate::Skip);
    clock.advance(Duration::from_secs(10));
    server.exit("web", 0).unwrap();
    let reported = watched.reported_all(3).await;
    assert!(reported[0].starts_with("disconnected"), "{reported:?}");
    assert_eq!(reported[1..], ["exited web 0", "synced 0"]);
}

#[tokio::test]
async fn silence_without_newer_events_is_no_stall() {
    let server = Server::builder().start().unwrap();
    let mut watched = watch_with_settings(client(&server), probed(Duration::from_secs(60))).live().await;
    server.run("web").unwrap();
    assert_eq!(watched.reported().await, "started web");
    server.rename("web", "other").unwrap();
    server.exec("other").unwrap();
    assert_eq!(watched.reported().await, "updated other");
    // Past the second of the newest event, so that the probes request it.
    let before = server.until(|stats| stats.requests.events >= 5).await.requests;
    let after = server.until(|stats| stats.requests.events >= 40).await.requests;
    assert!(after.ping - before.ping <= 5, "a probe is one request: {before:?} {after:?}");
    let status = watched.watching.status();
    assert!(status.is_live() && status.counters.connects == 1, "{status:?}");
}
