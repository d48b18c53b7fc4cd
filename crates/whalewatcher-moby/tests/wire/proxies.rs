//! Engines behind a proxy that lets only some requests through or changes answers, and engines that behave
//! like that; another engine at the same path; clocks.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join, join_all};
use jiff::SignedDuration;
use tokio::time::{sleep, timeout};
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_core::{ChangeSource, ErrorKind, Settings, Status};
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::{Clock, Fate, Gate, HookId, Kind, Server, Verdict};

use crate::watched::{Watched, in_time, watch, watch_with_settings};

fn client(server: &Server) -> Client {
    Client::new(server.endpoint()).unwrap()
}

fn probed() -> Settings {
    Settings::default().with_audits(None).with_probes(Duration::from_millis(50), Duration::from_secs(60))
}

/// Neither audits nor probes.
fn unprobed() -> Settings {
    Settings::default().with_audits(None).with_probes(None, Duration::from_secs(60))
}

/// Makes the server answer these requests, except for replays, like this.
fn answer(server: &Server, kind: Kind, verdict: Verdict) -> HookId {
    server.on_request(move |request| {
        let is_meant = request.kind() == kind && request.query("until").is_none();
        if is_meant { verdict.clone() } else { Verdict::Pass }
    })
}

fn document(body: &'static str) -> Verdict {
    Verdict::Answer { status: 200, body: body.into() }
}

/// An answer of a proxy itself, without the engine's headers.
fn refusal(status: &str) -> Verdict {
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    Verdict::Garbage(Bytes::from(text))
}

#[tokio::test]
async fn an_engine_without_info_is_watched() {
    for verdict in [
        Verdict::error(403, "not for you"),
        refusal("404 Not Found"),
        document("{}"),
        document(r#"{"SystemTime":"noon"}"#),
        document("<html>"),
        Verdict::Hang,
    ] {
        let server = Server::builder().version("27.3.1").start().unwrap();
        let old = server.run("old").unwrap();
        answer(&server, Kind::Info, verdict.clone());
        let mut watched = watch(&server).live().await;
        let identity = watched.watching.identity().unwrap();
        assert_eq!((identity.id.as_str(), identity.version.as_str()), ("", "27.3.1"), "{verdict:?}");
        server.exit(&old, 3).unwrap();
        server.run("new").unwrap();
        assert_eq!(watched.reported_all(2).await, ["exited old 3", "started new"], "{verdict:?}");
        assert_eq!(watched.watching.status().counters.connects, 1);
    }
}

#[tokio::test]
async fn a_hanging_info_does_not_exceed_the_connect_limit() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    answer(&server, Kind::Info, Verdict::Hang);
    let limits = [500, 60_000, 60_000].map(Duration::from_millis);
    let settings = unprobed().with_limits(limits[0], limits[1], limits[2]);
    let watched = watch_with_settings(client(&server), settings).live().await;
    assert_eq!(watched.names(), ["web"]);
}

/// Time is paused, and passes only while all wait.
#[tokio::test(start_paused = true)]
async fn a_slow_engine_without_info_and_version_is_connected_to_within_the_limit() {
    let limit = Settings::default().connect_limit();
    for newest in ["1.45", "1.60"] {
        let server = Server::builder().api_versions(newest, "1.24").start().unwrap();
        let gate = Gate::closed();
        answer(&server, Kind::Ping, Verdict::Hold(gate.clone()));
        answer(&server, Kind::Info, Verdict::Hang);
        answer(&server, Kind::Version, Verdict::Hang);
        let (client, settings) = (client(&server), Settings::default());
        let connecting = timeout(limit, client.connect(&settings));
        let pinging = async {
            sleep(limit / 5 * 4).await;
            gate.open();
        };
        let (connection, ()) = join(connecting, pinging).await;
        let identity = connection.expect("connected within the limit").unwrap().identity();
        assert_eq!((identity.id.as_str(), identity.version.as_str()), ("", ""), "{newest}");
    }
}

