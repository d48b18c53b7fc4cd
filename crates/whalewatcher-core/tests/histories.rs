//! Long random histories of an engine and its subscribers: every fold equals the portfolio, and finally the portfolio
//! equals the truth.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::time::timeout;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::scripted::{Call, Engine, Moment};
use whalewatcher_core::{
    Container, Event, EventKind, Life, Portfolio, Settings, Subscription, WatchHandle, watch_with,
};

#[derive(Clone, Debug)]
enum Step {
    Start(u8),
    Exit(u8),
    Pause(u8, bool),
    Rename(u8, u8),
    /// A container's next inspections fail.
    Fail(u8, usize),
    /// A container's inspections hang, or are answered again.
    Hang(u8, bool),
    Hold(Call, Moment),
    Release(Call),
    Disconnect,
    /// The engine reports the exit of a life that goes on, which the witness knows.
    Lie(u8),
    /// Events are lost, or no longer.
    Silence(bool),
    /// Event streams are stalled, or no longer.
    Stall(bool),
    /// Time passes, in milliseconds.
    Wait(u16),
    /// The watcher runs, but no time passes.
    Yield,
    Subscribe,
    Unsubscribe(usize),
    /// A subscriber reads at most that many events.
    Read(usize, u8),
}

const CALLS: [Call; 6] =
    [Call::Connect, Call::Subscribe, Call::List, Call::Inspect, Call::Probe, Call::Witness];

fn steps() -> impl Strategy<Value = Step> {
    let call = proptest::sample::select(CALLS.to_vec());
    let moment = prop_oneof![Just(Moment::BeforeLooking), Just(Moment::BeforeAnswering)];
    prop_oneof![
        8 => (0..5_u8).prop_map(Step::Start),
        6 => (0..5_u8).prop_map(Step::Exit),
        3 => (0..5_u8, any::<bool>()).prop_map(|(id, paused)| Step::Pause(id, paused)),
        2 => (0..5_u8, 0..3_u8).prop_map(|(id, name)| Step::Rename(id, name)),
        1 => (0..5_u8, 1..4_usize).prop_map(|(id, times)| Step::Fail(id, times)),
        1 => (0..5_u8, any::<bool>()).prop_map(|(id, hanging)| Step::Hang(id, hanging)),
        2 => (call.clone(), moment).prop_map(|(call, moment)| Step::Hold(call, moment)),
        4 => call.prop_map(Step::Release),
        1 => Just(Step::Disconnect),
        1 => (0..5_u8).prop_map(Step::Lie),
        1 => any::<bool>().prop_map(Step::Silence),
        1 => any::<bool>().prop_map(Step::Stall),
        2 => (0..2000_u16).prop_map(Step::Wait),
        8 => Just(Step::Yield),
        1 => Just(Step::Subscribe),
        1 => (0..4_usize).prop_map(Step::Unsubscribe),
        6 => (0..4_usize, 1..9_u8).prop_map(|(subscriber, events)| Step::Read(subscriber, events)),
    ]
}

/// A subscriber with the fold of its events.
struct Subscriber {
    fold: Portfolio,
    changes: Subscription,
    started: HashSet<Life>,
    exited: HashSet<Life>,
    lagged: bool,
}

impl Subscriber {
    fn new(watching: &WatchHandle<Engine>) -> Self {
        let (fold, changes) = watching.subscribe();
        let started = fold.containers().map(|container| container.life()).collect();
        Self { fold, changes, started, exited: HashSet::new(), lagged: false }
    }

    /// Folds an event, which must be consistent with those before.
    fn take(&mut self, event: &Event, events_lost: bool) {
        let known = event.container().and_then(|container| self.fold.by_id(container.id()));
        match &event.kind {
            EventKind::Started(container) => {
                assert!(known.is_none(), "{event}, but there is {known:?}");
                // A container whose exit was lost can be announced again, and so can one that lagging hid.
                let again = !self.started.insert(container.life());
                assert!(!again || self.lagged || events_lost, "{event} again");
            }
            EventKind::Exited { container, .. } => {
                assert_eq!(known.map(|known| known.life()), Some(container.life()), "{event}");
                let again = !self.exited.insert(container.life());
                assert!(!again || self.lagged || events_lost, "{event} again");
            }
            EventKind::Paused(container)
            | EventKind::Unpaused(container)
            | EventKind::Updated { container, .. } => {
                let known = known.expect("only what is known changes");
                assert_eq!(known.life(), container.life(), "{event}");
                assert_ne!(known, container, "{event}, but it was so before");
            }
            EventKind::Lagged { missed } => {
                assert!(*missed > 0);
                self.lagged = true;
            }
            _ => {}
        }
        self.fold.apply(&event.kind);
    }
}

