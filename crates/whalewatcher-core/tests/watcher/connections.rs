//! Lost and refused connections, and reconnects.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use whalewatcher_core::adapter::{EngineClient, EngineConnection, EngineEvent, Listing};
use whalewatcher_core::scripted::{Call, Engine, Moment};
use whalewatcher_core::{
    Backoff, ChangeSource, Container, ContainerId, EngineError, EngineIdentity, EngineWatcher, ErrorKind,
    Event, EventKind, Phase, Settings, Status, WatchError, watch, watch_with,
};

use crate::{container, event, live, next, short, until_synced};

#[tokio::test(start_paused = true)]
async fn a_reconnect_announces_exactly_what_changed() {
    for whole in [false, true] {
        let engine = Engine::new().with_whole_lists(whole);
        for id in ["exits", "paused", "renamed", "restarts", "stays"] {
            engine.start(container(id, 1));
        }
        let watching = watch(engine.clone());
        watching.ready().await.unwrap();
        let (mut fold, mut changes) = watching.subscribe();
        engine.disconnect();
        assert_eq!(next(&mut changes, 1).await, ["disconnected"]);
        assert_eq!(watching.portfolio().total(), 5, "the last known portfolio stays");
        engine.exit("exits", Some(0));
        engine.pause("paused", true);
        engine.rename("renamed", "other");
        engine.exit("restarts", Some(0));
        engine.start(container("restarts", 2));
        engine.start(container("starts", 3));
        let mut events = until_synced(&mut fold, &mut changes).await;
        let restart: Vec<_> = events.iter().filter(|event| event.contains("restarts")).cloned().collect();
        assert_eq!(restart, ["exited restarts", "started restarts"]);
        events.sort();
        assert_eq!(
            events,
            [
                "exited exits",
                "exited restarts",
                "paused paused",
                "started restarts",
                "started starts",
                "synced",
                "updated renamed"
            ]
        );
        assert_eq!((&fold, &watching.portfolio()), (&engine.truth(), &engine.truth()));
    }
}

/// Inspections can be ahead of the event stream. If the connection is lost in between, the stream of the next
/// one, which begins a little earlier, may contain the start of a life that was announced already.
#[tokio::test(start_paused = true)]
async fn a_start_reported_after_a_reconnect_ends_nothing() {
    let (engine, watching) = live(&["a"]).await;
    let began = watching.portfolio().by_id("a").and_then(|known| known.started_at()).unwrap();
    let (_, mut changes) = watching.subscribe();
    engine.hold(Call::Inspect, Moment::BeforeLooking);
    engine.disconnect();
    assert_eq!(next(&mut changes, 1).await, ["disconnected"]);
    engine.asked(|calls| calls.inspecting == 1).await;
    let at = Some(began + Duration::from_millis(10));
    let preview = Some(Box::new(container("a", 0)));
    engine.emit(&EngineEvent::Started { id: "a".into(), at, pid: None, preview });
    engine.release(Call::Inspect);
    assert_eq!(next(&mut changes, 1).await, ["synced"]);
    assert_eq!(watching.portfolio(), engine.truth());
}

