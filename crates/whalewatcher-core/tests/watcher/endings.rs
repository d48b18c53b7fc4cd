//! How a watch ends.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use whalewatcher_core::adapter::{EngineClient, Hook};
use whalewatcher_core::scripted::{Call, Connection, Engine, Moment};
use whalewatcher_core::{EngineError, EngineWatcher, ErrorKind, Phase, Settings, WatchError, watch};

use crate::{container, event, live, next, until_synced};

#[tokio::test(start_paused = true)]
async fn closing_ends_watch_subscriptions_and_waiting_for_ready() {
    let engine = Engine::new();
    engine.refuse(ErrorKind::Unreachable, "nothing there");
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

/// A scripted engine with hooks.
struct Hooked {
    engine: Engine,
    watching: Hook,
    attempting: Hook,
}

impl EngineClient for Hooked {
    type Connection = Connection;

    fn engine_type(&self) -> &str {
        self.engine.engine_type()
    }

    fn endpoint(&self) -> &str {
        self.engine.endpoint()
    }

    async fn before_watch(&self) -> Result<(), EngineError> {
        self.watching.call().await
    }

    async fn before_attempt(&self) -> Result<(), EngineError> {
        self.attempting.call().await
    }

    async fn connect(&self, settings: &Settings) -> Result<Connection, EngineError> {
        self.engine.connect(settings).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_or_panics_ends_all_waiting() {
    let refusing = || Hook::new(|| async { Err(EngineError::new(ErrorKind::Failed, "no")) });
    let panic: fn() -> Result<(), EngineError> = || panic!("scripted panic");
    let panicking = || Hook::new(move || async move { panic() });
    let panicked =
        "the watch panicked, in the engine client or in what the application gave it: scripted panic";
    for (watching, attempting, reason, status) in [
        (refusing(), Hook::default(), "no", "not watching: no"),
        (panicking(), Hook::default(), panicked, panicked),
        (Hook::default(), panicking(), panicked, panicked),
    ] {
        let watcher = EngineWatcher::new(Hooked { engine: Engine::new(), watching, attempting });
        let (_, mut changes) = watcher.subscribe();
        let watching = tokio::spawn(watcher.watch(CancellationToken::new()));
        let ready = watcher.ready().await.unwrap_err();
        let ended = watching.await.unwrap().unwrap_err();
        assert_eq!(ready.to_string(), ended.to_string());
        assert_eq!(matches!(ready, WatchError::Refused { .. }), reason == "no");
        assert_eq!(matches!(ready, WatchError::Panicked { .. }), reason == panicked);
        assert_eq!(watcher.status().to_string(), status);
        assert_eq!(event(&mut changes).await.kind.to_string(), format!("disconnected: {reason}"));
        assert!(changes.next().now_or_never().is_none(), "once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cancelled_or_dropped_is_reported_to_all() {
    for drops in [false, true] {
        let engine = Engine::new();
        engine.start(container("a", 1));
        let watcher = EngineWatcher::new(engine.clone());
        assert!(matches!(watcher.ready().await, Err(WatchError::NotWatched)));
        for _ in 0..2 {
            let token = CancellationToken::new();
            let watching = tokio::spawn(watcher.watch(token.clone()));
            watcher.ready().await.unwrap();
            let (mut fold, mut changes) = watcher.subscribe();
            match drops {
                true => watching.abort(),
                false => token.cancel(),
            }
            assert_eq!(watching.await.is_err(), drops);
            assert_eq!(event(&mut changes).await.kind.to_string(), "disconnected: the watch was cancelled");
            assert!(matches!(watcher.ready().await, Err(WatchError::Cancelled)));
            assert_eq!(watcher.status().to_string(), "cancelled");
            let watching = tokio::spawn(watcher.watch(CancellationToken::new()));
            assert_eq!(
                until_synced(&mut fold, &mut changes).await,
                ["synced"],
                "it goes on when watched again"
            );
            watching.abort();
            assert_eq!(next(&mut changes, 1).await, ["disconnected"]);
        }
        // Without a connection there is no disconnect.
        let (_, mut changes) = watcher.subscribe();
        drop(watcher.watch(CancellationToken::new()));
        assert!(changes.next().now_or_never().is_none());
        assert!(matches!(watcher.ready().await, Err(WatchError::Cancelled)));
    }
}

#[test]
fn a_watch_whose_runtime_ends_is_reported_to_all() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (theirs, ours) = (runtime(), runtime());
    let watching = {
        let _guard = theirs.enter();
        watch(Engine::new())
    };
    ours.block_on(watching.ready()).unwrap();
    let (_, mut changes) = watching.subscribe();
    drop(theirs);
    assert!(matches!(ours.block_on(watching.ready()), Err(WatchError::Cancelled)));
    assert_eq!(ours.block_on(next(&mut changes, 1)), ["disconnected"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_begins_when_it_is_called() {
    let watcher = EngineWatcher::new(Engine::new());
    let watching = watcher.watch(CancellationToken::new());
    let second = watcher.watch(CancellationToken::new()).await;
    assert!(matches!(second, Err(WatchError::AlreadyWatching)));
    let ready = watcher.ready();
    tokio::select! {
        ready = ready => assert!(ready.unwrap().is_live()),
        _ = watching => panic!("it goes on"),
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_watching_closes() {
    let (engine, watching) = live(&["a"]).await;
    let watcher = watching.watcher().clone();
    drop(watching);
    assert!(matches!(watcher.ready().await, Err(WatchError::Closed)));
    engine.asked(|calls| calls.open == 0).await;
    assert_eq!(watcher.portfolio(), engine.truth(), "the last portfolio stays readable");
}

#[tokio::test(start_paused = true)]
async fn two_watches_at_once_are_an_error() {
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
    assert!(matches!(watcher.status().phase, Phase::Cancelled));
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
    engine.refuse(ErrorKind::Unreachable, "nothing there");
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
async fn dropping_the_watch_at_any_await_point_releases_everything() {
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

/// Watches again as soon as it is woken, within the call of the waker.
struct WatchesAgain {
    watcher: EngineWatcher<Engine>,
    outcomes: mpsc::Sender<bool>,
    watch: Mutex<Option<BoxFuture<'static, Result<(), WatchError>>>>,
}

impl Wake for WatchesAgain {
    fn wake(self: Arc<Self>) {
        let mut watch = self.watcher.watch(CancellationToken::new()).boxed();
        // A watch that could not begin ends at its first poll.
        let begun = watch.as_mut().now_or_never().is_none();
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
        let _ = self.outcomes.send(begun);
    }
}

#[test]
fn a_waker_can_watch_again_when_a_watch_ends() {
    for of_status in [false, true] {
        let (outcomes, outcome) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _entered = runtime.enter();
            let watcher = EngineWatcher::new(Engine::new());
            let watching = runtime.spawn(watcher.watch(CancellationToken::new()));
            runtime.block_on(watcher.ready()).unwrap();
            let (_, mut changes) = watcher.subscribe();
            let mut status = watcher.follow_status();
            let again = Arc::new(WatchesAgain { watcher, outcomes, watch: Mutex::default() });
            let waker = Waker::from(again.clone());
            let mut context = Context::from_waker(&waker);
            let mut changed = Box::pin(status.changed());
            match of_status {
                true => assert!(changed.as_mut().poll(&mut context).is_pending()),
                false => assert!(changes.poll_next_unpin(&mut context).is_pending()),
            }
            watching.abort();
            assert!(runtime.block_on(watching).is_err());
            again.watch.lock().unwrap().take();
        });
        // Without a result, the waker waits for a lock that the end of the watch holds.
        assert_eq!(outcome.recv_timeout(Duration::from_secs(30)), Ok(true), "{of_status}");
    }
}
