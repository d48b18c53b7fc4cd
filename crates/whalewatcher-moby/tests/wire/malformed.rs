//! Malformed input about one container: all others are right, and stay so.

use std::time::Duration;

use whalewatcher_core::Settings;
use whalewatcher_moby::{Client, MAX_EVENT, MAX_ID, MAX_INSPECTION};
use whalewatcher_testkit::docker::{ContainerSpec, Fate, Kind, Server, Verdict};

use crate::watched::{Watched, in_time, watch_with_settings};

/// Control sequences of terminals, and U+FFFD, with which Go replaces invalid UTF-8.
const EVIL: &str = "\u{1b}[2J\r\n\0\u{202e}\u{fffd}\"\\";

/// Watches without audits and probes.
fn watch_only(server: &Server) -> Watched {
    let settings = Settings::default().with_audits(None).with_probes(None, Duration::from_secs(1));
    watch_with_settings(Client::new(server.endpoint()).unwrap(), settings)
}

/// Makes the server list one more entry, besides a container `web`.
fn list_also(server: &Server, odd: &str) {
    let web = server.run("web").unwrap();
    let body = format!(r#"[{odd},{{"Id":"{web}","Names":["/web"],"Labels":{{}},"State":"running"}}]"#);
    server.on(Kind::List, Verdict::Answer { status: 200, body: body.into() });
}

/// Makes the server answer inspections of the container `odd` with this.
fn inspect_as(server: &Server, answer: Vec<u8>) {
    let answer = bytes::Bytes::from(answer);
    server.on_request(move |request| match request.container() {
        Some("odd") => Verdict::Answer { status: 200, body: answer.clone() },
        _ => Verdict::Pass,
    });
}

/// Checks that events are still received, on the first connection.
async fn goes_on(watched: &mut Watched, server: &Server) {
    server.run("after").unwrap();
    in_time(watched.until_reported("started after")).await;
    let counters = watched.watching.status().counters;
    assert_eq!((counters.connects, counters.malformed), (1, 0), "{counters:?}");
}

#[tokio::test]
async fn a_container_with_a_malformed_listing_entry_is_inspected() {
    for odd in [
        r#"{"Id":"odd"}"#.to_owned(),
        r#"{"Id":"odd","State":null}"#.to_owned(),
        r#"{"Id":"odd","State":7,"Names":{}}"#.to_owned(),
        r#"{"Id":"odd","State":"running","Labels":[7]}"#.to_owned(),
        format!(r#"{{"Id":"odd","State":"running","Labels":{}7{}}}"#, "[".repeat(10_000), "]".repeat(10_000)),
    ] {
        let server = Server::builder().start().unwrap();
        list_also(&server, &odd);
        inspect_as(&server, br#"{"Id":"odd","Name":"/odd","State":{"Running":true,"Pid":7}}"#.into());
        let mut watched = in_time(watch_only(&server).live()).await;
        assert_eq!(watched.names(), ["odd", "web"], "{odd:.80}");
        goes_on(&mut watched, &server).await;
    }
}

#[tokio::test]
async fn a_container_with_an_invalid_id_is_skipped() {
    for id in ["", "a/b", "../../version", EVIL, &"f".repeat(MAX_ID + 1), &"f".repeat(500_000)] {
        let server = Server::builder().start().unwrap();
        let quoted = serde_json::to_string(id).unwrap();
        list_also(&server, &format!(r#"{{"Id":{quoted},"Names":["/odd"],"State":"running"}}"#));
        let mut watched = in_time(watch_only(&server).live()).await;
        let status = watched.watching.status();
        assert_eq!(
            (watched.names().as_slice(), status.unresolved.total()),
            (&["web".to_owned()][..], 0),
            "{id:.80}"
        );
        for action in ["start", "pause", "die"] {
            let event = format!(r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":{quoted}}}}}"#);
            server.emit_raw(event + "\n");
        }
        goes_on(&mut watched, &server).await;
        assert_eq!(watched.names(), ["after", "web"]);
        assert_eq!(server.stats().requests.inspect, 2, "it is not inspected: {id:.80}");
    }
}

/// Returns the PID of the container `odd` for this answer to its inspection, and how many containers are unresolved.
async fn inspected(answer: Vec<u8>) -> (Option<u32>, usize) {
    let server = Server::builder().start().unwrap();
    list_also(&server, r#"{"Id":"odd","Names":["/odd"],"State":"running"}"#);
    inspect_as(&server, answer);
    let mut watched = watch_only(&server).live().await;
    goes_on(&mut watched, &server).await;
    let known = watched.watching.portfolio().by_id("odd").map(|odd| odd.pid());
    assert_eq!(watched.names().iter().filter(|name| *name != "odd").collect::<Vec<_>>(), ["after", "web"]);
    let status = watched.watching.status();
    if !status.unresolved.is_empty() {
        // Only its inspection is repeated, neither the list nor the others.
        let asked = |stats: &whalewatcher_testkit::docker::Stats| stats.requests.inspect >= 8;
        let stats = in_time(server.until(asked)).await;
        assert_eq!((stats.requests.list, stats.requests.events), (1, 1));
    }
    (known, status.unresolved.total())
}

fn pid(pid: &str) -> Vec<u8> {
    format!(r#"{{"Id":"odd","Name":"/odd","State":{{"Running":true,"Pid":{pid}}}}}"#).into()
}

#[tokio::test]
async fn a_container_with_an_invalid_pid_is_unresolved() {
    assert_eq!(inspected(pid("1")).await, (Some(1), 0));
    assert_eq!(inspected(pid("4294967295")).await, (Some(u32::MAX), 0));
    assert_eq!(inspected(pid("0")).await, (None, 0), "not alive");
    for odd in ["-1", "4294967296", "9223372036854775808", "1.5", "1e3", "\"7\"", "null", "[]"] {
        assert_eq!(inspected(pid(odd)).await, (None, 1), "{odd}");
    }
}

#[tokio::test]
async fn a_container_with_a_malformed_inspection_is_unresolved() {
    for odd in [
        &b""[..],
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b"\xff\xfe",
        br#"{"Id":"odd"}"#,
        br#"{"Id":"odd","State":{"Running":true,"Pid":7},"Config":{"Labels":{"a":{}}}}"#,
        br#"{"Id":"odd","State":{"Running":true,"Running":true,"Pid":7}}"#,
        br#"{"Id":"\u001b[2J","State":{"Running":true,"Pid":7}}"#,
        b"{\"Id\":\"odd\",\"State\":{\"Runn\xffng\":true,\"Pid\":7}}",
        b"{\"Id\":\"odd\",\"State\":{\"Running\":true,\"Pid\":7}",
        &[&b"{\"Id\":\"odd\",\"State\":"[..], &b"[".repeat(1_000_000)].concat(),
    ] {
        assert_eq!(inspected(odd.into()).await, (None, 1), "{:.80}", String::from_utf8_lossy(odd));
    }
}

#[tokio::test]
async fn an_inspection_may_be_as_large_as_its_limit() {
    let mut answer = pid("7");
    answer.resize(MAX_INSPECTION, b' ');
    assert_eq!(inspected(answer.clone()).await, (Some(7), 0));
    answer.push(b' ');
    assert_eq!(inspected(answer).await, (None, 1));
}

#[tokio::test]
async fn a_container_keeps_its_state_when_its_inspections_become_malformed() {
    let server = Server::builder().start().unwrap();
    let web = server.run("web").unwrap();
    let mut watched = in_time(watch_only(&server).live()).await;
    let hook = server.on(Kind::Inspect, Verdict::Answer { status: 200, body: "{}".into() });
    server.rename(&web, "shop").unwrap();
    let mut status = watched.watching.follow_status();
    in_time(status.wait_for(|status| status.unresolved.total() == 1)).await.unwrap();
    assert_eq!(watched.names(), ["web"]);
    server.exit(&web, 3).unwrap();
    assert_eq!(watched.reported().await, "exited web 3");
    server.remove_hook(hook);
    let settled = in_time(status.wait_for(|status| status.unresolved.is_empty())).await.unwrap();
    assert!(settled.is_live() && settled.counters.connects == 1, "{settled:?}");
}

#[tokio::test]
async fn labels_of_any_number_and_size_are_kept() {
    let server = Server::builder().start().unwrap();
    let huge = "x".repeat(10_000_000);
    let many = (0..100_000).map(|number| (format!("label-{number}"), "v".to_owned()));
    server.run(ContainerSpec::new("huge").label("huge", &huge)).unwrap();
    server.run(ContainerSpec::new("many").labels(many)).unwrap();
    server.run(ContainerSpec::new(EVIL).label(EVIL, EVIL)).unwrap();
    let mut watched = watch_only(&server).live().await;
    for round in ["listed", "started"] {
        assert_eq!(watched.container("huge").labels().get("huge"), Some(huge.as_str()), "{round}");
        assert_eq!(watched.container("many").labels().len(), 100_000, "{round}");
        assert_eq!(watched.container(EVIL).labels().get(EVIL), Some(EVIL), "{round}");
        if round == "listed" {
            for name in ["huge", "many", EVIL] {
                server.restart(name).unwrap();
                watched.until_reported(&format!("started {name}")).await;
            }
        }
    }
    goes_on(&mut watched, &server).await;
}

#[tokio::test]
async fn a_container_with_events_that_are_too_large_is_inspected() {
    let server = Server::builder().start().unwrap();
    let mut watched = in_time(watch_only(&server).live()).await;
    let monster = server.run(ContainerSpec::new("monster").label("huge", "x".repeat(MAX_EVENT))).unwrap();
    assert_eq!(watched.reported().await, "started monster");
    server.pause(&monster).unwrap();
    assert_eq!(watched.reported().await, "paused monster");
    server.restart(&monster).unwrap();
    watched.until_reported("started monster").await;
    assert_eq!(watched.container("monster").pid(), server.truth()[0].pid);
    server.exit(&monster, 1).unwrap();
    watched.until_reported("exited monster").await;
    goes_on(&mut watched, &server).await;
}

#[tokio::test]
async fn a_container_with_a_malformed_event_is_inspected() {
    let server = Server::builder().start().unwrap();
    let web = server.run("web").unwrap();
    let mut watched = in_time(watch_only(&server).live()).await;
    server.on_event(|_| Fate::Vanish);
    let odd = |action: &str, rest: &str| {
        let event = format!(r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"{web}",{rest}"#);
        server.emit_raw(event + "\n");
    };
    server.pause(&web).unwrap();
    odd("pause", r#""Attributes":{"tier":7}}}"#);
    assert_eq!(watched.reported().await, "paused web");
    server.unpause(&web).unwrap();
    odd("unpause", r#""Attributes":{}},"timeNano":1e999}"#);
    assert_eq!(watched.reported().await, "unpaused web");
    server.exit(&web, 0).unwrap();
    odd("die", "\"Attributes\":{\"na");
    assert_eq!(watched.reported().await, "exited web");
    server.start(&web).unwrap();
    odd("start", r#""Attributes":[]}}"#);
    assert_eq!(watched.reported().await, "started web");
    let status = watched.watching.status();
    assert!(status.is_live() && status.counters.connects == 1, "{status:?}");
}

#[tokio::test]
async fn times_far_off_hide_neither_a_container_nor_its_later_events() {
    let server = Server::builder().start().unwrap();
    list_also(
        &server,
        r#"{"Id":"odd","Names":["/odd"],"State":"running","Status":"Up 99999999999999999 years"}"#,
    );
    let answer = r#"{"Id":"odd","State":{"Running":true,"Pid":7,"StartedAt":"9999-12-30T00:00:00Z"}}"#;
    inspect_as(&server, answer.into());
    let mut watched = in_time(watch_only(&server).live()).await;
    assert_eq!(watched.container("odd").started_at(), None);
    for time in ["9223372036854775807", "-9223372036854775808", "4102444800000000000", "1", "0"] {
        let event = |action: &str| {
            let id = server.truth()[0].id.clone();
            format!(r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"{id}"}},"timeNano":{time}}}"#)
        };
        for action in ["pause", "die", "start"] {
            server.emit_raw(event(action) + "\n");
        }
    }
    server.pause("web").unwrap();
    watched.until_reported("paused web").await;
    server.exit("web", 5).unwrap();
    watched.until_reported("exited web 5").await;
    goes_on(&mut watched, &server).await;
}

#[tokio::test]
async fn a_malformed_line_causes_a_resync_at_once() {
    let server = Server::builder().start().unwrap();
    let goes = server.run("goes").unwrap();
    let mut watched = in_time(watch_only(&server).live()).await;
    server.on_event(|_| Fate::Vanish);
    server.exit(&goes, 0).unwrap();
    server.run("comes").unwrap();
    server.emit_raw("<html>\n");
    let reported = watched.until_reported("synced").await;
    assert!(
        reported[0].starts_with("disconnected GET /events: the answer cannot be understood"),
        "{reported:?}"
    );
    let mut changes = reported[1..].to_vec();
    changes.sort();
    assert_eq!(changes, ["exited goes 0", "started comes", "synced 1"]);
    let counters = watched.watching.status().counters;
    assert_eq!((counters.connects, counters.malformed, counters.audits), (2, 1, 0));
}

#[tokio::test]
async fn a_malformed_line_that_is_replayed_ends_one_connection() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let replaying = server.clone();
    let replay = tokio::spawn(async move {
        for connection in 1.. {
            replaying.until(|stats| stats.registered >= connection).await;
            replaying.emit_raw("{\"Type\":\"container\",\n<html>\n");
        }
    });
    let mut watched = watch_only(&server);
    let mut status = watched.watching.follow_status();
    // Two different lines, a connection each.
    let live = |status: &whalewatcher_core::Status| status.is_live() && status.counters.malformed == 2;
    in_time(status.wait_for(live)).await.unwrap();
    server.run("after").unwrap();
    in_time(watched.until_reported("started after")).await;
    let counters = watched.watching.status().counters;
    assert_eq!((counters.connects, counters.malformed), (3, 2), "{counters:?}");
    replay.abort();
}
