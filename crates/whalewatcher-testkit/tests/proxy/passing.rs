//! Data without faults.

use whalewatcher_testkit::proxy::{Error, Proxy};

use crate::peers::{Engine, Peer, in_time};

#[tokio::test]
async fn bytes_pass_both_ways_between_sockets_of_any_kind() {
    for engine in [Engine::unix(), Engine::tcp().await] {
        for proxy in [Proxy::builder(), Proxy::builder().listen_tcp()] {
            let proxy = proxy.upstream(engine.endpoint()).start().unwrap();
            let (mut client, mut server) = engine.meet(&proxy).await;
            client.say("hello").await;
            server.receive("hello").await;
            server.say("\0\u{1}world").await;
            client.receive("\0\u{1}world").await;
            let stats = proxy.until(|stats| stats.to_client == 7).await;
            assert_eq!((stats.accepted, stats.open, stats.to_engine, stats.requests), (1, 1, 5, 0));
        }
    }
}

#[tokio::test]
async fn large_data_passes_unchanged() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut client, mut server) = engine.meet(&proxy).await;
    let much: String = (0..300_000).map(|number| format!("{number},")).collect();
    let sending = async {
        server.say(&much).await;
        server.end().await;
    };
    let (received, ()) = tokio::join!(client.receive_all(), sending);
    assert!(received.unwrap() == much);
}

#[tokio::test]
async fn either_side_may_send_first() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut client, mut server) = engine.meet(&proxy).await;
    server.say("HTTP/1.1 ").await;
    client.receive("HTTP/1.1 ").await;
}

#[tokio::test]
async fn a_half_closed_connection_still_receives() {
    let engine = Engine::tcp().await;
    let proxy = Proxy::builder().listen_tcp().upstream(engine.endpoint()).start().unwrap();
    let (mut client, mut server) = engine.meet(&proxy).await;
    client.say("question").await;
    client.end().await;
    assert_eq!(server.receive_all().await.unwrap(), "question");
    server.say("answer").await;
    server.end().await;
    assert_eq!(client.receive_all().await.unwrap(), "answer");
    in_time(proxy.until_open(0)).await;
}

#[tokio::test]
async fn a_client_that_goes_is_gone_for_the_engine_too() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (client, mut server) = engine.meet(&proxy).await;
    drop(client);
    assert_eq!(server.receive_all().await.unwrap(), "");
}

#[tokio::test]
async fn half_a_request_reaches_the_engine_when_nothing_follows() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut client, mut server) = engine.meet(&proxy).await;
    client.say("GET /eve").await;
    client.end().await;
    assert_eq!(server.receive_all().await.unwrap(), "GET /eve");
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_a_closed_connection() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.sock");
    let proxy = Proxy::builder().upstream(missing.to_str().unwrap()).start().unwrap();
    let mut client = Peer::to(&proxy.endpoint()).await.unwrap();
    assert_eq!(client.receive_all().await.unwrap(), "");
    in_time(proxy.until(|stats| stats.unreachable == 1 && stats.open == 0)).await;
}

#[tokio::test]
async fn a_proxy_without_an_upstream_is_an_error() {
    assert!(matches!(Proxy::builder().start(), Err(Error::NoUpstream)));
    assert!(matches!(Proxy::builder().upstream("whale").start(), Err(Error::Endpoint(_))));
}

#[test]
fn without_a_runtime_there_is_no_proxy() {
    assert!(matches!(Proxy::builder().upstream("/run/d.sock").start(), Err(Error::NoRuntime)));
}
