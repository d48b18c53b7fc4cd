//! Any protocol: bytes that pass, late or never, connections that end, and sockets that are gone.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use whalewatcher_testkit::proxy::{Direction, Error, Fault, Proxy, Refusal};
use whalewatcher_testkit::watched::in_time;

use crate::peers::{Engine, Peer};

#[tokio::test]
async fn bytes_pass_both_ways_between_sockets_of_any_kind() {
    let much: String = (0..300_000).map(|number| format!("{number},")).collect();
    for engine in [Engine::unix(), Engine::tcp().await] {
        for proxy in [engine.proxy(), engine.tcp_proxy()] {
            let (mut client, mut server) = engine.meet(&proxy).await;
            // Either side may be the first, and what looks like HTTP may be none.
            server.say("HTTP/1.1 \0").await;
            client.receive("HTTP/1.1 \0").await;
            client.say("GET /eve").await;
            client.end().await;
            assert_eq!(server.rest().await.unwrap(), "GET /eve");
            let sending = async {
                server.say(&much).await;
                server.end().await;
            };
            let (received, ()) = tokio::join!(client.rest(), sending);
            assert!(received.unwrap() == much, "after its own end, and unchanged");
            in_time(proxy.until_open(0)).await;
            let stats = proxy.stats();
            assert_eq!((stats.accepted, stats.to_engine, stats.requests), (1, 8, 0));
            assert_eq!(stats.to_client, 10 + much.len() as u64);
        }
    }
}

#[tokio::test]
async fn a_side_that_is_gone_is_gone_for_the_other_too() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (client, mut server) = engine.meet(&proxy).await;
    drop(client);
    assert_eq!(server.rest().await.unwrap(), "");
    let missing = Proxy::builder().upstream("/nowhere/at.all").start().unwrap();
    assert_eq!(Peer::to(&missing).await.unwrap().rest().await.unwrap(), "");
    in_time(missing.until(|stats| stats.unreachable == 1 && stats.open == 0)).await;
    assert!(matches!(Proxy::builder().start(), Err(Error::NoUpstream)));
    assert!(matches!(Proxy::builder().upstream("whale").start(), Err(Error::Endpoint(_))));
}

#[test]
fn without_a_runtime_there_is_no_proxy() {
    assert!(matches!(Proxy::builder().upstream("/run/d.sock").start(), Err(Error::NoRuntime)));
}

#[tokio::test]
async fn a_connection_is_cut_at_a_byte_of_either_direction() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut client, mut server) = engine.meet(&proxy).await;
    server.say("before").await;
    client.receive("before").await;
    let cut = proxy.inject(Fault::cut_after(3)).unwrap();
    server.say("ab").await;
    client.receive("ab").await;
    server.say("cde").await;
    assert_eq!(client.rest().await.unwrap(), "c");
    server.rest().await.unwrap();
    in_time(proxy.until_open(0)).await;
    assert_eq!(proxy.stats().hits_of(cut), 1);
    proxy.heal().unwrap();
    proxy.inject(Fault::cut_after(3).toward(Direction::ToEngine)).unwrap();
    let (mut client, mut server) = engine.meet(&proxy).await;
    server.say("as much as it likes").await;
    client.receive("as much as it likes").await;
    client.say("abcde").await;
    assert_eq!(server.rest().await.unwrap(), "abc");
}

#[tokio::test]
async fn silent_connections_are_cut_or_reset_at_once_and_so_are_new_ones() {
    for (fault, is_reset) in [(Fault::cut_after(0), false), (Fault::reset_after(0), true)] {
        let engine = Engine::tcp().await;
        let proxy = engine.tcp_proxy();
        let assert_ended = async |peer: &mut Peer| {
            let end = peer.rest().await;
            assert_eq!(end.err().map(|error| error.kind()), is_reset.then_some(ErrorKind::ConnectionReset));
        };
        let (mut client, mut server) = engine.meet(&proxy).await;
        proxy.inject(fault).unwrap();
        assert_ended(&mut client).await;
        assert_ended(&mut server).await;
        // Before its end it may have been accepted or not.
        drop(Peer::to(&proxy).await.unwrap().rest().await);
        proxy.heal().unwrap();
        in_time(proxy.until_open(0)).await;
        let mut client = Peer::to(&proxy).await.unwrap();
        client.say("x").await;
        in_time(proxy.until(|stats| stats.to_engine == 1)).await;
        if is_reset {
            proxy.reset_all();
        } else {
            proxy.cut_all();
        }
        assert_ended(&mut client).await;
        in_time(proxy.until_open(0)).await;
    }
}