#[tokio::test]
async fn without_the_engines_clock_earlier_lives_are_not_announced() {
    let clock = Clock::real();
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    for name in ["brief", "web"] {
        server.run(name).unwrap();
        server.exit(name, 7).unwrap();
    }
    server.start("web").unwrap();
    clock.advance(Duration::from_secs(10));
    answer(&server, Kind::Info, Verdict::error(403, "not for you"));
    let mut watched = watch(&server);
    assert_eq!(watched.until_reported("synced").await, ["started web", "synced 1"]);
    server.disconnect_all();
    let reported = watched.until_reported("synced").await;
    assert!(reported[0].starts_with("disconnected ") && reported[1..] == ["synced 1"], "{reported:?}");
    server.exit("web", 3).unwrap();
    assert_eq!(watched.reported().await, "exited web 3");
}

#[tokio::test]
async fn starts_that_look_older_than_the_connection_are_not_missed() {
    let clock = Clock::real();
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    answer(&server, Kind::Info, Verdict::error(403, "not for you"));
    // Answers are dated by a clock that is ahead of the engine's by ten seconds.
    let (behind, is_set) = (clock.clone(), AtomicBool::new(false));
    server.on_request(move |request| {
        if request.kind() == Kind::Events && !is_set.swap(true, Ordering::Relaxed) {
            behind.set(behind.now() - SignedDuration::from_secs(10));
        }
        Verdict::Pass
    });
    let mut watched = watch_with_settings(client(&server), unprobed()).live().await;
    for name in ["one", "two"] {
        server.run(name).unwrap();
        assert_eq!(watched.reported().await, format!("started {name}"));
    }
}