#[tokio::test(start_paused = true)]
async fn a_life_reported_after_two_reconnects_is_not_announced_again() {
    let (engine, watching) = live(&["a", "last"]).await;
    let began = watching.portfolio().by_id("a").and_then(|known| known.started_at()).unwrap();
    let (_, mut changes) = watching.subscribe();
    engine.hold(Call::Inspect, Moment::BeforeLooking);
    engine.disconnect();
    engine.asked(|calls| calls.inspecting == 2).await;
    engine.be_silent(true);
    engine.exit("a", Some(0));
    engine.be_silent(false);
    engine.release(Call::Inspect);
    assert_eq!(next(&mut changes, 3).await, ["disconnected", "exited a", "synced"]);
    engine.disconnect();
    assert_eq!(next(&mut changes, 2).await, ["disconnected", "synced"]);
    let at = |millis| Some(began + Duration::from_millis(millis));
    let preview = Some(Box::new(container("a", 0)));
    engine.emit(&EngineEvent::Started { id: "a".into(), at: at(10), pid: None, preview });
    engine.emit(&EngineEvent::Exited { id: "a".into(), pid: None, at: at(20), code: Some(0) });
    engine.asked(|calls| calls.inspecting == 0).await;
    engine.exit("last", None);
    assert_eq!(next(&mut changes, 1).await, ["exited last"]);
    assert_eq!(watching.portfolio(), engine.truth());
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_without_changes_announces_nothing() {
    let (engine, watching) = live(&["a", "b"]).await;
    let revision = watching.portfolio().revision();
    let (_, mut changes) = watching.subscribe();
    engine.disconnect();
    assert_eq!(next(&mut changes, 2).await, ["disconnected", "synced"]);
    assert_eq!(watching.portfolio().revision(), revision);
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_an_unconfirmed_survivor_is_inspected() {
    let (engine, watching) = live(&["a"]).await;
    let (mut fold, mut changes) = watching.subscribe();
    engine.hold(Call::List, Moment::BeforeLooking);
    engine.disconnect();
    engine.asked(|calls| calls.lists == 2).await;
    engine.be_silent(true);
    engine.exit("a", None);
    engine.start(container("a", 2));
    engine.be_silent(false);
    engine.pause("a", true);
    engine.release(Call::List);
    let events = until_synced(&mut fold, &mut changes).await;
    assert_eq!(events, ["disconnected", "exited a", "started a", "synced"]);
    assert_eq!(fold, engine.truth());
}

#[tokio::test(start_paused = true)]
async fn a_restart_after_a_failed_list_is_announced() {
    for whole in [false, true] {
        let (engine, watching) = live(&["a"]).await;
        let engine = engine.with_whole_lists(whole);
        let (mut fold, mut changes) = watching.subscribe();
        engine.hold(Call::List, Moment::BeforeAnswering);
        engine.disconnect();
        engine.asked(|calls| calls.lists == 2).await;
        engine.exit("a", Some(0));
        assert_eq!(next(&mut changes, 2).await, ["disconnected", "exited a"]);
        engine.disconnect();
        engine.start(container("a", 2));
        engine.release(Call::List);
        fold.apply(&EventKind::Exited { container: fold.by_id("a").unwrap().clone(), code: None });
        assert_eq!(until_synced(&mut fold, &mut changes).await, ["started a", "synced"]);
        assert_eq!(
            (&fold, &watching.portfolio()),
            (&engine.truth(), &engine.truth()),
            "whole lists: {whole}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_back_off_grows_and_resets_after_a_healthy_connection() {
    let engine = Engine::new();
    engine.refuse(ErrorKind::Unreachable, "nothing there");
    let watching = watch(engine.clone());
    engine.asked(|calls| calls.connects == 15).await;
    let before = Instant::now();
    engine.asked(|calls| calls.connects == 16).await;
    assert!(before.elapsed() >= Duration::from_secs(5), "at its longest by now");
    engine.accept();
    watching.ready().await.unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    let lost = Instant::now();
    let connects = engine.calls().connects;
    engine.disconnect();
    engine.asked(|calls| calls.connects > connects).await;
    assert!(lost.elapsed() <= Duration::from_millis(110), "{:?}", lost.elapsed());
}

#[tokio::test(start_paused = true)]
async fn connections_that_break_at_once_are_backed_off() {
    let (engine, watching) = live(&[]).await;
    let (_, mut changes) = watching.subscribe();
    let began = Instant::now();
    for _ in 0..12 {
        engine.disconnect();
        assert_eq!(next(&mut changes, 2).await, ["disconnected", "synced"]);
    }
    assert!(began.elapsed() > Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_watch_gives_up_after_the_allowed_attempts_with_the_reason() {
    let engine = Engine::new();
    engine.refuse(ErrorKind::PermissionDenied, "not yours");
    for (attempts, reported) in [(1, &["not yours"][..]), (3, &["not yours", "gave up: not yours"])] {
        let connects = engine.calls().connects;
        let settings = Settings::default().with_backoff(Backoff::default().with_attempts(attempts));
        let watching = watch_with(engine.clone(), settings);
        let (_, mut changes) = watching.subscribe();
        let Err(WatchError::GaveUp { error }) = watching.ready().await else { panic!("not ready") };
        assert_eq!((error.to_string().as_str(), engine.calls().connects - connects), ("not yours", attempts));
        assert!(matches!(watching.status().phase, Phase::Failed { .. }));
        for reason in reported {
            assert_eq!(reason_of(&event(&mut changes).await), *reason);
        }
        assert!(changes.next().now_or_never().is_none());
    }
}

fn reason_of(event: &Event) -> String {
    let EventKind::Disconnected { error } = &event.kind else { panic!("{event}") };
    error.to_string()
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_reported_once_and_the_status_has_its_newest_reason() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    let mut status = watching.follow_status();
    for _ in 0..2 {
        engine.refuse(ErrorKind::Unreachable, "nothing there");
        engine.disconnect();
        assert_eq!(reason_of(&event(&mut changes).await), "scripted disconnect");
        for reason in ["nothing there", "not yours"] {
            engine.refuse(ErrorKind::Unreachable, reason);
            let is_so = |status: &Status| status.to_string() == format!("disconnected: {reason}");
            status.wait_for(is_so).await.expect("a watcher");
        }
        // A connection that does not become live is part of the outage.
        engine.fail_lists(2);
        engine.accept();
        assert_eq!(next(&mut changes, 1).await, ["synced"]);
    }
}

#[tokio::test(start_paused = true)]
async fn exits_carry_the_engine_that_the_container_was_in() {
    let engine = Engine::new();
    engine.set_id("old");
    for id in ["goes", "goes later", "is replaced", "stays"] {
        engine.start(container(id, 1));
    }
    let watching = watch(engine.clone());
    watching.ready().await.unwrap();
    let (_, mut changes) = watching.subscribe();
    engine.set_id("new");
    engine.disconnect();
    engine.exit("goes", None);
    engine.exit("is replaced", None);
    engine.start(container("is replaced", 2));
    engine.start(container("comes", 2));
    let mut reported = Vec::new();
    for nth in 0..7 {
        if nth == 6 {
            engine.exit("stays", Some(0));
        }
        let event = event(&mut changes).await;
        reported.push(format!("{} of {}", short(&event), event.engine.as_ref().expect("an engine").id));
    }
    reported.sort();
    assert_eq!(
        reported,
        [
            "disconnected of old",
            "exited goes of old",
            "exited is replaced of old",
            "exited stays of new",
            "started comes of new",
            "started is replaced of new",
            "synced of new",
        ]
    );
    assert_eq!(watching.identity().expect("an engine").id, "new");
    // The next connection did not confirm it either.
    engine.set_id("newest");
    engine.disconnect();
    engine.exit("goes later", None);
    let reported = [event(&mut changes).await, event(&mut changes).await];
    let reported =
        reported.map(|event| format!("{} of {}", short(&event), event.engine.expect("an engine").id));
    assert_eq!(reported, ["disconnected of new", "exited goes later of new"]);
}

/// An engine that sends events as fast as they are read, up to a number at which the test has failed.
#[derive(Clone)]
struct Flood {
    /// Whether it yields `Subscribed` before.
    subscribes: bool,
    taken: Arc<AtomicUsize>,
}

impl EngineClient for Flood {
    type Connection = Self;

    fn engine_type(&self) -> &str {
        "flood"
    }

    fn endpoint(&self) -> &str {
        "nowhere"
    }

    async fn connect(&self, _: &Settings) -> Result<Self, EngineError> {
        Ok(self.clone())
    }
}

impl EngineConnection for Flood {
    fn identity(&self) -> EngineIdentity {
        EngineIdentity::new("flood", "nowhere")
    }

    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        let subscribed = self.subscribes.then_some(EngineEvent::Subscribed);
        let flood = (0..1_000_000).map(|_| {
            self.taken.fetch_add(1, Ordering::Relaxed);
            match self.subscribes {
                true => EngineEvent::Changed { id: "a".into(), at: None },
                false => EngineEvent::Source(ChangeSource::Hints),
            }
        });
        stream::iter(subscribed.into_iter().chain(flood).map(Ok)).chain(stream::pending())
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        Ok(Listing::default())
    }

    async fn inspect(&self, _: &ContainerId) -> Result<Option<Container>, EngineError> {
        Ok(None)
    }
}

#[tokio::test]
async fn cancelling_works_at_once_during_a_flood_of_events() {
    for subscribes in [true, false] {
        let flood = Flood { subscribes, taken: Arc::default() };
        let watcher = EngineWatcher::new(flood.clone());
        let token = CancellationToken::new();
        // All tasks share one thread.
        let watching = tokio::spawn(watcher.watch(token.clone()));
        while flood.taken.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let before = flood.taken.load(Ordering::Relaxed);
        token.cancel();
        watching.await.unwrap().unwrap();
        let after = flood.taken.load(Ordering::Relaxed) - before;
        assert!(before + after <= 5_000, "{before} events were taken before, {after} after");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_list_ends_the_connection_and_another_begins() {
    let engine = Engine::new();
    engine.fail_lists(1);
    let watching = watch(engine.clone());
    let (_, mut changes) = watching.subscribe();
    assert_eq!(next(&mut changes, 2).await, ["disconnected", "synced"]);
    assert_eq!((engine.calls().connects, engine.calls().lists), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn every_call_has_a_time_limit() {
    for (call, limit) in [(Call::Connect, 10), (Call::Subscribe, 10), (Call::List, 30)] {
        let engine = Engine::new();
        engine.hold(call, Moment::BeforeLooking);
        let began = Instant::now();
        let watching = watch(engine.clone());
        let (_, mut changes) = watching.subscribe();
        let reported = event(&mut changes).await;
        let EventKind::Disconnected { error } = reported.kind else { panic!("{reported}") };
        assert_eq!((error.kind(), began.elapsed().as_secs()), (ErrorKind::TimedOut, limit), "{call:?}");
        engine.release(call);
        watching.ready().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_source_of_changes_is_reported_for_each_connection() {
    let polling = ChangeSource::Polling { every: Duration::from_secs(1) };
    let engine = Engine::new().with_source(ChangeSource::Hints);
    engine.start(container("a", 1));
    let watching = watch(engine.clone());
    let mut status = watching.follow_status();
    assert_eq!(status.status().source, None, "it is not connected yet");
    watching.ready().await.unwrap();
    assert_eq!(watching.status().source, Some(ChangeSource::Hints));

    let (_, mut changes) = watching.subscribe();
    engine.emit(&EngineEvent::Source(polling));
    status.wait_for(|status| status.source == Some(polling)).await.unwrap();
    let why = Some(Arc::new(EngineError::new(ErrorKind::PermissionDenied, "no events for you")));
    engine.emit(&EngineEvent::Fallback(why.clone()));
    let fallen = status.wait_for(|status| status.fallback == why).await.unwrap();
    assert_eq!(fallen.to_string(), "live, by polling every 1 s because no events for you");
    engine.emit(&EngineEvent::Fallback(None));
    status.wait_for(|status| status.fallback.is_none()).await.unwrap();
    engine.emit(&EngineEvent::Fallback(why));
    status.wait_for(|status| status.fallback.is_some()).await.unwrap();
    assert!(changes.next().now_or_never().is_none(), "nothing of that is reported to subscribers");
    let counters = watching.status().counters;
    assert_eq!((counters.events, counters.lists), (0, 1), "it is no event, and no reason to list");

    engine.refuse(ErrorKind::Unreachable, "away");
    engine.disconnect();
    status.wait_for(|status| matches!(status.phase, Phase::Disconnected { .. })).await.unwrap();
    assert_eq!((watching.status().source, watching.status().fallback), (None, None));
    let engine = engine.with_source(ChangeSource::Events);
    engine.accept();
    assert!(status.wait_for(Status::is_live).await.is_some());
    assert_eq!(watching.status().source, Some(ChangeSource::Events));
}
