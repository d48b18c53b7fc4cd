//! HTTP/1.1: requests to the kit's Docker engine, answers to them, and events.

use whalewatcher_testkit::docker::Server;
use whalewatcher_testkit::proxy::{Fault, Proxy, RandomFaults};
use whalewatcher_testkit::watched::in_time;

use crate::peers::{Engine, Peer};

/// An engine, a proxy before it, and a client of the proxy.
async fn docker() -> (Server, Proxy, Peer) {
    let server = Server::builder().start().unwrap();
    let proxy = Proxy::builder().upstream(server.endpoint()).start().unwrap();
    let client = Peer::to(&proxy).await.unwrap();
    (server, proxy, client)
}

/// The same, after the client has requested events.
async fn followed() -> (Server, Proxy, Peer) {
    let (server, proxy, mut client) = docker().await;
    // The event stream need not be the first request on a connection.
    assert_eq!(client.get("/_ping").await, (200, "OK".into()));
    client.ask("GET /events").await.unwrap();
    assert_eq!(client.head().await.0, 200);
    in_time(server.until_listeners(1)).await;
    (server, proxy, client)
}

#[tokio::test]
async fn requests_are_counted_by_method_and_path() {
    let (_server, proxy, mut client) = docker().await;
    for path in ["/containers/json?all=1", "/containers/json?all=0", "/info"] {
        assert_eq!(client.get(path).await.0, 200);
    }
    client.ask("HEAD /_ping").await.unwrap();
    assert_eq!(client.head().await.0, 200);
    assert_eq!(client.get("/nothing").await.0, 404);
    let stats = proxy.stats();
    assert_eq!((stats.requests, stats.accepted), (5, 1));
    assert_eq!((stats.lines["GET /containers/json"], stats.lines["HEAD /_ping"]), (2, 1));
    assert_eq!((stats.requests_of("GET"), stats.requests_of("/json")), (4, 2));
}