async fn play(history: Vec<Step>, whole: bool, queue: usize, has_witness: bool) {
    let engine = Engine::new().with_whole_lists(whole);
    let witness = has_witness.then(|| engine.witness());
    let settings = Settings::default().with_subscriber_queue(queue).with_witness(witness);
    let watching = watch_with(engine.clone(), settings);
    let mut subscribers = vec![Subscriber::new(&watching)];
    let mut events_lost = false;
    let mut pid = 0;
    for step in history {
        match step {
            Step::Start(id) => {
                let id = id.to_string();
                // Another life under the same ID begins only after this one.
                if engine.truth().by_id(&id).is_none() {
                    pid += 1;
                    engine.start(Container::new(id.clone(), format!("name of {id}"), pid));
                }
            }
            Step::Exit(id) => engine.exit(&id.to_string(), Some(i32::from(id))),
            Step::Pause(id, paused) => {
                let id = id.to_string();
                if engine.truth().by_id(&id).is_some_and(|container| container.paused() != paused) {
                    engine.pause(&id, paused);
                }
            }
            Step::Rename(id, name) => engine.rename(&id.to_string(), &format!("other {name}")),
            Step::Fail(id, times) => engine.fail(&id.to_string(), times),
            Step::Hang(id, hanging) => engine.hang(&id.to_string(), hanging),
            Step::Hold(call, moment) => engine.hold(call, moment),
            Step::Release(call) => engine.release(call),
            Step::Disconnect => engine.disconnect(),
            Step::Lie(id) if has_witness => {
                let (known, truth) = (watching.portfolio(), engine.truth());
                let known = known.by_id(&id.to_string()).cloned();
                // Where the life is not known, there is none to be watched.
                if let Some(known) = known
                    .filter(|known| truth.by_id(known.id()).is_some_and(|now| now.life() == known.life()))
                {
                    let (id, at) = (known.id().clone(), engine.clock() + Duration::from_millis(1));
                    let pid = whole.then_some(known.pid());
                    engine.emit(&EngineEvent::Exited { id, pid, at: Some(at), code: Some(99) });
                }
            }
            Step::Lie(_) => {}
            Step::Silence(silent) => {
                events_lost |= silent;
                engine.be_silent(silent);
            }
            Step::Stall(stalled) => {
                events_lost |= stalled;
                engine.stall(stalled);
            }
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis.into())).await,
            Step::Yield => tokio::task::yield_now().await,
            Step::Subscribe if subscribers.len() < 4 => subscribers.push(Subscriber::new(&watching)),
            Step::Subscribe => {}
            Step::Unsubscribe(which) => {
                if which < subscribers.len() {
                    subscribers.swap_remove(which);
                }
            }
            Step::Read(which, events) => {
                let Some(subscriber) = subscribers.get_mut(which) else { continue };
                for _ in 0..events {
                    let Some(event) = subscriber.changes.next().now_or_never() else { break };
                    subscriber.take(&event.expect("no end"), events_lost);
                }
            }
        }
    }
    for call in CALLS {
        engine.release(call);
    }
    for id in 0..5_u8 {
        engine.hang(&id.to_string(), false);
    }
    engine.be_silent(false);
    engine.stall(false);
    subscribers.push(Subscriber::new(&watching));
    // Enough for retries of all failures and, if events were lost, for two audits.
    let settled = async {
        tokio::time::sleep(Duration::from_secs(180)).await;
        watching.ready().await.expect("the engine is there");
    };
    timeout(Duration::from_secs(600), settled).await.expect("it is live again");
    assert_eq!(watching.portfolio(), engine.truth());
    for mut subscriber in subscribers {
        while let Some(event) = subscriber.changes.next().now_or_never() {
            subscriber.take(&event.expect("no end"), events_lost);
        }
        assert_eq!(subscriber.fold, engine.truth());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn every_fold_equals_the_portfolio_and_finally_the_truth(
        history in proptest::collection::vec(steps(), 0..200),
        whole in any::<bool>(),
        queue in prop_oneof![Just(1_usize), Just(4), Just(1024)],
        has_witness in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(play(history, whole, queue, has_witness));
    }
}
