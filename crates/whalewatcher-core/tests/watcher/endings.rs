//! How a watch ends.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use whalewatcher_core::scripted::{Call, Connection, Engine, Moment};
use whalewatcher_core::{EngineClient, EngineError, EngineWatcher, ErrorKind, Phase, WatchError, watch};

use crate::{container, live, next};

#[tokio::test(start_paused = true)]
async fn closing_ends_the_watch_the_subscriptions_and_the_waiting_for_ready() {
    let engine = Engine::new();
    engine.refuse(ErrorKind::Unreachable, "nobody there");
    let watching = watch(engine.clone());
    let watcher = watching.watcher().clone();
    let (_, changes) = watcher.subscribe();
    let waiting = tokio::spawn({
        let watcher = watcher.clone();
        async move { watcher.ready().await }
    });
    engine.asked(|calls| calls.connects == 5).await;
    watching.close().await;
    assert!(matches!(waiting.await.unwrap(), Err(WatchError::Closed)));
    assert!(changes.collect::<Vec<_>>().await.iter().all(|event| event.kind.name() == "disconnected"));
    assert!(matches!(watcher.watch(CancellationToken::new()).await, Err(WatchError::Closed)));
    let (_, mut after) = watcher.subscribe();
    assert!(after.next().await.is_none());
}

/// As a packer of rucksacks may do that an application brings along.
struct Panicking;

impl EngineClient for Panicking {
    type Connection = Connection;

    fn engine_type(&self) -> &str {
        "panicking"
    }

    fn endpoint(&self) -> &str {
        "nowhere"
    }

    async fn connect(&self) -> Result<Connection, EngineError> {
        panic!("scripted panic")
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_panics_leaves_nobody_waiting() {
    let watching = watch(Panicking);
    let WatchError::GaveUp { error } =
        timeout(Duration::from_secs(1), watching.ready()).await.unwrap().unwrap_err()
    else {
        panic!("it gave up")
    };
    assert_eq!(
        error.to_string(),
        "the watch panicked, in the engine client or in what the application gave it"
    );
    assert!(matches!(watching.status().phase, Phase::Failed { .. }));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_watching_closes() {
    let (engine, watching) = live(&["a"]).await;
    let watcher = watching.watcher().clone();
    drop(watching);
    assert!(matches!(watcher.ready().await, Err(WatchError::Closed)));
    engine.asked(|calls| calls.open == 0).await;
    assert_eq!(watcher.portfolio(), engine.truth(), "the last picture stays readable");
}

#[tokio::test(start_paused = true)]
async fn two_watches_at_once_are_an_error_and_one_after_the_other_are_not() {
    let engine = Engine::new();
    engine.start(container("a", 1));
    let watcher = EngineWatcher::new(engine.clone());
    let token = CancellationToken::new();
    let both = futures_util::future::join(watcher.watch(token.clone()), async {
        watcher.ready().await.unwrap();
        let second = watcher.watch(CancellationToken::new()).await;
        token.cancel();
        second
    });
    let (first, second) = both.await;
    assert!(first.is_ok() && matches!(second, Err(WatchError::AlreadyWatching)));
    assert!(matches!(watcher.status().phase, Phase::Idle));
    engine.exit("a", None);
    let (_, mut changes) = watcher.subscribe();
    let token = CancellationToken::new();
    let again = futures_util::future::join(watcher.watch(token.clone()), async {
        assert_eq!(next(&mut changes, 2).await, ["exited a", "synced"]);
        token.cancel();
    });
    assert!(again.await.0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn cancelling_during_the_back_off_ends_the_watch_at_once() {
    let engine = Engine::new();
    engine.refuse(ErrorKind::Unreachable, "nobody there");
    let watcher = EngineWatcher::new(engine.clone());
    let token = CancellationToken::new();
    let watch = timeout(Duration::from_secs(600), watcher.watch(token.clone()));
    let (watched, at_once) = futures_util::future::join(watch, async {
        engine.asked(|calls| calls.connects == 10).await;
        let mut status = watcher.follow_status();
        status
            .wait_for(|status| matches!(status.phase, Phase::Disconnected { .. }))
            .await
            .expect("a watcher");
        token.cancel();
        Instant::now()
    })
    .await;
    assert!(matches!(watched, Ok(Ok(()))));
    assert_eq!(at_once.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_watch_wherever_it_waits_leaves_nothing_behind() {
    for (call, moment) in [
        (Call::Connect, Moment::BeforeLooking),
        (Call::Subscribe, Moment::BeforeLooking),
        (Call::Subscribe, Moment::BeforeAnswering),
        (Call::List, Moment::BeforeLooking),
        (Call::List, Moment::BeforeAnswering),
        (Call::Inspect, Moment::BeforeAnswering),
    ] {
        let engine = Engine::new();
        engine.start(container("a", 1));
        engine.hold(call, moment);
        let watcher = EngineWatcher::new(engine.clone());
        {
            let mut watching = Box::pin(watcher.watch(CancellationToken::new()));
            while (&mut watching).now_or_never().is_none()
                && (engine.calls().connects == 0
                    || call == Call::List && engine.calls().lists == 0
                    || call == Call::Inspect && engine.calls().inspecting == 0)
            {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!((engine.calls().open, engine.calls().inspecting), (0, 0), "{call:?} {moment:?}");
        engine.release(call);
        let token = CancellationToken::new();
        let (watched, ()) = futures_util::future::join(watcher.watch(token.clone()), async {
            watcher.ready().await.unwrap();
            assert_eq!(watcher.portfolio(), engine.truth(), "{call:?} {moment:?}");
            token.cancel();
        })
        .await;
        watched.unwrap();
    }
}
