//! What a witness knows of the ends of lives, against what the engine reports.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use tokio::time::Instant;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::scripted::{Call, Engine, Moment};
use whalewatcher_core::{
    Container, EngineIdentity, ErrorKind, Event, EventKind, SeenBy, Settings, Subscription, WatchHandle,
    Witness, WitnessedLife, watch_with,
};

use crate::{container, event, short};

const GRACE: Duration = Duration::from_millis(250);

/// Returns an engine with the containers `a` and `b`, a live watcher of it that has a witness, and a subscription.
async fn witnessed() -> (Engine, WatchHandle<Engine>, Subscription) {
    let engine = Engine::new();
    engine.start(container("a", 1));
    engine.start(container("b", 2));
    let watching = watch_with(engine.clone(), Settings::default().with_witness(engine.witness()));
    let status = watching.ready().await.expect("a scripted engine answers");
    assert_eq!((status.witnessed, status.unwitnessed), (2, 0));
    let (_, changes) = watching.subscribe();
    (engine, watching, changes)
}

/// Returns an exit in short: its container, its code, and what reported it.
fn exit(event: &Event) -> (String, Option<i32>, SeenBy) {
    let EventKind::Exited { container, code } = &event.kind else { panic!("{event} is no exit") };
    (container.id().to_string(), *code, event.seen_by)
}

