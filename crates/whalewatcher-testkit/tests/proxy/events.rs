//! The event stream of the kit's Docker engine.

use whalewatcher_testkit::{
    docker::Server,
    proxy::{Fault, Proxy},
};

use crate::peers::{Client, Engine, in_time};

/// An engine, a proxy before it, and a client of the proxy that follows events.
async fn followed() -> (Server, Proxy, Client) {
    let server = Server::builder().start().unwrap();
    let proxy = Proxy::builder().upstream(server.endpoint()).start().unwrap();
    let mut client = Client::to(&proxy).await;
    // The event stream need not be the first request on a connection.
    assert_eq!(client.get("/_ping").await.unwrap().body, "OK");
    client.follow().await;
    in_time(server.until_listeners(1)).await;
    (server, proxy, client)
}

#[tokio::test]
async fn events_pass_and_are_counted() {
    let (server, proxy, mut client) = followed().await;
    server.run("web").unwrap();
    assert_eq!(client.event().await, "create web");
    assert_eq!(client.event().await, "start web");
    assert_eq!(proxy.stats().events, 2);
}

#[tokio::test]
async fn the_event_stream_is_silent_while_requests_are_answered() {
    let (server, proxy, mut client) = followed().await;
    let stall = proxy.inject(Fault::stall().on_requests("/events")).unwrap();
    server.run("web").unwrap();
    in_time(proxy.until_hit(stall, 1)).await;
    let mut other = Client::to(&proxy).await;
    assert!(other.get("/containers/json").await.unwrap().body.contains("web"));
    proxy.lift(stall).unwrap();
    assert_eq!(client.event().await, "create web");
}

#[tokio::test]
async fn single_events_can_be_dropped() {
    let (server, proxy, mut client) = followed().await;
    let web = server.run("web").unwrap();
    assert_eq!(client.event().await, "create web");
    assert_eq!(client.event().await, "start web");
    let fault = proxy.inject(Fault::drop_events("\"Action\":\"pause\"").times(1)).unwrap();
    server.pause(&web).unwrap();
    server.unpause(&web).unwrap();
    server.pause(&web).unwrap();
    assert_eq!(client.event().await, "unpause web");
    assert_eq!(client.event().await, "pause web");
    let stats = proxy.stats();
    assert_eq!((stats.events, stats.dropped, stats.hits_of(fault)), (4, 1, 1));
}

#[tokio::test]
async fn an_event_can_be_repeated() {
    let (server, proxy, mut client) = followed().await;
    proxy.inject(Fault::repeat_events("\"create\"")).unwrap();
    server.run("web").unwrap();
    let chunk = client.chunk().await.unwrap().unwrap();
    let lines: Vec<_> = chunk.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, lines[1]));
    assert_eq!(client.event().await, "start web");
}

#[tokio::test]
async fn an_event_can_be_delayed_past_the_next() {
    let (server, proxy, mut client) = followed().await;
    let fault = proxy.inject(Fault::delay_events("\"create\"").times(1)).unwrap();
    server.create("web").unwrap();
    in_time(proxy.until_hit(fault, 1)).await;
    assert_eq!(proxy.stats().events, 0);
    server.start("web").unwrap();
    let chunk = client.chunk().await.unwrap().unwrap();
    let mut lines = chunk.lines();
    assert!(lines.next().unwrap().contains("\"start\"") && lines.next().unwrap().contains("\"create\""));
}

#[tokio::test]
async fn a_delayed_event_passes_when_the_fault_is_lifted() {
    let (server, proxy, mut client) = followed().await;
    let fault = proxy.inject(Fault::delay_events("")).unwrap();
    server.create("web").unwrap();
    in_time(proxy.until_hit(fault, 1)).await;
    proxy.heal().unwrap();
    assert_eq!(client.event().await, "create web");
}

#[tokio::test]
async fn events_are_found_in_pieces_of_any_size() {
    let engine = Engine::unix();
    let stream = "5\r\n{1}\n{\r\n6;x=y\r\n2}\n{3}\r\n1\r\n\n\r\n0\r\n\r\n";
    for size in 1..=stream.len() {
        let proxy = engine.proxy();
        proxy.inject(Fault::drop_events("2").times(1)).unwrap();
        let mut client = Client::to(&proxy).await;
        let mut server = engine.accept().await;
        client.ask("GET /v1.51/events?since=1").await;
        server.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.head().await.unwrap();
        for piece in stream.as_bytes().chunks(size) {
            server.say(piece).await;
        }
        let mut reported = String::new();
        while let Some(chunk) = client.chunk().await.unwrap() {
            reported += &chunk;
        }
        assert_eq!(reported, "{1}\n{3}\n", "in pieces of {size}");
    }
}

#[tokio::test]
async fn events_without_chunks_can_be_dropped() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    proxy.inject(Fault::drop_events("2")).unwrap();
    let mut client = Client::to(&proxy).await;
    let mut server = engine.accept().await;
    client.ask("GET /events").await;
    server.say("HTTP/1.0 200 OK\r\n\r\n{1}\n{2}\n{3}").await;
    server.end().await;
    assert_eq!(client.rest().await.unwrap(), "HTTP/1.0 200 OK\r\n\r\n{1}\n{3}");
}

#[tokio::test]
async fn other_answers_are_not_taken_for_events() {
    let (server, proxy, _client) = followed().await;
    server.run("web").unwrap();
    proxy.inject(Fault::drop_events("web")).unwrap();
    let mut other = Client::to(&proxy).await;
    assert!(other.get("/containers/json").await.unwrap().body.contains("web"));
}
