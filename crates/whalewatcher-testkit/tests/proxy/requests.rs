//! HTTP/1.1 requests to the kit's Docker engine, and their answers.

use whalewatcher_testkit::{
    docker::Server,
    proxy::{Fault, Proxy},
};

use crate::peers::{Client, Engine, in_time};

fn docker() -> (Server, Proxy) {
    let server = Server::builder().start().unwrap();
    let proxy = Proxy::builder().upstream(server.endpoint()).start().unwrap();
    (server, proxy)
}

#[tokio::test]
async fn requests_are_counted_by_method_and_path() {
    let (_server, proxy) = docker();
    let mut client = Client::to(&proxy).await;
    for path in ["/containers/json?all=1", "/containers/json?all=0", "/info"] {
        assert_eq!(client.get(path).await.unwrap().status, 200);
    }
    client.ask("HEAD /_ping").await;
    assert_eq!(client.head().await.unwrap().0, 200);
    assert_eq!(client.get("/nothing").await.unwrap().status, 404);
    let stats = proxy.stats();
    assert_eq!((stats.requests, stats.accepted), (5, 1));
    assert_eq!((stats.lines["GET /containers/json"], stats.lines["HEAD /_ping"]), (2, 1));
    assert_eq!((stats.requests_of("GET"), stats.requests_of("/json")), (4, 2));
}

#[tokio::test]
async fn the_request_that_is_being_answered_is_known() {
    let (server, proxy) = docker();
    let mut client = Client::to(&proxy).await;
    client.get("/info").await.unwrap();
    assert_eq!(proxy.connections(), [(0, None)]);
    client.follow().await;
    assert_eq!(proxy.connections(), [(0, Some("GET /events HTTP/1.1".into()))]);
    in_time(server.until_listeners(1)).await;
}

#[tokio::test]
async fn the_next_requests_are_answered_by_the_proxy_and_later_ones_by_the_engine() {
    let (server, proxy) = docker();
    let mut client = Client::to(&proxy).await;
    let fault = proxy.inject(Fault::answer(500, "out of luck").on_requests("/info").times(2)).unwrap();
    for _ in 0..2 {
        let answer = client.get("/info").await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (500, "out of luck"));
        assert_eq!(client.get("/version").await.unwrap().status, 200);
    }
    assert_eq!(client.get("/info").await.unwrap().status, 200);
    assert_eq!((server.stats().requests.info, proxy.stats().hits_of(fault)), (1, 2));
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_and_a_requests_body_is_not_passed_on() {
    let (server, proxy) = docker();
    let mut client = Client::to(&proxy).await;
    proxy.inject(Fault::answer(503, "out of luck").times(2)).unwrap();
    client.ask("HEAD /_ping").await;
    assert_eq!(client.head().await.unwrap(), (503, false, 11));
    client.say("POST /x HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 503);
    assert_eq!(client.get("/_ping").await.unwrap().status, 200);
    assert_eq!(server.stats().requests.total(), 1);
}

#[tokio::test]
async fn answers_keep_the_order_of_requests_sent_in_one_go() {
    let (_server, proxy) = docker();
    proxy.inject(Fault::answer(500, "no").on_requests("/version")).unwrap();
    let mut client = Client::to(&proxy).await;
    for path in ["/_ping", "/version", "/info", "/version"] {
        client.ask(&format!("GET {path}")).await;
    }
    for status in [200, 500, 200, 500] {
        assert_eq!(client.answer().await.unwrap().status, status);
    }
}

#[tokio::test]
async fn an_answer_with_a_length_can_end_early() {
    let (server, proxy) = docker();
    server.run("web").unwrap();
    let mut client = Client::to(&proxy).await;
    let fault = proxy.inject(Fault::truncate_after(10).on_requests("/containers/json").times(1)).unwrap();
    let short = client.get("/containers/json").await.unwrap();
    assert_eq!((short.status, short.body.len()), (200, 10));
    let long = client.get("/containers/json").await.unwrap();
    assert!(long.body.starts_with(&short.body) && long.body.len() > 10);
    assert_eq!(proxy.stats().hits_of(fault), 1);
}

#[tokio::test]
async fn a_chunked_answer_can_end_early_with_its_last_chunk() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    proxy.inject(Fault::truncate_after(5)).unwrap();
    let mut client = Client::to(&proxy).await;
    let mut server = engine.accept().await;
    client.ask("GET /").await;
    server.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n").await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.chunked, answer.body.as_str()), (true, "abcde"));
    assert_eq!(client.rest().await.unwrap(), "");
}

#[tokio::test]
async fn an_event_stream_that_is_under_way_is_ended_at_once() {
    let (server, proxy) = docker();
    let mut client = Client::to(&proxy).await;
    client.follow().await;
    in_time(server.until_listeners(1)).await;
    proxy.inject(Fault::truncate_after(0).on_requests("/events")).unwrap();
    assert_eq!(client.chunk().await.unwrap(), None);
    assert_eq!(client.rest().await.unwrap(), "");
}

#[tokio::test]
async fn only_matching_answers_are_cut() {
    let (_server, proxy) = docker();
    let fault = proxy.inject(Fault::cut_after(20).on_requests("/info").times(1)).unwrap();
    let mut client = Client::to(&proxy).await;
    assert_eq!(client.get("/version").await.unwrap().status, 200);
    client.ask("GET /info").await;
    assert_eq!(client.rest().await.unwrap().len(), 20);
    assert_eq!(proxy.stats().hits_of(fault), 1);
    let mut client = Client::to(&proxy).await;
    assert_eq!(client.get("/info").await.unwrap().status, 200);
}
