//! Audits, stalled event streams, and counters.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::scripted::{Call, Engine, Moment};
use whalewatcher_core::{ErrorKind, Phase, Settings, watch, watch_with};

use crate::{container, live, next, short};

#[tokio::test(start_paused = true)]
async fn an_audit_repairs_and_counts_drift() {
    for whole in [false, true] {
        let engine = Engine::new().with_whole_lists(whole);
        for id in ["exits", "paused", "renamed", "stays"] {
            engine.start(container(id, 1));
        }
        let watching = watch(engine.clone());
        watching.ready().await.unwrap();
        let (mut fold, mut changes) = watching.subscribe();
        engine.be_silent(true);
        engine.exit("exits", Some(0));
        engine.pause("paused", true);
        engine.rename("renamed", "other");
        engine.start(container("starts", 3));
        let began = Instant::now();
        let mut reported = Vec::new();
        while fold != engine.truth() {
            let event = changes.next().await.unwrap();
            fold.apply(&event.kind);
            reported.push(short(&event));
        }
        assert!((50..=70).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        reported.sort();
        assert_eq!(reported, ["exited exits", "paused paused", "started starts", "updated renamed"]);
        let counters = watching.status().counters;
        assert_eq!((counters.audits, counters.drifted, counters.lists), (1, 4, 2));
        assert!(counters.last_drift.is_some());
        assert_eq!(engine.calls().connects, 1, "without giving up the connection");
    }
}

#[tokio::test(start_paused = true)]
async fn audits_without_drift_cost_one_list_and_announce_nothing() {
    let (engine, watching) = live(&["a", "b"]).await;
    engine.pause("a", true);
    let (_, mut changes) = watching.subscribe();
    engine.asked(|calls| calls.lists == 10).await;
    engine.exit("b", None);
    while next(&mut changes, 1).await != ["exited b"] {}
    let counters = watching.status().counters;
    assert_eq!((counters.audits, counters.drifted, counters.inspections), (9, 0, 2));
    assert!(changes.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_change_during_an_audit_is_no_drift() {
    for moment in [Moment::BeforeLooking, Moment::BeforeAnswering] {
        let (engine, watching) = live(&["a", "b"]).await;
        let (mut fold, mut changes) = watching.subscribe();
        engine.hold(Call::List, moment);
        engine.asked(|calls| calls.lists == 2).await;
        engine.exit("a", None);
        engine.start(container("c", 3));
        engine.pause("b", true);
        engine.release(Call::List);
        while fold != engine.truth() {
            fold.apply(&changes.next().await.unwrap().kind);
        }
        engine.asked(|calls| calls.lists == 4).await;
        assert_eq!((watching.status().counters.drifted, watching.portfolio()), (0, engine.truth()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_inspection_longer_than_the_grace_period_is_no_drift() {
    let engine = Engine::new();
    let settings = Settings::default().with_audits(Duration::from_secs(4));
    let watching = watch_with(engine.clone(), settings);
    watching.ready().await.unwrap();
    let (_, mut changes) = watching.subscribe();
    engine.hold(Call::Inspect, Moment::BeforeAnswering);
    engine.start(container("a", 1));
    engine.asked(|calls| calls.lists == 2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    engine.release(Call::Inspect);
    assert_eq!(next(&mut changes, 1).await, ["started a"]);
    assert_eq!(watching.status().counters.drifted, 0, "the event came");
}

#[tokio::test(start_paused = true)]
async fn an_audit_that_fails_waits_for_the_next_one() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    engine.be_silent(true);
    engine.exit("a", None);
    engine.fail_lists(1);
    assert_eq!(next(&mut changes, 1).await, ["exited a"], "without giving up the connection");
    let counters = watching.status().counters;
    assert_eq!((counters.audits, counters.drifted, counters.connects), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_engine_without_lists_is_disconnected() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    engine.hold(Call::List, Moment::BeforeLooking);
    assert_eq!(next(&mut changes, 1).await, ["disconnected"]);
    assert!(engine.calls().lists >= 2);
}

#[tokio::test(start_paused = true)]
async fn audits_begin_when_live_and_never_overlap() {
    let engine = Engine::new();
    engine.start(container("a", 1));
    engine.fail("a", 1);
    engine.hold(Call::Inspect, Moment::BeforeAnswering);
    let limit = Duration::from_secs(30);
    let settings = Settings::default()
        .with_audits(Duration::from_secs(4))
        .with_limits(limit, limit, limit)
        .with_probes(None, limit);
    let watching = watch_with(engine.clone(), settings);
    let (_, mut changes) = watching.subscribe();
    tokio::time::sleep(limit - Duration::from_secs(1)).await;
    assert_eq!((watching.status().counters.audits, engine.calls().lists), (0, 1));
    // An audit may begin as soon as it is live.
    engine.hold(Call::List, Moment::BeforeAnswering);
    engine.release(Call::Inspect);
    watching.ready().await.unwrap();
    assert_eq!(next(&mut changes, 2).await, ["synced", "started a"]);
    engine.asked(|calls| calls.lists == 2).await;
    tokio::time::sleep(limit / 2).await;
    assert_eq!((watching.status().counters.audits, engine.calls().lists), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn only_silence_is_checked() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    for nth in 0..100 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        engine.pause("a", nth % 2 == 0);
        next(&mut changes, 1).await;
    }
    assert_eq!(engine.calls().probes, 0);
}

#[tokio::test(start_paused = true)]
async fn audits_and_probes_can_be_disabled() {
    let engine = Engine::new();
    let settings = Settings::default().with_audits(None).with_probes(None, Duration::from_secs(1));
    let watching = watch_with(engine.clone(), settings);
    watching.ready().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((engine.calls().lists, engine.calls().probes), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_silence_is_no_error() {
    let (engine, watching) = live(&["a"]).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((engine.calls().connects, engine.calls().all_inspections()), (1, 1));
    assert!(watching.status().is_live());
    assert!((800..=900).contains(&engine.calls().probes), "{} checks", engine.calls().probes);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stops_answering_is_detected_within_15_seconds() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    engine.hold(Call::Probe, Moment::BeforeLooking);
    let began = Instant::now();
    assert_eq!(next(&mut changes, 1).await, ["disconnected"]);
    assert!(began.elapsed() <= Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(next(&mut changes, 1).await, ["synced"]);
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_no_sign_that_the_engine_answers() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    let began = Instant::now();
    engine.hold(Call::Probe, Moment::BeforeLooking);
    engine.hold(Call::List, Moment::BeforeLooking);
    tokio::time::sleep(Duration::from_secs(3)).await;
    engine.emit(&EngineEvent::Gap);
    assert_eq!(next(&mut changes, 1).await, ["disconnected"]);
    assert!(began.elapsed() <= Duration::from_secs(15), "{:?}", began.elapsed());
    engine.release(Call::List);
    assert_eq!(next(&mut changes, 1).await, ["synced"]);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_event_stream_is_detected_within_15_seconds() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    engine.stall(true);
    engine.exit("a", None);
    let began = Instant::now();
    assert_eq!(next(&mut changes, 1).await, ["disconnected"]);
    assert!(began.elapsed() <= Duration::from_secs(15), "{:?}", began.elapsed());
    engine.stall(false);
    assert_eq!(next(&mut changes, 2).await, ["exited a", "synced"]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        watching.status().counters.connects,
        2,
        "and what it reported before is no reason for another alarm"
    );
}

#[tokio::test(start_paused = true)]
async fn counters_report_what_was_done() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    let began = watching.status();
    engine.fail("b", 1);
    engine.start(container("b", 2));
    for id in ["unknown", "missing"] {
        engine.emit(&EngineEvent::Changed { id: id.into(), at: None });
    }
    assert_eq!(next(&mut changes, 1).await, ["started b"]);
    assert!(began.counters.events < watching.status().counters.events);
    let (Phase::Live { since: before }, Phase::Live { since: now }) = (began.phase, watching.status().phase)
    else {
        panic!("live all the time")
    };
    assert_eq!(before, now);
    engine.disconnect();
    assert_eq!(next(&mut changes, 2).await, ["disconnected", "synced"]);
    let counters = watching.status().counters;
    assert_eq!((counters.connects, counters.resyncs, counters.lists), (2, 2, 2));
    assert_eq!((counters.events, counters.ignored), (3, 2));
    assert_eq!((counters.inspections, counters.retries), (1 + 2 + 2, 1));
    assert_eq!((counters.malformed, counters.lagged), (0, 0));
    assert_eq!((counters.audits, counters.drifted, counters.last_drift), (0, 0, None));
    engine.refuse(ErrorKind::Malformed, "gibberish");
    engine.disconnect();
    engine.asked(|calls| calls.connects == 5).await;
    let counters = watching.status().counters;
    assert_eq!((counters.connects, counters.malformed), (5, 3), "two were not refused");
}