#[tokio::test]
async fn a_fault_can_be_limited_to_connections() {
    let engine = Engine::unix();
    for (fault, hit) in [
        (Fault::cut_after(1).only_existing(), [true, true, false]),
        (Fault::cut_after(1).times(2), [true, true, false]),
        (Fault::cut_after(1).on_requests("/events"), [false, false, false]),
        (Fault::truncate_after(1), [true, true, true]),
    ] {
        let proxy = engine.proxy();
        let mut pairs = vec![engine.meet(&proxy).await, engine.meet(&proxy).await];
        proxy.inject(fault.clone()).unwrap();
        pairs.push(engine.meet(&proxy).await);
        for (number, ((client, server), hit)) in pairs.iter_mut().zip(hit).enumerate() {
            server.say("ab").await;
            server.end().await;
            assert_eq!(client.rest().await.unwrap(), if hit { "a" } else { "ab" }, "{number} with {fault}");
        }
    }
}

#[tokio::test]
async fn bytes_are_replaced_at_a_place_by_a_seed() {
    let engine = Engine::unix();
    let mut seen = Vec::new();
    for seed in [1, 1, 2] {
        let proxy = engine.proxy();
        proxy.inject(Fault::corrupt(3, 2, seed)).unwrap();
        let (mut client, mut server) = engine.meet(&proxy).await;
        server.say("01").await;
        assert_eq!(client.bytes(2).await, b"01");
        server.say("23456789").await;
        let received = client.bytes(8).await;
        assert_eq!((received[0], &received[3..]), (b'2', &b"56789"[..]));
        assert!(received[1..3].iter().all(|byte| *byte >= 0x80), "{received:?}");
        seen.push(received);
    }
    assert!(seen[0] == seen[1] && seen[0] != seen[2], "{seen:?}");
}

#[tokio::test]
async fn what_is_sent_during_a_stall_passes_after_it() {
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
    let stall = proxy.inject(Fault::stall().toward(Direction::ToClient)).unwrap();
    server.say("late").await;
    in_time(proxy.until_hit(stall, 1)).await;
    client.say("passed").await;
    server.receive("passed").await;
    // The end too.
    drop(server);
    assert_eq!(proxy.stats().open, 1);
    proxy.lift(stall).unwrap();
    assert_eq!(client.rest().await.unwrap(), "late");
    let (client, mut server) = engine.meet(&proxy).await;
    proxy.inject(Fault::stall()).unwrap();
    server.say("lost").await;
    in_time(proxy.until(|stats| stats.stalled == 1)).await;
    drop(client);
    server.rest().await.unwrap();
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
    let hole = proxy.inject(Fault::black_hole()).unwrap();
    let mut lost = Peer::to(&proxy).await.unwrap();
    lost.say("anybody?").await;
    in_time(proxy.until(|stats| stats.swallowed == 20)).await;
    living.say("here").await;
    other.receive("here").await;
    assert_eq!(proxy.stats().hits_of(hole), 1);
    proxy.heal().unwrap();
    engine.meet(&proxy).await;
    proxy.cut_all();
    assert_eq!(lost.rest().await.unwrap(), "");
}

