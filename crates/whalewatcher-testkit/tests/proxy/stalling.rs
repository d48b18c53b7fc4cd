//! Connections that are open and silent.

use whalewatcher_testkit::proxy::{Direction, Fault};

use crate::peers::{Engine, Peer, in_time};

#[tokio::test]
async fn data_sent_during_a_stall_passes_after_it() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut client, mut server) = engine.meet(&proxy).await;
    let stall = proxy.inject(Fault::stall()).unwrap();
    client.say("question").await;
    server.say("answer").await;
    let stats = in_time(proxy.until(|stats| stats.stalled == 2)).await;
    assert_eq!((stats.open, stats.to_client, stats.to_engine, stats.hits_of(stall)), (1, 0, 0, 2));
    proxy.lift(stall).unwrap();
    client.receive("answer").await;
    server.receive("question").await;
    assert_eq!(proxy.stats().stalled, 0);
}

#[tokio::test]
async fn one_direction_can_be_silent_alone() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut client, mut server) = engine.meet(&proxy).await;
    let stall = proxy.inject(Fault::stall().toward(Direction::ToClient)).unwrap();
    server.say("lost").await;
    in_time(proxy.until_hit(stall, 1)).await;
    client.say("passed").await;
    server.receive("passed").await;
    assert_eq!(proxy.stats().to_client, 0);
}

#[tokio::test]
async fn a_connection_that_has_lost_bytes_stays_silent_and_others_do_not() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (client, mut server) = engine.meet(&proxy).await;
    let fault = proxy.inject(Fault::swallow().times(1)).unwrap();
    server.say("lost").await;
    in_time(proxy.until(|stats| stats.swallowed == 4)).await;
    let (mut other, mut living) = engine.meet(&proxy).await;
    living.say("passed").await;
    other.receive("passed").await;
    proxy.lift(fault).unwrap();
    server.say("lost too").await;
    in_time(proxy.until(|stats| stats.swallowed == 12)).await;
    drop(server);
    // The engine's end is not passed on, the client's is detected.
    assert_eq!(proxy.stats().open, 2);
    drop(client);
    in_time(proxy.until_open(1)).await;
}

#[tokio::test]
async fn an_end_is_not_reported_during_a_stall() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut client, server) = engine.meet(&proxy).await;
    let stall = proxy.inject(Fault::stall().toward(Direction::ToClient)).unwrap();
    drop(server);
    in_time(proxy.until(|stats| stats.stalled == 1)).await;
    proxy.lift(stall).unwrap();
    assert_eq!(client.receive_all().await.unwrap(), "");
}

#[tokio::test]
async fn a_client_that_gives_up_ends_a_stalled_connection() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (client, mut server) = engine.meet(&proxy).await;
    proxy.inject(Fault::stall()).unwrap();
    server.say("lost").await;
    in_time(proxy.until(|stats| stats.stalled == 1)).await;
    drop(client);
    in_time(proxy.until_open(0)).await;
    server.receive_all().await.unwrap();
}

#[tokio::test]
async fn a_black_hole_takes_connections_and_answers_nothing() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut old, mut server) = engine.meet(&proxy).await;
    let hole = proxy.inject(Fault::black_hole()).unwrap();
    let mut lost = Peer::to(&proxy.endpoint()).await.unwrap();
    lost.say("anybody?").await;
    in_time(proxy.until(|stats| stats.swallowed == 8)).await;
    server.say("here").await;
    old.receive("here").await;
    assert_eq!((proxy.stats().open, proxy.stats().hits_of(hole)), (2, 1));
    proxy.heal().unwrap();
    let (mut new, mut server) = engine.meet(&proxy).await;
    new.say("me").await;
    server.receive("me").await;
    proxy.cut_all();
    assert_eq!(lost.receive_all().await.unwrap(), "");
}
