//! The event stream, including what surprises its clients.

use std::time::Duration;

use whalewatcher_testkit::docker::{Clock, ContainerSpec, Fate, Server};

use crate::client::{Events, filters, get, now};

#[tokio::test]
async fn headers_arrive_before_the_listener_is_registered() {
    let server = Server::builder().start().unwrap();
    let gate = server.hold_registrations();
    let mut events = Events::request(&server, "").await;
    gate.until_waiting(1).await;
    assert_eq!(server.stats().listeners, 0);
    server.run("lost").unwrap();
    gate.open();
    server.until_listeners(1).await;
    server.run("seen").unwrap();
    assert_eq!(events.reported(2).await, ["create seen", "start seen"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_stream_is_registered_soon_after_its_headers() {
    let server = Server::builder().start().unwrap();
    for listeners in 1..50 {
        let _ = Events::registered(&server, "").await;
        server.until(|stats| stats.registered == listeners).await;
    }
}

#[tokio::test]
async fn events_before_the_registration_are_replayed_with_since() {
    let server = Server::builder().start().unwrap();
    server.run("before").unwrap();
    let gate = server.hold_registrations();
    let mut events = Events::request(&server, &format!("since={}", now(&server))).await;
    gate.until_waiting(1).await;
    server.run("between").unwrap();
    gate.open();
    server.until_listeners(1).await;
    server.run("after").unwrap();
    assert_eq!(events.reported(4).await, ["create between", "start between", "create after", "start after"]);
}

#[tokio::test]
async fn the_ring_remembers_the_last_256_events() {
    let server = Server::builder().start().unwrap();
    let since = now(&server);
    for number in 0..200 {
        server.run(format!("c{number}")).unwrap();
    }
    let mut events = Events::registered(&server, &format!("since={since}")).await;
    let reported = events.reported(256).await;
    assert_eq!(reported[0], "create c72");
    assert_eq!(reported[255], "start c199");
    server.exit("c0", 0).unwrap();
    assert_eq!(events.reported(1).await, ["die c0"]);
}

#[tokio::test]
async fn replay_and_stream_join_without_gap_or_overlap() {
    let server = Server::builder().ring(100_000).start().unwrap();
    let since = now(&server);
    let driver = tokio::spawn({
        let server = server.clone();
        async move {
            for number in 0..500 {
                server.run(format!("c{number}")).unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let mut readers = Vec::new();
    for _ in 0..10 {
        readers.push(Events::request(&server, &format!("since={since}")).await);
    }
    driver.await.unwrap();
    let expected: Vec<_> = (0..500).flat_map(|n| [format!("create c{n}"), format!("start c{n}")]).collect();
    for mut reader in readers {
        assert_eq!(reader.reported(1000).await, expected);
    }
}

#[tokio::test]
async fn until_ends_the_stream_when_the_engines_clock_reaches_it() {
    let clock = Clock::stepped("2026-01-31T12:00:00Z".parse().unwrap());
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    let mut events = Events::registered(&server, "until=2026-01-31T12:00:10Z").await;
    server.create("early").unwrap();
    assert_eq!(events.reported(1).await, ["create early"]);
    clock.advance(Duration::from_secs(10));
    assert!(events.all().await.is_empty());
    server.until(|stats| stats.listeners == 0).await;
    server.create("late").unwrap();
    // One in the past: the events in the ring, and no more.
    let past = Events::request(&server, "since=1769860799.5&until=1769860809.000000001").await;
    assert_eq!(past.all().await, ["create early"]);
}

#[tokio::test]
async fn filters_choose_by_type_action_container_and_label() {
    let server = Server::builder().start().unwrap();
    let since = now(&server);
    let web = server.run(ContainerSpec::new("web").label("k", "v")).unwrap();
    server.run("db").unwrap();
    server.emit("network", "connect", "abc", [("name".to_string(), "none".to_string())].into());
    server.exec("web").unwrap();
    server.stop("web").unwrap();
    let until = now(&server);
    let reported = async |json: &str| {
        let query = format!("since={since}&until={until}&{}", filters(json));
        Events::request(&server, &query).await.all().await
    };
    assert_eq!(reported(r#"{"type":["network"]}"#).await, ["connect none"]);
    assert_eq!(reported(r#"{"type":{"network":true}}"#).await, ["connect none"]);
    assert_eq!(reported(r#"{"event":["start","die"]}"#).await, ["start web", "start db", "die web"]);
    assert_eq!(reported(r#"{"event":{"start":true},"label":["k=v"]}"#).await, ["start web"]);
    assert_eq!(reported(r#"{"container":["db"]}"#).await, ["create db", "start db"]);
    assert_eq!(reported(&format!(r#"{{"container":["{web}"],"event":["stop"]}}"#)).await, ["stop web"]);
    assert_eq!(reported(r#"{"event":["exec_create"]}"#).await, ["exec_create: /bin/sh -c true web"]);
    assert!(reported(r#"{"event":["exec"]}"#).await.is_empty());
}

#[tokio::test]
async fn a_wrong_time_or_filter_is_refused() {
    let server = Server::builder().start().unwrap();
    for query in
        ["since=yesterday", "since=1.x", "since=20&until=10", "filters=%7B", "filters=%7B%22a%22:1%7D"]
    {
        let answer = get(&server, &format!("/events?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(!answer.message().is_empty());
    }
}

#[tokio::test]
async fn a_listener_that_is_too_slow_is_skipped_silently() {
    let server = Server::builder().listener_queue(1024, Duration::ZERO).start().unwrap();
    let mut slow = Events::registered(&server, "").await;
    let mut fast = Events::registered(&server, "").await;
    let mut last = 0;
    while server.skipped() == 0 {
        for _ in 0..100 {
            last += 1;
            server.create(format!("c{last}")).unwrap();
        }
        // The other listener loses nothing.
        fast.reported(100).await;
    }
    assert!(last > 1024);
    // Queued events are delivered, and later ones once there is room again; nothing marks the gap between them.
    let delivered = last - server.skipped();
    let reported = slow.reported(delivered.try_into().unwrap()).await;
    assert!(reported.len() > 1024 && reported[1024] == "create c1025");
    server.create("end").unwrap();
    assert_eq!(slow.reported(1).await, ["create end"]);
}

#[tokio::test(start_paused = true)]
async fn a_listener_has_time_to_make_room() {
    let server = Server::builder().listener_queue(2, Duration::from_millis(100)).start().unwrap();
    let mut events = Events::registered(&server, "").await;
    for number in 0..10 {
        server.create(format!("c{number}")).unwrap();
    }
    // Eight wait for room, and get it in time.
    assert_eq!(server.skipped(), 0);
    assert_eq!(events.reported(10).await.len(), 10);
    for number in 10..20 {
        server.create(format!("c{number}")).unwrap();
    }
    tokio::time::advance(Duration::from_millis(100)).await;
    assert_eq!(server.skipped(), 8);
    server.create("last").unwrap();
    assert_eq!(events.reported(2).await, ["create c10", "create c11"]);
}

#[tokio::test]
async fn events_can_be_lost_skipped_and_repeated() {
    let server = Server::builder().start().unwrap();
    let since = now(&server);
    let mut events = Events::registered(&server, "").await;
    server.on_event(|event| match (event.action.as_str(), event.attributes["name"].as_str()) {
        ("start", "vanishing") => Fate::Vanish,
        ("start", "skipping") => Fate::Skip,
        ("start", "doubled") => Fate::Duplicate,
        _ => Fate::Deliver,
    });
    for name in ["vanishing", "skipping", "doubled"] {
        server.run(name).unwrap();
    }
    server.lose_next("die");
    server.exit("doubled", 0).unwrap();
    server.exit("skipping", 0).unwrap();
    assert_eq!(
        events.reported(6).await,
        [
            "create vanishing",
            "create skipping",
            "create doubled",
            "start doubled",
            "start doubled",
            "die skipping"
        ]
    );
    let past = Events::request(&server, &format!("since={since}&until={}", now(&server))).await;
    assert_eq!(
        past.all().await,
        [
            "create vanishing",
            "create skipping",
            "start skipping",
            "create doubled",
            "start doubled",
            "die skipping"
        ]
    );
}

#[tokio::test]
async fn any_line_can_be_sent() {
    let server = Server::builder().start().unwrap();
    let mut events = Events::registered(&server, &filters(r#"{"type":["container"]}"#)).await;
    server.emit_raw("{\"Type\":\"unheard-of\",\"Action\":\"x\"}\n");
    assert_eq!(events.next().await.unwrap()["Type"], "unheard-of");
}

#[tokio::test]
async fn a_client_that_leaves_is_deregistered() {
    let server = Server::builder().start().unwrap();
    let events = Events::registered(&server, "").await;
    assert_eq!(server.stats().listeners, 1);
    drop(events);
    server.until(|stats| stats.listeners == 0 && stats.open == 0).await;
}
