//! The event stream: no gap at its beginning, and its events.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::SignedDuration;
use whalewatcher_core::adapter::{EngineClient, EngineConnection, EngineEvent};
use whalewatcher_core::{ErrorKind, Settings};
use whalewatcher_moby::{Client, MAX_EVENT};
use whalewatcher_testkit::docker::{Clock, Kind, Server, Verdict};

use crate::watched::{in_time, watch};

#[tokio::test]
async fn events_between_headers_and_registration_are_not_lost() {
    for ahead in [0, 3600, -3600] {
        let clock = Clock::shifted(SignedDuration::from_secs(ahead));
        let server = Server::builder().clock(clock).start().unwrap();
        let (old, paused) = (server.run("old").unwrap(), server.run("paused").unwrap());
        let registration = server.hold_registrations();
        let list = server.hold_answers(Kind::List);
        let mut watched = watch(&server);
        // The list is requested, so the headers have come; the list contains the state before the changes.
        in_time(list.until_waiting(1)).await;
        in_time(registration.until_waiting(1)).await;
        server.exit(&old, 3).unwrap();
        server.pause(&paused).unwrap();
        server.run("new").unwrap();
        list.open();
        registration.open();
        in_time(watched.watching.ready()).await.unwrap();
        let reported = watched.until_reported("started new").await;
        assert!(
            reported.iter().all(|event| !event.starts_with("disconnected")),
            "by this connection: {reported:?}"
        );
        assert_eq!(watched.names(), ["new", "paused"], "with a clock {ahead} s ahead");
        assert!(watched.container("paused").paused());
    }
}

#[tokio::test]
async fn an_unknown_kind_of_event_does_not_end_the_stream() {
    let server = Server::builder().start().unwrap();
    let mut watched = watch(&server).live().await;
    for line in [
        r#"{"Type":"alien","Action":"abduct","Actor":{"ID":"x","Attributes":{"name":"x"}}}"#,
        r#"{"Type":"container","Action":"teleport","Actor":{"ID":"x","Attributes":null}}"#,
        r#"{"Type":"container","Action":"start"}"#,
        r#"{"Type":"network","Action":"start","Actor":{"ID":"x","Attributes":{"name":"x"}}}"#,
        r#"{"something":"else"}"#,
        "",
        "\r",
    ] {
        server.emit_raw(format!("{line}\n"));
    }
    server.run("after").unwrap();
    assert_eq!(watched.reported().await, "started after");
    assert_eq!(server.stats().requests.events, 1);
}

#[tokio::test]
async fn a_line_that_is_no_event_causes_a_reconnect() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let mut watched = watch(&server).live().await;
    server.emit_raw("<html>\u{1b}[2J\n");
    let reported = watched.reported().await;
    assert!(reported.starts_with("disconnected GET /events: the answer cannot be understood"), "{reported}");
    assert_eq!(watched.reported().await, "synced 1");
}

#[tokio::test]
async fn an_endless_event_is_an_error() {
    let server = Server::builder().start().unwrap();
    let connection = Client::new(server.endpoint()).unwrap().connect(&Settings::default()).await.unwrap();
    let mut events = pin!(connection.events());
    assert_eq!(in_time(events.next()).await.unwrap().unwrap(), EngineEvent::Subscribed);
    in_time(server.until_listeners(1)).await;
    server.emit_raw(vec![b'x'; MAX_EVENT + 1]);
    let error = in_time(events.next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(in_time(events.next()).await.is_none());
}

#[tokio::test]
async fn a_refused_subscription_is_an_error() {
    let server = Server::builder().start().unwrap();
    server.on(Kind::Events, Verdict::error(500, "no events today"));
    let connection = Client::new(server.endpoint()).unwrap().connect(&Settings::default()).await.unwrap();
    let mut events = pin!(connection.events());
    let error = in_time(events.next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.to_string(), "the engine fails GET /events with status 500: no events today");
}

#[tokio::test]
async fn a_stream_that_is_cut_causes_a_reconnect() {
    let server = Server::builder().start().unwrap();
    let mut watched = watch(&server).live().await;
    server.disconnect_all();
    let reported = watched.reported().await;
    assert!(reported.starts_with("disconnected "), "{reported}");
    assert_eq!(watched.reported().await, "synced 0");
}

#[tokio::test]
async fn exit_code_and_times_are_the_engines() {
    let clock = Clock::stepped("2001-02-03T04:05:06.000000007Z".parse().unwrap());
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    let mut watched = watch(&server).live().await;
    let web = server.run("web").unwrap();
    let started = watched.next().await;
    let started_at = started.container().unwrap().started_at().unwrap();
    assert_eq!(started_at, server.truth()[0].started_at.try_into().unwrap());
    clock.advance(Duration::from_secs(60));
    let now = clock.now().try_into().unwrap();
    server.exit(&web, 42).unwrap();
    let exited = watched.next().await;
    assert!(matches!(exited.kind, whalewatcher_core::EventKind::Exited { code: Some(42), .. }), "{exited}");
    assert!(exited.time >= now && exited.time < now + Duration::from_secs(1), "{:?}", exited.time);
}
