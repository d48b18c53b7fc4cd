//! Subscribers that join, lag and never read.

use futures_util::FutureExt;
use whalewatcher_core::scripted::Engine;
use whalewatcher_core::{EventKind, Settings, Subscription, watch, watch_with};

use crate::{container, event, next};

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_never_reads_later_gets_the_difference() {
    let engine = Engine::new();
    let watching = watch_with(engine.clone(), Settings::default().with_subscriber_queue(4));
    watching.ready().await.unwrap();
    let (mut lazy, mut unread) = watching.subscribe();
    let (mut eager, mut read) = watching.subscribe();
    for nth in 0..50_u32 {
        engine.start(container(&nth.to_string(), 1 + nth));
        eager.apply(&event(&mut read).await.kind);
        if nth % 2 == 0 {
            engine.exit(&nth.to_string(), Some(0));
            eager.apply(&event(&mut read).await.kind);
        }
        assert_eq!(eager, engine.truth());
    }
    let lagged = unread.next().await.unwrap();
    assert!(matches!(lagged.kind, EventKind::Lagged { missed: 75 }), "{lagged}");
    for _ in 0..engine.truth().total() {
        lazy.apply(&unread.next().await.unwrap().kind);
    }
    assert_eq!(lazy, engine.truth());
    assert!(unread.next().now_or_never().is_none());
}

/// Pauses and unpauses a container that many times, and waits for each event.
async fn toggle(engine: &Engine, read: &mut Subscription, times: usize) {
    for nth in 0..2 * times {
        engine.pause("1", nth % 2 == 0);
        event(read).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lagging_subscriber_still_receives_synced() {
    let engine = Engine::new();
    let watching = watch_with(engine.clone(), Settings::default().with_subscriber_queue(2));
    let (_, mut changes) = watching.subscribe();
    watching.ready().await.unwrap();
    let (_, mut read) = watching.subscribe();
    for nth in 1..9 {
        engine.start(container(&nth.to_string(), nth));
        read.next().await.unwrap();
    }
    toggle(&engine, &mut read, 8).await;
    let reported = next(&mut changes, 10).await;
    assert_eq!((reported[0].as_str(), reported[9].as_str()), ("lagged", "synced"));
    engine.disconnect();
    assert_eq!(next(&mut changes, 2).await, ["disconnected", "synced"], "and from there on all is reported");
}

#[tokio::test(start_paused = true)]
async fn a_lagging_subscriber_receives_the_current_number_of_containers() {
    let engine = Engine::new();
    engine.start(container("first", 100));
    let watching = watch_with(engine.clone(), Settings::default().with_subscriber_queue(2));
    let (mut fold, mut changes) = watching.subscribe();
    watching.ready().await.unwrap();
    let (_, mut read) = watching.subscribe();
    for nth in 1..9 {
        engine.start(container(&nth.to_string(), nth));
        read.next().await.unwrap();
    }
    toggle(&engine, &mut read, 8).await;
    let synced = loop {
        let event = changes.next().await.unwrap();
        fold.apply(&event.kind);
        if let EventKind::Synced { containers, .. } = event.kind {
            break containers;
        }
    };
    assert_eq!((synced, fold.total()), (9, 9), "it was one when the watcher got in sync");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_reads_after_ready_misses_nothing() {
    let engine = Engine::new();
    for nth in 0..200_u32 {
        engine.start(container(&nth.to_string(), 1 + nth));
    }
    let watching = watch_with(engine.clone(), Settings::default().with_subscriber_queue(1));
    let (_, mut changes) = watching.subscribe();
    watching.ready().await.unwrap();
    let reported = next(&mut changes, 201).await;
    assert!(
        reported[..200].iter().all(|reported| reported.starts_with("started ")) && reported[200] == "synced",
        "{reported:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn snapshot_and_changes_join_without_gap_or_overlap() {
    let engine = Engine::new();
    let watching = watch(engine.clone());
    let mut subscribers = Vec::new();
    for nth in 0..40_u32 {
        subscribers.push(watching.subscribe());
        engine.start(container(&nth.to_string(), 1 + nth));
        if nth % 3 == 0 {
            tokio::task::yield_now().await;
        }
        subscribers.push(watching.subscribe());
    }
    watching.ready().await.unwrap();
    let (mut last, mut changes) = watching.subscribe();
    engine.start(container("end", 99));
    while last.by_id("end").is_none() {
        last.apply(&changes.next().await.unwrap().kind);
    }
    for (mut fold, mut changes) in subscribers {
        while fold.by_id("end").is_none() {
            let event = changes.next().await.unwrap();
            let known = event.container().and_then(|container| fold.by_id(container.id()));
            assert!(known.is_none(), "started once, not in the snapshot: {event}");
            fold.apply(&event.kind);
        }
        assert_eq!(fold, engine.truth());
    }
}