#[tokio::test]
async fn any_answer_can_provide_the_api_version() {
    for verdict in [Verdict::error(403, "not for you"), refusal("403 Forbidden"), refusal("200 OK")] {
        let server = Server::builder().api_versions("1.45", "1.24").start().unwrap();
        answer(&server, Kind::Ping, verdict.clone());
        let connection = in_time(client(&server).connect(&Settings::default())).await.unwrap();
        assert_eq!(connection.api_version(), "1.45", "{verdict:?}");
    }
    let server = Server::builder().api_versions("1.60", "1.24").start().unwrap();
    answer(&server, Kind::Version, refusal("403 Forbidden"));
    let connection = in_time(client(&server).connect(&Settings::default())).await.unwrap();
    assert_eq!(connection.api_version(), "1.52");
    answer(&server, Kind::Ping, refusal("403 Forbidden"));
    let error = in_time(client(&server).connect(&Settings::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
}

async fn until(watched: &Watched, wanted: impl FnMut(&Status) -> bool) -> Status {
    in_time(watched.watching.follow_status().wait_for(wanted)).await.unwrap()
}

fn polls(status: &Status) -> bool {
    matches!(status.source, Some(ChangeSource::Polling { .. })) && status.fallback.is_some()
}

fn follows(status: &Status) -> bool {
    status.source == Some(ChangeSource::Events) && status.fallback.is_none() && status.is_live()
}

#[tokio::test]
async fn without_an_event_stream_changes_are_polled_for() {
    let cases = [
        (Verdict::error(403, "not for you"), ErrorKind::PermissionDenied, 1),
        (refusal("404 Not Found"), ErrorKind::Failed, 1),
        (document(""), ErrorKind::Disconnected, 1),
        (Verdict::Close, ErrorKind::Disconnected, 3),
        (Verdict::error(503, "not now"), ErrorKind::Failed, 3),
    ];
    join_all(cases.map(async |(verdict, kind, connects)| {
        let server = Server::builder().start().unwrap();
        for name in ["goes", "renamed", "restarts"] {
            server.run(name).unwrap();
        }
        let hook = answer(&server, Kind::Events, verdict.clone());
        let mut watched = watch_with_settings(client(&server), probed()).live().await;
        let status = until(&watched, polls).await;
        assert_eq!(status.fallback.as_ref().unwrap().kind(), kind, "{status}");
        assert!(status.to_string().contains("by polling every 1 s because"), "{status}");
        server.exit("goes", 3).unwrap();
        server.rename("renamed", "other").unwrap();
        server.restart("restarts").unwrap();
        server.run("comes").unwrap();
        let mut reported = watched.reported_all(5).await;
        reported.sort();
        let expected =
            ["exited goes", "exited restarts", "started comes", "started restarts", "updated other"];
        assert_eq!(reported, expected, "{verdict:?}");

        server.remove_hook(hook);
        let status = until(&watched, follows).await;
        server.exit("comes", 5).unwrap();
        assert_eq!(watched.reported().await, "exited comes 5", "{verdict:?}");
        assert_eq!(status.counters.connects, connects, "{verdict:?}");
    }))
    .await;
}

#[tokio::test]
async fn attempts_to_get_the_event_stream_do_not_abandon_a_poll() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    answer(&server, Kind::Events, Verdict::error(403, "not for you"));
    let mut watched = watch_with_settings(client(&server), unprobed()).live().await;
    until(&watched, polls).await;
    let gate = Gate::closed();
    answer(&server, Kind::List, Verdict::Hold(gate.clone()));
    in_time(server.arrival(|request| request.kind() == Kind::List)).await;
    let requests = server.stats().requests;
    server.until(|stats| stats.requests.events >= requests.events + 3).await;
    assert_eq!(server.stats().requests.list, requests.list, "the list is still in flight");
    server.run("later").unwrap();
    gate.open();
    assert_eq!(watched.reported().await, "started later");
}

#[tokio::test]
async fn an_event_stream_that_ends_early_is_replaced_by_polling() {
    let server = Server::builder().start().unwrap();
    let web = server.run("web").unwrap();
    let mut watched = watch_with_settings(client(&server), probed()).live().await;
    server.until_listeners(1).await;
    let hook = answer(&server, Kind::Events, document(""));
    server.end_events();
    server.exit(&web, 0).unwrap();
    assert_eq!(watched.reported().await, "exited web");
    let status = until(&watched, polls).await;
    assert_eq!(status.counters.connects, 1, "{status}");
    server.remove_hook(hook);
    until(&watched, follows).await;
    server.run("later").unwrap();
    assert_eq!(watched.reported().await, "started later");
}

#[tokio::test]
async fn a_quiet_engine_is_live_before_its_headers_come() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let gate = server.hold_answers(Kind::Events);
    let mut watched = watch_with_settings(client(&server), unprobed()).live().await;
    assert_eq!(watched.names(), ["web"]);
    server.exit("web", 3).unwrap();
    gate.open();
    assert!(watched.reported().await.starts_with("exited web"));
    server.run("later").unwrap();
    assert_eq!(watched.reported().await, "started later");
    let counters = watched.watching.status().counters;
    assert_eq!((counters.connects, counters.audits), (1, 1), "another list found what may have been missed");
}

#[tokio::test]
async fn an_endless_replay_is_abandoned() {
    let server = Server::builder().endless_replays(true).start().unwrap();
    server.run("web").unwrap();
    let settings = probed().with_audits(Duration::from_millis(200));
    let mut watched = watch_with_settings(client(&server), settings).live().await;
    server.run("other").unwrap();
    assert_eq!(watched.reported().await, "started other");
    // Each probe or audit requests a replay, and ends: otherwise none would follow.
    server.until(|stats| stats.requests.events >= 8).await;
    let status = watched.watching.status();
    assert!(status.is_live() && status.counters.connects == 1 && status.counters.audits > 1, "{status:?}");
    server.on_event(|_| Fate::Skip);
    server.exit("web", 0).unwrap();
    let reported = watched.until_reported("exited web").await;
    assert!(reported.len() <= 2, "by an audit or by another connection: {reported:?}");
}

