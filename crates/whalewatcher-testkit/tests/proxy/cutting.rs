//! Connections that end, and bytes that are replaced.

use std::io::ErrorKind;

use whalewatcher_testkit::proxy::{Direction, Fault, Proxy};

use crate::peers::{Engine, Peer, in_time};

#[tokio::test]
async fn a_connection_is_cut_at_a_byte() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut client, mut server) = engine.meet(&proxy).await;
    server.say("before").await;
    client.receive("before").await;
    let cut = proxy.inject(Fault::cut_after(3)).unwrap();
    server.say("ab").await;
    client.receive("ab").await;
    server.say("cde").await;
    assert_eq!(client.receive_all().await.unwrap(), "c");
    server.receive_all().await.unwrap();
    assert_eq!(proxy.stats().hits_of(cut), 1);
    in_time(proxy.until_open(0)).await;
}

#[tokio::test]
async fn bytes_to_the_engine_are_counted_separately() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut client, mut server) = engine.meet(&proxy).await;
    proxy.inject(Fault::cut_after(3).toward(Direction::ToEngine)).unwrap();
    server.say("as much as it likes").await;
    client.receive("as much as it likes").await;
    client.say("abcde").await;
    assert_eq!(server.receive_all().await.unwrap(), "abc");
}

#[tokio::test]
async fn silent_connections_are_cut_at_once_and_so_are_new_ones() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut client, mut server) = engine.meet(&proxy).await;
    proxy.inject(Fault::cut_after(0)).unwrap();
    assert_eq!(client.receive_all().await.unwrap(), "");
    assert_eq!(server.receive_all().await.unwrap(), "");
    let mut other = Peer::to(&proxy.endpoint()).await.unwrap();
    assert_eq!(other.receive_all().await.unwrap(), "");
    proxy.heal().unwrap();
    // This one may have reached the engine, for a moment.
    in_time(proxy.until_open(0)).await;
    let mut client = Peer::to(&proxy.endpoint()).await.unwrap();
    client.say("x").await;
    client.end().await;
    while engine.accept().await.receive_all().await.unwrap() != "x" {}
}

#[tokio::test]
async fn all_can_be_cut_by_one_call_and_one_by_its_number() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut one, _one) = engine.meet(&proxy).await;
    let (mut two, mut other) = engine.meet(&proxy).await;
    assert_eq!(proxy.connections(), [(0, None), (1, None)]);
    proxy.cut(0);
    one.receive_all().await.unwrap();
    in_time(proxy.until_open(1)).await;
    two.say("still here").await;
    other.receive("still here").await;
    proxy.cut_all();
    two.receive_all().await.unwrap();
    in_time(proxy.until_open(0)).await;
}

#[tokio::test]
async fn tcp_can_be_reset() {
    let engine = Engine::tcp().await;
    let proxy = Proxy::builder().listen_tcp().upstream(engine.endpoint()).start().unwrap();
    let (mut client, mut server) = engine.meet(&proxy).await;
    proxy.inject(Fault::reset_after(0)).unwrap();
    assert_eq!(client.receive_all().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(server.receive_all().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    proxy.heal().unwrap();
    let (mut client, _server) = engine.meet(&proxy).await;
    proxy.reset_all();
    assert_eq!(client.receive_all().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_fault_can_be_limited_to_connections() {
    let engine = Engine::unix();
    for (fault, hit) in [
        (Fault::cut_after(1).only_existing(), [true, true, false]),
        (Fault::cut_after(1).only_new(), [false, false, true]),
        (Fault::cut_after(1).on_connection(1), [false, true, false]),
        (Fault::cut_after(1).times(2), [true, true, false]),
        (Fault::cut_after(1).on_opening("name 2"), [false, false, true]),
        (Fault::cut_after(1).on_requests("/events"), [false, false, false]),
    ] {
        let proxy = engine.proxy();
        let mut pairs = vec![engine.meet(&proxy).await, engine.meet(&proxy).await];
        proxy.inject(fault.clone()).unwrap();
        pairs.push(engine.meet(&proxy).await);
        for (number, ((client, server), hit)) in pairs.iter_mut().zip(hit).enumerate() {
            let name = format!("my name {number}");
            client.say(&name).await;
            server.receive(&name).await;
            server.say("ab").await;
            server.end().await;
            let expected = if hit { "a" } else { "ab" };
            assert_eq!(client.receive_all().await.unwrap(), expected, "{number} with {fault}");
        }
    }
}

#[tokio::test]
async fn plain_data_can_end_properly() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut client, mut server) = engine.meet(&proxy).await;
    proxy.inject(Fault::truncate_after(4)).unwrap();
    server.say("as if that was all").await;
    assert_eq!(client.receive_all().await.unwrap(), "as i");
}

#[tokio::test]
async fn bytes_are_replaced_at_a_place_by_a_seed() {
    let engine = Engine::unix();
    let mut seen = Vec::new();
    for seed in [1, 1, 2] {
        let proxy = engine.proxy();
        proxy.inject(Fault::corrupt_at(3, 2, seed)).unwrap();
        let (mut client, mut server) = engine.meet(&proxy).await;
        server.say("01").await;
        assert_eq!(client.receive_bytes(2).await, b"01");
        server.say("23456789").await;
        let received = client.receive_bytes(8).await;
        assert_eq!((received[0], &received[3..]), (b'2', &b"56789"[..]));
        assert!(received[1] != b'3' && received[2] != b'4', "{received:?}");
        seen.push(received);
    }
    assert!(seen[0] == seen[1] && seen[0] != seen[2], "{seen:?}");
}

#[tokio::test]
async fn bytes_can_be_replaced_by_non_ascii() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let fault = proxy.inject(Fault::corrupt_one_in(10, 5)).unwrap();
    let (mut client, mut server) = engine.meet(&proxy).await;
    server.say(vec![b'a'; 1000]).await;
    let received = client.receive_bytes(1000).await;
    let malformed = received.iter().filter(|byte| **byte >= 0x80).count();
    assert!((50..200).contains(&malformed), "{malformed}");
    assert_eq!(received.iter().filter(|byte| **byte == b'a').count(), 1000 - malformed);
    assert_eq!(proxy.stats().hits_of(fault), 1);
}