/// With a paused clock sockets must be quick, because waiting for them advances the clock.
#[tokio::test(start_paused = true)]
async fn data_is_delayed_or_dripped_until_that_is_lifted() {
    let engine = Engine::unix();
    let proxy = engine.proxy();
    let (mut client, mut server) = engine.meet(&proxy).await;
    for (fault, least) in
        [(Fault::delay(Duration::from_secs(3)), 3), (Fault::drip(2, Duration::from_secs(1)), 2)]
    {
        let fault = proxy.inject(fault).unwrap();
        let begun = Instant::now();
        server.say("abcdef").await;
        client.receive("abcdef").await;
        assert!(begun.elapsed() >= Duration::from_secs(least), "{:?}", begun.elapsed());
        assert_eq!(proxy.stats().hits_of(fault), 1);
        proxy.lift(fault).unwrap();
    }
    let begun = Instant::now();
    let delay = proxy.inject(Fault::delay(Duration::from_secs(3600))).unwrap();
    server.say("late").await;
    proxy.until_hit(delay, 1).await;
    proxy.heal().unwrap();
    client.receive("late").await;
    assert!(begun.elapsed() < Duration::from_secs(3600));
}

#[tokio::test]
async fn connections_are_refused_until_that_is_lifted() {
    let engine = Engine::unix();
    let refusal = async |proxy: &Proxy| Peer::to(proxy).await.err().expect("nothing listens").kind();
    for (proxy, gone) in
        [(engine.proxy(), ErrorKind::NotFound), (engine.tcp_proxy(), ErrorKind::ConnectionRefused)]
    {
        let (mut old, mut server) = engine.meet(&proxy).await;
        let endpoint = proxy.endpoint();
        let closed = proxy.inject(Fault::refuse(Refusal::Closed)).unwrap();
        assert_eq!(refusal(&proxy).await, ErrorKind::ConnectionRefused);
        let removed = proxy.inject(Fault::refuse(Refusal::Gone)).unwrap();
        assert_eq!(refusal(&proxy).await, gone);
        proxy.lift(removed).unwrap();
        assert_eq!(refusal(&proxy).await, ErrorKind::ConnectionRefused);
        proxy.lift(closed).unwrap();
        assert_eq!(proxy.endpoint(), endpoint);
        engine.meet(&proxy).await;
        server.say("old").await;
        old.receive("old").await;
    }
}

#[tokio::test]
async fn a_socket_is_replaced_and_old_connections_stay_or_go() {
    let engine = Engine::unix();
    for (proxy, is_unix) in [(engine.proxy(), true), (engine.tcp_proxy(), false)] {
        let path = proxy.endpoint().replace("unix://", "");
        // Another link keeps the inode, so that its number is not reused.
        let before = is_unix.then(|| {
            fs::hard_link(&path, format!("{path}.old")).unwrap();
            fs::metadata(&path).unwrap().ino()
        });
        let (mut old, mut server) = engine.meet(&proxy).await;
        proxy.inject(Fault::replace_socket(false)).unwrap();
        assert!(before.is_none_or(|before| fs::metadata(&path).unwrap().ino() != before));
        server.say("old").await;
        old.receive("old").await;
        let (mut new, _server) = engine.meet(&proxy).await;
        proxy.inject(Fault::replace_socket(true)).unwrap();
        for peer in [&mut new, &mut old] {
            assert_eq!(peer.rest().await.unwrap(), "");
        }
        engine.meet(&proxy).await;
    }
}

#[tokio::test]
async fn dropping_the_last_handle_closes_everything() {
    let engine = Engine::unix();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.sock");
    let make = || Proxy::builder().listen_unix(&path).upstream(engine.endpoint()).start();
    for proxy in [engine.proxy(), make().unwrap()] {
        let path = proxy.endpoint().replace("unix://", "");
        let (mut client, mut server) = engine.meet(&proxy).await;
        let other = proxy.clone();
        drop(proxy);
        client.say("still here").await;
        server.receive("still here").await;
        assert!(matches!(make(), Err(Error::Listen { .. })) || !path.ends_with("p.sock"));
        drop(other);
        assert_eq!(client.rest().await.unwrap(), "");
        assert_eq!(server.rest().await.unwrap(), "");
        assert!(!Path::new(&path).exists());
    }
    assert!(folder.path().exists());
}
