//! Inspections: stale, failing, hanging, many.

use std::sync::Arc;
use std::task::{Context, Wake};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, advance, sleep, timeout};
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::scripted::{Call, Engine, Moment};
use whalewatcher_core::{EventKind, Portfolio, Settings, watch, watch_with};

use crate::{container, event, live, next, until_synced};

#[tokio::test(start_paused = true)]
async fn an_answer_older_than_an_event_is_followed_by_one_more() {
    let (engine, watching) = live(&["a"]).await;
    engine.hold(Call::Inspect, Moment::BeforeAnswering);
    engine.rename("a", "first");
    engine.asked(|calls| calls.inspections_of("a") == 2).await;
    engine.rename("a", "second");
    engine.pause("a", true);
    let (mut fold, mut changes) = watching.subscribe();
    engine.release(Call::Inspect);
    while fold != engine.truth() {
        fold.apply(&changes.next().await.unwrap().kind);
    }
    assert_eq!(engine.calls().inspections_of("a"), 3, "one more follows, whatever came meanwhile");
}

#[tokio::test(start_paused = true)]
async fn an_exit_during_an_inspection_is_not_undone_by_its_answer() {
    let (engine, watching) = live(&["a", "last"]).await;
    engine.hold(Call::Inspect, Moment::BeforeAnswering);
    engine.rename("a", "other");
    engine.asked(|calls| calls.inspections_of("a") == 2).await;
    let (_, mut changes) = watching.subscribe();
    engine.exit("a", Some(0));
    assert_eq!(next(&mut changes, 1).await, ["exited a"], "at once, not only when the answer has come");
    engine.release(Call::Inspect);
    engine.asked(|calls| calls.inspecting == 0).await;
    engine.exit("last", Some(0));
    assert_eq!(next(&mut changes, 1).await, ["exited last"]);
    assert_eq!(watching.portfolio(), engine.truth());
}

#[tokio::test(start_paused = true)]
async fn an_exit_inspected_before_its_event_has_a_code() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    engine.be_silent(true);
    engine.exit("a", Some(7));
    engine.be_silent(false);
    engine.emit(&EngineEvent::Changed { id: "a".into(), at: None });
    engine.asked(|calls| calls.inspections_of("a") == 2 && calls.inspecting == 0).await;
    assert!(changes.next().now_or_never().is_none(), "its event gets its time");
    let at = Some(engine.clock());
    engine.emit(&EngineEvent::Exited { id: "a".into(), pid: None, at, code: Some(7) });
    let exited = changes.next().await.unwrap();
    assert!(matches!(exited.kind, EventKind::Exited { code: Some(7), .. }), "{exited}");
    assert_eq!(Some(exited.time), at);
}