#[tokio::test]
async fn the_proxy_answers_in_the_engines_place_and_in_the_order_of_requests() {
    let (server, proxy, mut client) = docker().await;
    let fault = proxy.inject(Fault::answer(500, "out of luck").on_requests("/info").times(2)).unwrap();
    for path in ["/_ping", "/info", "/version", "/info", "/info"] {
        client.ask(&format!("GET {path}")).await.unwrap();
    }
    for expected in [200, 500, 200, 500, 200] {
        let (status, body) = client.answer().await;
        assert_eq!((status, status == 500), (expected, body == "out of luck"));
    }
    assert_eq!((server.stats().requests.info, proxy.stats().hits_of(fault)), (1, 2));
    // No body for HEAD, and none of a request is passed on.
    proxy.inject(Fault::answer(503, "out of luck").times(2)).unwrap();
    client.ask("HEAD /_ping").await.unwrap();
    assert_eq!(client.head().await, (503, Some(11)));
    client.say("POST /x HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.answer().await.0, 503);
    assert_eq!(client.get("/_ping").await.0, 200);
    assert_eq!(server.stats().requests.total(), 4);
}

#[tokio::test]
async fn an_answer_ends_early_but_properly_or_is_cut() {
    let (server, proxy, mut client) = docker().await;
    server.run("web").unwrap();
    let fault = proxy.inject(Fault::truncate_after(10).on_requests("/containers/json").times(1)).unwrap();
    let short = client.get("/containers/json").await;
    assert_eq!((short.0, short.1.len()), (200, 10));
    let long = client.get("/containers/json").await;
    assert!(long.1.starts_with(&short.1) && long.1.len() > 10);
    assert_eq!(proxy.stats().hits_of(fault), 1);
    proxy.inject(Fault::cut_after(20).on_requests("/info").times(1)).unwrap();
    assert_eq!(client.get("/version").await.0, 200);
    client.ask("GET /info").await.unwrap();
    assert_eq!(client.rest().await.unwrap().len(), 20);

    let engine = Engine::unix();
    let proxy = engine.proxy();
    proxy.inject(Fault::truncate_after(5)).unwrap();
    let (mut client, mut server) = engine.meet(&proxy).await;
    client.ask("GET /").await.unwrap();
    server.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n").await;
    assert_eq!(client.answer().await, (200, "abcde".into()));
    assert_eq!(client.rest().await.unwrap(), "");

    let (_server, proxy, mut client) = followed().await;
    proxy.inject(Fault::truncate_after(0).on_requests("/events")).unwrap();
    assert_eq!(client.chunk().await, None, "a stream that is under way ends at once");
    assert_eq!(client.rest().await.unwrap(), "");
}

#[tokio::test]
async fn the_event_stream_is_silent_while_requests_are_answered() {
    let (server, proxy, mut client) = followed().await;
    let stall = proxy.inject(Fault::stall().on_requests("/events")).unwrap();
    server.run("web").unwrap();
    in_time(proxy.until_hit(stall, 1)).await;
    let mut other = Peer::to(&proxy).await.unwrap();
    assert!(other.get("/containers/json").await.1.contains("web"));
    proxy.lift(stall).unwrap();
    assert_eq!(client.event().await, "create web");
}

#[tokio::test]
async fn single_events_are_dropped_repeated_or_delayed() {
    let (server, proxy, mut client) = followed().await;
    let web = server.run("web").unwrap();
    assert_eq!([client.event().await, client.event().await], ["create web", "start web"]);
    let fault = proxy.inject(Fault::drop_events("\"Action\":\"pause\"").times(1)).unwrap();
    server.pause(&web).unwrap();
    server.unpause(&web).unwrap();
    server.pause(&web).unwrap();
    assert_eq!([client.event().await, client.event().await], ["unpause web", "pause web"]);
    let stats = proxy.stats();
    assert_eq!((stats.events, stats.dropped, stats.hits_of(fault)), (4, 1, 1));
    // Other answers are no events.
    proxy.inject(Fault::drop_events("web")).unwrap();
    assert!(Peer::to(&proxy).await.unwrap().get("/containers/json").await.1.contains("web"));
    proxy.heal().unwrap();

    let fault = proxy.inject(Fault::repeat_events("\"create\"")).unwrap();
    server.create("db").unwrap();
    assert_eq!(client.event().await, "create db, create db");
    proxy.lift(fault).unwrap();
    let fault = proxy.inject(Fault::delay_events("\"start\"")).unwrap();
    server.start("db").unwrap();
    in_time(proxy.until_hit(fault, 1)).await;
    server.pause("db").unwrap();
    assert_eq!(client.event().await, "pause db, start db");
    server.run("last").unwrap();
    assert_eq!(client.event().await, "create last");
    in_time(proxy.until_hit(fault, 2)).await;
    proxy.heal().unwrap();
    assert_eq!(client.event().await, "start last");
}

#[tokio::test]
async fn events_are_found_in_pieces_of_any_size() {
    let engine = Engine::unix();
    let stream = "5\r\n{1}\n{\r\n6;x=y\r\n2}\n{3}\r\n1\r\n\n\r\n0\r\n\r\n";
    for size in 1..=stream.len() {
        let proxy = engine.proxy();
        proxy.inject(Fault::drop_events("2").times(1)).unwrap();
        let (mut client, mut server) = engine.meet(&proxy).await;
        client.ask("GET /v1.51/events?since=1").await.unwrap();
        server.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for piece in stream.as_bytes().chunks(size) {
            server.say(piece).await;
        }
        assert_eq!(client.answer().await.1, "{1}\n{3}\n", "in pieces of {size}");
    }
    let proxy = engine.proxy();
    proxy.inject(Fault::drop_events("2")).unwrap();
    let (mut client, mut server) = engine.meet(&proxy).await;
    client.ask("GET /events").await.unwrap();
    server.say("HTTP/1.0 200 OK\r\n\r\n{1}\n{2}\n{3}").await;
    server.end().await;
    assert_eq!(client.rest().await.unwrap(), "HTTP/1.0 200 OK\r\n\r\n{1}\n{3}");
}

#[tokio::test]
async fn after_any_number_of_random_faults_a_healed_proxy_works() {
    let (server, proxy, _) = docker().await;
    let mut faults = RandomFaults::new(7);
    let mut clients = Vec::new();
    for round in 0..300 {
        let fault: Fault = faults.next_fault().to_string().parse().unwrap();
        proxy.inject(fault).unwrap();
        clients.extend(Peer::to(&proxy).await);
        for client in clients.iter_mut().rev().take(3) {
            // A connection that is cut already cannot be written to.
            let _ = client.ask(if round % 2 == 0 { "GET /events" } else { "GET /containers/json" }).await;
        }
        server.run(format!("c{round}").as_str()).unwrap();
        if round % 10 == 9 {
            proxy.heal().unwrap();
            let mut client = Peer::to(&proxy).await.unwrap();
            assert_eq!(client.get("/_ping").await.1, "OK", "in round {round}");
        }
    }
    drop(clients);
    proxy.heal().unwrap();
    in_time(proxy.until_open(0)).await;
    assert_eq!(proxy.stats().stalled, 0);
}