#[tokio::test(start_paused = true)]
async fn the_engines_own_event_has_the_code() {
    let (engine, _watching, mut changes) = witnessed().await;
    let began = Instant::now();
    engine.exit("a", Some(3));
    assert_eq!(exit(&event(&mut changes).await), ("a".into(), Some(3), SeenBy::Engine));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_engine_does_not_report_is_known_after_the_grace_period() {
    let (engine, watching, mut changes) = witnessed().await;
    engine.be_silent(true);
    let began = Instant::now();
    engine.exit("a", Some(3));
    assert_eq!(exit(&event(&mut changes).await), ("a".into(), None, SeenBy::Kernel));
    assert_eq!(began.elapsed(), GRACE);
    assert_eq!((watching.status().witnessed, watching.status().counters.contradictions), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_end_is_known_at_once_while_the_engine_cannot_be_reached_and_is_not_published_again() {
    let (engine, watching, mut changes) = witnessed().await;
    engine.refuse(ErrorKind::Unreachable, "away");
    engine.disconnect();
    assert_eq!(short(&event(&mut changes).await), "disconnected");
    let began = Instant::now();
    engine.exit("a", Some(3));
    assert_eq!(exit(&event(&mut changes).await), ("a".into(), None, SeenBy::Kernel));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(watching.portfolio().by_id("a").is_none() && !watching.status().is_live());
    engine.accept();
    assert_eq!(short(&event(&mut changes).await), "synced");
    assert_eq!(watching.portfolio(), engine.truth());
}

#[tokio::test(start_paused = true)]
async fn an_end_is_known_at_once_while_a_connection_is_being_established() {
    for call in [Call::Connect, Call::Subscribe, Call::List] {
        let (engine, _watching, mut changes) = witnessed().await;
        engine.hold(call, Moment::BeforeLooking);
        engine.disconnect();
        assert_eq!(short(&event(&mut changes).await), "disconnected");
        engine.asked(|calls| calls.connects == 2 && (call != Call::List || calls.lists == 2)).await;
        let began = Instant::now();
        engine.be_silent(true);
        engine.exit("a", Some(3));
        assert_eq!(exit(&event(&mut changes).await), ("a".into(), None, SeenBy::Kernel), "{call:?}");
        assert_eq!(began.elapsed(), Duration::ZERO, "{call:?}");
        engine.release(call);
        assert_eq!(short(&event(&mut changes).await), "synced", "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_waits_for_the_engine_is_known_at_once_when_the_connection_is_lost() {
    let (engine, _watching, mut changes) = witnessed().await;
    engine.be_silent(true);
    engine.exit("a", None);
    tokio::time::sleep(GRACE / 2).await;
    let began = Instant::now();
    engine.disconnect();
    assert_eq!(exit(&event(&mut changes).await), ("a".into(), None, SeenBy::Kernel));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(short(&event(&mut changes).await), "disconnected");
}

#[tokio::test(start_paused = true)]
async fn an_end_is_known_at_once_while_the_engine_is_silent() {
    let (engine, _watching, mut changes) = witnessed().await;
    engine.hold(Call::Probe, Moment::BeforeLooking);
    engine.asked(|calls| calls.probes == 1).await;
    tokio::time::sleep(GRACE).await;
    engine.be_silent(true);
    let began = Instant::now();
    engine.exit("a", Some(3));
    assert_eq!(exit(&event(&mut changes).await), ("a".into(), None, SeenBy::Kernel));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_left_an_end_unreported_is_silent_until_its_next_sign_of_life() {
    let (engine, _watching, mut changes) = witnessed().await;
    for (id, pid) in [("c", 3), ("d", 4), ("e", 5)] {
        engine.start(container(id, pid));
        assert_eq!(short(&event(&mut changes).await), format!("started {id}"));
    }
    engine.be_silent(true);
    let mut delay_of = async |id: &str| {
        let began = Instant::now();
        engine.exit(id, Some(3));
        assert_eq!(exit(&event(&mut changes).await), (id.into(), None, SeenBy::Kernel));
        began.elapsed()
    };
    assert_eq!(delay_of("a").await, GRACE);
    assert_eq!(delay_of("b").await, Duration::ZERO);
    // It answers the next probe.
    let probed = engine.calls().probes;
    engine.asked(|calls| calls.probes > probed).await;
    assert_eq!(delay_of("c").await, GRACE);
    assert_eq!(delay_of("d").await, Duration::ZERO);
    // It emits an event, and that of the next end within the grace period.
    engine.be_silent(false);
    engine.start(container("f", 6));
    assert_eq!(short(&event(&mut changes).await), "started f");
    engine.be_silent(true);
    engine.exit("e", Some(5));
    tokio::time::sleep(GRACE / 2).await;
    engine.be_silent(false);
    engine.emit(&EngineEvent::Exited { id: "e".into(), pid: None, at: Some(engine.clock()), code: Some(5) });
    let ended = event(&mut changes).await;
    assert_eq!(exit(&ended).1, Some(5), "{ended}");
}

/// Emits an exit of `a` that is not true.
fn lie(engine: &Engine) {
    let at = Some(engine.clock() + Duration::from_millis(1));
    engine.emit(&EngineEvent::Exited { id: "a".into(), pid: None, at, code: Some(1) });
}

#[tokio::test(start_paused = true)]
async fn a_false_exit_of_a_life_that_goes_on_is_not_published() {
    let (engine, watching, mut changes) = witnessed().await;
    lie(&engine);
    let preview = Box::new(container("a", 0));
    let at: Option<SystemTime> = Some(engine.clock() + Duration::from_millis(2));
    engine.emit(&EngineEvent::Started { id: "a".into(), at, pid: None, preview: Some(preview) });
    engine.asked(|calls| calls.inspections_of("a") >= 2 && calls.inspecting == 0).await;
    engine.exit("b", Some(0));
    assert_eq!(short(&event(&mut changes).await), "exited b");
    assert_eq!(watching.status().counters.contradictions, 1);
    assert_eq!(watching.portfolio(), engine.truth());
}

#[tokio::test(start_paused = true)]
async fn an_answer_and_a_list_that_lack_a_life_that_goes_on_do_not_end_it() {
    let (engine, watching, mut changes) = witnessed().await;
    engine.hide("a", true);
    assert!(watching.refresh(&"a".into()));
    engine.asked(|calls| calls.inspections_of("a") == 2 && calls.inspecting == 0).await;
    engine.disconnect();
    assert_eq!(short(&event(&mut changes).await), "disconnected");
    assert_eq!(short(&event(&mut changes).await), "synced");
    assert!(watching.portfolio().by_id("a").is_some());
    assert_eq!(watching.status().counters.contradictions, 2);
    engine.hide("a", false);
    engine.exit("a", Some(4));
    assert_eq!(exit(&event(&mut changes).await), ("a".into(), Some(4), SeenBy::Engine));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_still_shows_an_ended_life_does_not_bring_it_back() {
    let (engine, watching, mut changes) = witnessed().await;
    engine.hold(Call::Inspect, Moment::BeforeAnswering);
    assert!(watching.refresh(&"a".into()));
    engine.asked(|calls| calls.inspecting == 1).await;
    engine.be_silent(true);
    engine.exit("a", Some(3));
    assert_eq!(exit(&event(&mut changes).await), ("a".into(), None, SeenBy::Kernel));
    engine.release(Call::Inspect);
    engine.asked(|calls| calls.inspecting == 0).await;
    engine.be_silent(false);
    engine.exit("b", None);
    assert_eq!(short(&event(&mut changes).await), "exited b");
    assert_eq!(watching.status().counters.contradictions, 1);
}

/// A witness that watches nothing, and reads what a subscriber has received whenever it is asked about a life.
#[derive(Debug, Default)]
struct Reader {
    changes: Mutex<Option<Subscription>>,
    read: Mutex<Vec<String>>,
}

impl Witness for Reader {
    fn observe(&self, _: &Container, _: Option<&EngineIdentity>) -> Option<Arc<dyn WitnessedLife>> {
        let mut changes = self.changes.lock().expect("no test panics with this lock");
        let received = changes.as_mut().and_then(|changes| changes.next().now_or_never().flatten());
        self.read.lock().expect("no test panics with this lock").extend(received.map(|event| short(&event)));
        None
    }
}

#[tokio::test(start_paused = true)]
async fn subscribers_do_not_wait_for_the_witness() {
    let (engine, reader) = (Engine::new(), Arc::new(Reader::default()));
    let witness: Arc<dyn Witness> = reader.clone();
    let watching = watch_with(engine.clone(), Settings::default().with_witness(witness));
    watching.ready().await.expect("a scripted engine answers");
    *reader.changes.lock().expect("no test panics with this lock") = Some(watching.subscribe().1);
    let (_, mut changes) = watching.subscribe();
    engine.start(container("a", 1));
    assert_eq!(short(&event(&mut changes).await), "started a");
    assert_eq!(*reader.read.lock().expect("no test panics with this lock"), ["started a"]);
    assert_eq!((watching.status().witnessed, watching.status().unwitnessed), (0, 1));
}