#[tokio::test]
async fn another_engine_at_the_path_is_detected() {
    for settings in [probed(), unprobed()] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let former = Server::builder().socket(&socket).id("former").start().unwrap();
        former.run("old").unwrap();
        let is_probed = settings.probe_every().is_some();
        let client = Client::new(socket.to_str().unwrap()).unwrap();
        let mut watched = watch_with_settings(client, settings).live().await;
        fs::remove_file(&socket).unwrap();
        let latter = Server::builder().socket(&socket).id("latter").start().unwrap();
        latter.run("new").unwrap();
        if !is_probed {
            // The next request detects it, and no answer of either engine is used from then on.
            former.run("unseen").unwrap();
        }
        let reported = watched.until_reported("synced").await;
        assert!(reported[0].starts_with("disconnected another socket was bound at "), "{reported:?}");
        let mut changes = reported[1..].to_vec();
        changes.sort();
        assert_eq!(changes, ["exited old", "started new", "synced 1"]);
        assert_eq!(watched.watching.identity().unwrap().id, "latter");
        // Its socket was removed already.
        drop(former);
    }
}

#[tokio::test]
async fn a_clock_set_back_ends_no_life() {
    let clock = Clock::real();
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    let web = server.run("web").unwrap();
    server.exit(&web, 0).unwrap();
    clock.set(clock.now() - SignedDuration::from_mins(30));
    server.start(&web).unwrap();
    let settings = unprobed().with_audits(Duration::from_millis(50));
    let mut watched = watch_with_settings(client(&server), settings).live().await;
    let before = watched.container("web");
    for _ in 0..2 {
        server.disconnect_all();
        let reported = watched.until_reported("synced").await;
        assert!(reported[0].starts_with("disconnected ") && reported[1..] == ["synced 1"], "{reported:?}");
    }
    let audits = watched.watching.status().counters.audits;
    until(&watched, |status| status.counters.audits >= audits).await;
    assert_eq!(watched.container("web").life(), before.life());
    // A clock that is set forward while events come changes nothing.
    clock.advance(Duration::from_secs(7200));
    server.exit(&web, 9).unwrap();
    assert_eq!(watched.reported().await, "exited web 9");
}

#[tokio::test]
async fn a_clock_that_cannot_be_read_delays_one_event_only() {
    let server = Server::builder().start().unwrap();
    let names = ["a", "b", "c"];
    for name in names {
        server.run(name).unwrap();
    }
    let mut watched = watch_with_settings(client(&server), unprobed()).live().await;
    server.until_listeners(1).await;
    answer(&server, Kind::Ping, Verdict::Hang);
    let asked = server.stats().requests.ping;
    server.clock().advance(Duration::from_secs(7200));
    for name in names {
        server.exit(name, 9).unwrap();
    }
    let reported = watched.reported_all(3).await;
    assert!(reported.iter().all(|reported| reported.starts_with("exited ")), "{reported:?}");
    assert_eq!(server.stats().requests.ping - asked, 1);
}

#[tokio::test]
async fn only_the_engine_reports_that_a_container_is_gone() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let other = r#"{"Id":"other","Name":"/web","State":{"Running":true,"Pid":7}}"#;
    let mut watched = watch_with_settings(client(&server), unprobed()).live().await;
    for verdict in [refusal("404 Not Found"), Verdict::error(404, "page not found"), document(other)] {
        let hook = answer(&server, Kind::Inspect, verdict);
        server.rename("web", "shop").unwrap();
        until(&watched, |status| status.unresolved.total() == 1).await;
        assert_eq!(watched.names(), ["web"]);
        server.remove_hook(hook);
        assert_eq!(watched.reported().await, "updated shop");
        server.rename("shop", "web").unwrap();
        assert_eq!(watched.reported().await, "updated web");
    }
}