#[tokio::test(start_paused = true)]
async fn an_exit_without_an_event_has_no_code() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    engine.be_silent(true);
    engine.exit("a", Some(7));
    let began = Instant::now();
    engine.be_silent(false);
    engine.emit(&EngineEvent::Changed { id: "a".into(), at: None });
    let exited = changes.next().await.unwrap();
    assert!(matches!(exited.kind, EventKind::Exited { code: None, .. }), "{exited}");
    assert!(began.elapsed() <= Duration::from_secs(2) && watching.portfolio().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_hints_costs_two_inspections_at_most() {
    let (engine, watching) = live(&["a"]).await;
    let (mut fold, mut changes) = watching.subscribe();
    for nth in 0..1000 {
        engine.rename("a", &nth.to_string());
    }
    while fold.by_name("999").is_none() {
        fold.apply(&changes.next().await.unwrap().kind);
    }
    assert!(engine.calls().inspections_of("a") <= 3, "one when it was listed, two since then");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_inspection_delays_no_other() {
    let engine = Engine::new();
    engine.start(container("hangs", 1));
    engine.start(container("b", 2));
    engine.hang("hangs", true);
    let watching = watch(engine.clone());
    let (_, mut changes) = watching.subscribe();
    let began = Instant::now();
    assert_eq!(next(&mut changes, 1).await, ["started b"]);
    engine.start(container("c", 3));
    assert_eq!(next(&mut changes, 1).await, ["started c"], "events go on too");
    assert_eq!(began.elapsed(), Duration::ZERO);
    watching.ready().await.unwrap();
    assert_eq!(watching.status().unresolved.total(), 1);
    assert_eq!(next(&mut changes, 1).await, ["synced"]);
    engine.hang("hangs", false);
    assert_eq!(next(&mut changes, 1).await, ["started hangs"]);
    assert_eq!(watching.status().unresolved.total(), 0);
}

/// A subscriber whose waker takes 600 ms.
struct TakesLong;

impl Wake for TakesLong {
    fn wake(self: Arc<Self>) {
        let _ = advance(Duration::from_millis(600)).now_or_never();
    }
}

#[tokio::test(start_paused = true)]
async fn an_inspection_that_becomes_slow_during_a_publication_makes_room() {
    let engine = Engine::new();
    engine.start(container("known", 1));
    let watching = watch_with(engine.clone(), Settings::default().with_inspections(1));
    watching.ready().await.unwrap();
    let (_, mut changes) = watching.subscribe();
    let waker = Arc::new(TakesLong).into();
    assert!(changes.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
    engine.hang("hangs", true);
    for (id, pid) in [("hangs", 2), ("b", 3)] {
        engine.start(container(id, pid));
    }
    engine.pause("known", true);
    let began = Instant::now();
    engine.asked(|calls| calls.inspections_of("b") == 1).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(next(&mut changes, 2).await, ["paused known", "started b"]);
}

#[tokio::test(start_paused = true)]
async fn failed_inspections_are_retried_with_growing_delays() {
    let (engine, watching) = live(&["a"]).await;
    engine.fail("b", 5);
    let began = Instant::now();
    engine.start(container("b", 2));
    let (_, mut changes) = watching.subscribe();
    assert_eq!(next(&mut changes, 1).await, ["started b"]);
    assert_eq!(engine.calls().inspections_of("b"), 6);
    let whole = Duration::from_millis(100 + 200 + 400 + 800 + 1600);
    assert!(began.elapsed() >= whole / 2 && began.elapsed() <= whole + Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_failing_inspection_keeps_the_last_known_state() {
    let (engine, watching) = live(&["a"]).await;
    engine.fail("a", 3);
    let (_, mut changes) = watching.subscribe();
    engine.disconnect();
    assert_eq!(next(&mut changes, 2).await, ["disconnected", "synced"]);
    assert_eq!((watching.portfolio(), watching.status().unresolved.total()), (engine.truth(), 1));
}

#[tokio::test(start_paused = true)]
async fn inspections_in_flight_are_limited() {
    let engine = Engine::new();
    for id in 0..100 {
        engine.start(container(&id.to_string(), 1 + id));
    }
    engine.hold(Call::Inspect, Moment::BeforeAnswering);
    let watching = watch(engine.clone());
    let many = engine.asked(|calls| calls.inspecting == 16);
    timeout(Duration::from_secs(5), many).await.expect("not one after another");
    engine.release(Call::Inspect);
    watching.ready().await.unwrap();
    assert_eq!(engine.calls().most_inspecting, 16);
    assert_eq!(engine.calls().all_inspections(), 100);
}

#[tokio::test(start_paused = true)]
async fn an_exit_without_an_event_is_announced_before_ready() {
    let engine = Engine::new();
    engine.start(container("a", 1));
    engine.start(container("hangs", 2));
    engine.hang("hangs", true);
    let watching = watch(engine.clone());
    let (_, mut changes) = watching.subscribe();
    assert_eq!(next(&mut changes, 1).await, ["started a"]);
    let began = Instant::now();
    engine.be_silent(true);
    engine.exit("a", Some(0));
    engine.be_silent(false);
    engine.emit(&EngineEvent::Changed { id: "a".into(), at: None });
    assert_eq!(next(&mut changes, 1).await, ["exited a"]);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn hanging_inspections_delay_others_only_briefly() {
    for (hanging, at_first) in [(16, Duration::from_millis(500)), (60, Duration::from_secs(2))] {
        let engine = Engine::new();
        for id in 0..hanging {
            engine.start(container(&id.to_string(), 1 + id));
            engine.hang(&id.to_string(), true);
        }
        engine.start(container("last", 99));
        let watching = watch(engine.clone());
        let (mut fold, mut changes) = watching.subscribe();
        let began = Instant::now();
        assert_eq!(next(&mut changes, 1).await, ["started last"]);
        assert!(began.elapsed() <= at_first, "{hanging} hang: {:?}", began.elapsed());
        let status = watching.ready().await.unwrap();
        assert_eq!(status.unresolved.total(), hanging as usize);
        assert!(
            status.unresolved.containers().iter().all(|it| it.name == Some(format!("name of {}", it.id)))
        );
        assert_eq!(until_synced(&mut fold, &mut changes).await, ["synced"]);
        for nth in 0..20 {
            sleep(Duration::from_secs(3)).await;
            let (id, began) = (format!("new {nth}"), Instant::now());
            engine.start(container(&id, 1000 + nth));
            assert_eq!(next(&mut changes, 1).await, [format!("started {id}")]);
            assert_eq!(began.elapsed(), Duration::ZERO, "{hanging} hang");
        }
        assert!(engine.calls().most_inspecting <= 64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_answered_with_not_alive_is_inspected_again() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    let at = Some(engine.clock());
    engine.emit(&EngineEvent::Started { id: "b".into(), at, pid: None, preview: None });
    engine.asked(|calls| calls.inspections_of("b") == 1 && calls.inspecting == 0).await;
    engine.be_silent(true);
    engine.start(container("b", 2));
    assert_eq!(next(&mut changes, 1).await, ["started b"]);
    assert_eq!(engine.calls().inspections_of("b"), 2);
    assert_eq!(watching.status().counters.retries, 0, "none failed");
}

#[tokio::test(start_paused = true)]
async fn a_fast_changing_container_is_shown_and_ready_comes() {
    for whole in [false, true] {
        let engine = Engine::new().with_whole_lists(whole);
        engine.start(container("calm", 1));
        engine.start(container("pauses", 2));
        engine.start(container("is renamed", 3));
        engine.delay_inspections(Duration::from_millis(60));
        let watching = watch(engine.clone());
        let change = async {
            for nth in 0_u32.. {
                engine.pause("pauses", nth % 2 == 0);
                engine.rename("is renamed", &nth.to_string());
                engine.exit("restarts", Some(0));
                engine.start(container("restarts", 100 + nth));
                sleep(Duration::from_millis(7)).await;
            }
        };
        let see = async {
            let status = timeout(Duration::from_secs(60), watching.ready()).await.expect("ready").unwrap();
            assert!(status.unresolved.is_empty());
            for _ in 0..20 {
                let seen = watching.portfolio();
                assert!(
                    ["calm", "pauses", "is renamed"].iter().all(|id| seen.by_id(id).is_some()),
                    "{seen:?}"
                );
                let name = |seen: &Portfolio| seen.by_id("is renamed").unwrap().name().to_owned();
                sleep(Duration::from_millis(150)).await;
                assert_ne!(name(&seen), name(&watching.portfolio()), "it follows");
            }
        };
        tokio::select! {
            () = change => {}
            () = see => {}
        }
        let (mut fold, mut changes) = watching.subscribe();
        while fold != engine.truth() {
            fold.apply(&event(&mut changes).await.kind);
        }
    }
}
