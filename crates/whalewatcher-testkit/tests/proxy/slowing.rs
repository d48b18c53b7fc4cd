//! Slow data, with a clock that stands still unless a task waits for it.

use std::time::Duration;

use tokio::time::Instant;
use whalewatcher_testkit::proxy::{Fault, Proxy};

use crate::peers::{Engine, Peer};

/// With a paused clock sockets must be quick, because waiting for them advances the clock.
async fn meet(engine: &Engine) -> (Proxy, Peer, Peer) {
    let proxy = engine.proxy();
    let (client, server) = engine.meet(&proxy).await;
    (proxy, client, server)
}

#[tokio::test(start_paused = true)]
async fn each_piece_can_be_delayed() {
    let engine = Engine::unix();
    let (proxy, mut client, mut server) = meet(&engine).await;
    let delay = proxy.inject(Fault::delay(Duration::from_secs(3))).unwrap();
    for _ in 0..2 {
        let begun = Instant::now();
        server.say("late").await;
        client.receive("late").await;
        assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    assert_eq!(proxy.stats().hits_of(delay), 1);
}

#[tokio::test(start_paused = true)]
async fn data_can_be_dripped() {
    let engine = Engine::unix();
    let (proxy, mut client, mut server) = meet(&engine).await;
    proxy.inject(Fault::drip(2, Duration::from_secs(1))).unwrap();
    let begun = Instant::now();
    server.say("abcdef").await;
    client.receive("ab").await;
    client.receive("cdef").await;
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn delayed_data_passes_at_once_when_the_fault_is_lifted() {
    let engine = Engine::unix();
    let (proxy, mut client, mut server) = meet(&engine).await;
    let delay = proxy.inject(Fault::delay(Duration::from_secs(3600))).unwrap();
    server.say("late").await;
    proxy.until_hit(delay, 1).await;
    proxy.heal().unwrap();
    client.receive("late").await;
}
