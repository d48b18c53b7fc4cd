//! Long random histories of a fleet whose engines share containers, join, leave and fail: every fold equals
//! the portfolio, and finally the portfolio equals the union of what the engines hold.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::task::yield_now;
use tokio::time::sleep;
use whalewatcher_core::fleet::{FleetEvent, FleetPortfolio, FleetSubscription};
use whalewatcher_core::scripted::{Call, Engine, Moment};
use whalewatcher_core::{Container, EngineWatcher, ErrorKind, EventKind, Fleet, Layer, Portfolio, Settings};

use crate::{LIMIT, key};

#[derive(Clone, Debug)]
enum Step {
    /// A container of a dockerd starts, or exits; containerd knows it as well and reports it before or after that.
    Start(u8, Order),
    Exit(u8, Order),
    Pause(u8, bool),
    Rename(u8, u8),
    /// A container of containerd alone, in a namespace that a dockerd uses too or in another.
    StartBelow(bool),
    ExitBelow(bool),
    /// A container on another host, with the ID of one here.
    StartElsewhere(u8),
    ExitElsewhere(u8),
    Join(usize),
    Leave(usize),
    Disconnect(usize),
    Refuse(usize),
    Accept(usize),
    Hold(usize, Call, Moment),
    Release(usize, Call),
    /// Events of an engine are lost, or no longer.
    Silence(usize, bool),
    /// Time passes, in milliseconds.
    Wait(u16),
    Yield,
    Subscribe,
    Unsubscribe(usize),
    Read(usize, u8),
}

/// Which engine reports first, and whether the fleet runs in between.
#[derive(Clone, Copy, Debug)]
struct Order {
    below_first: bool,
    pause: bool,
}

const CALLS: [Call; 4] = [Call::Connect, Call::Subscribe, Call::List, Call::Inspect];
const ENGINES: [&str; 4] = ["containerd", "one", "two", "tcp://whale:2375"];

fn steps() -> impl Strategy<Value = Step> {
    let order = (any::<bool>(), any::<bool>()).prop_map(|(below_first, pause)| Order { below_first, pause });
    let call = proptest::sample::select(CALLS.to_vec());
    let moment = prop_oneof![Just(Moment::BeforeLooking), Just(Moment::BeforeAnswering)];
    let engine = 0..ENGINES.len();
    prop_oneof![
        8 => (0..4_u8, order.clone()).prop_map(|(id, order)| Step::Start(id, order)),
        6 => (0..4_u8, order).prop_map(|(id, order)| Step::Exit(id, order)),
        1 => (0..4_u8, any::<bool>()).prop_map(|(id, paused)| Step::Pause(id, paused)),
        1 => (0..4_u8, 0..3_u8).prop_map(|(id, name)| Step::Rename(id, name)),
        1 => any::<bool>().prop_map(Step::StartBelow),
        1 => any::<bool>().prop_map(Step::ExitBelow),
        1 => (0..4_u8).prop_map(Step::StartElsewhere),
        1 => (0..4_u8).prop_map(Step::ExitElsewhere),
        2 => engine.clone().prop_map(Step::Join),
        1 => engine.clone().prop_map(Step::Leave),
        1 => engine.clone().prop_map(Step::Disconnect),
        1 => engine.clone().prop_map(Step::Refuse),
        2 => engine.clone().prop_map(Step::Accept),
        2 => (engine.clone(), call.clone(), moment).prop_map(|(at, call, moment)| Step::Hold(at, call, moment)),
        5 => (engine.clone(), call).prop_map(|(at, call)| Step::Release(at, call)),
        1 => (engine, any::<bool>()).prop_map(|(at, silent)| Step::Silence(at, silent)),
        2 => (0..4000_u16).prop_map(Step::Wait),
        8 => Just(Step::Yield),
        1 => Just(Step::Subscribe),
        1 => (0..4_usize).prop_map(Step::Unsubscribe),
        6 => (0..4_usize, 1..9_u8).prop_map(|(subscriber, events)| Step::Read(subscriber, events)),
    ]
}

/// What makes it right that a life is announced again.
#[derive(Default)]
struct Excuses {
    /// Events of engines were lost, or an engine left.
    lost: bool,
}

struct Subscriber {
    fold: FleetPortfolio,
    changes: FleetSubscription,
    started: HashSet<u32>,
    exited: HashSet<u32>,
    lagged: bool,
}

impl Subscriber {
    fn new(fleet: &Fleet) -> Self {
        let (fold, changes) = fleet.subscribe();
        let started = fold.containers().map(|(_, container)| container.pid()).collect();
        Self { fold, changes, started, exited: HashSet::new(), lagged: false }
    }

    /// Folds an event, which must be consistent with those before.
    fn take(&mut self, change: &FleetEvent, excuses: &Excuses) {
        let FleetEvent { key, event, revision, .. } = change;
        assert!(*revision >= self.fold.revision(), "{change}");
        let member = self.fold.member(key);
        assert_eq!(member.is_none(), matches!(event.kind, EventKind::Joined), "{change}");
        let portfolio = member.map(|member| member.portfolio().clone()).unwrap_or_default();
        let known = event.container().and_then(|container| portfolio.by_id(container.id()));
        // PIDs are used once here; 0 is that of lives that were too short.
        let may_repeat = self.lagged || excuses.lost;
        let is_excused = |again: bool, pid: u32| !again || pid == 0 || may_repeat;
        match &event.kind {
            EventKind::Started(container) => {
                assert!(known.is_none(), "{change}, but there is {known:?}");
                let again = !self.started.insert(container.pid());
                assert!(is_excused(again, container.pid()), "{change} again");
            }
            EventKind::Exited { container, .. } => {
                assert_eq!(known.map(|known| known.life()), Some(container.life()), "{change}");
                let again = !self.exited.insert(container.pid());
                assert!(is_excused(again, container.pid()), "{change} again");
            }
            EventKind::Moved { container, was, from } => {
                assert!(known.is_none(), "{change}, but there is {known:?}");
                let former = self.fold.member(from).and_then(|member| member.portfolio().by_id(was.id()));
                assert_eq!(former.map(|former| former.life()), Some(was.life()), "{change}");
                assert!([0, was.pid()].contains(&container.pid()), "{change}");
            }
            EventKind::Paused(container)
            | EventKind::Unpaused(container)
            | EventKind::Updated { container, .. } => {
                let known = known.expect("only what is known changes");
                assert_eq!(known.life(), container.life(), "{change}");
                assert_ne!(known, container, "{change}, but it was so before");
            }
            EventKind::Synced { containers, .. } => assert_eq!(*containers, portfolio.total(), "{change}"),
            EventKind::Left => assert!(portfolio.is_empty(), "{change}, but there is {portfolio}"),
            EventKind::Lagged { missed } => {
                assert!(*missed > 0);
                self.lagged = true;
            }
            _ => {}
        }
        self.fold.apply(change);
    }

    fn take_all(&mut self, excuses: &Excuses) {
        while let Some(change) = self.changes.next().now_or_never() {
            self.take(&change.expect("no end"), excuses);
        }
    }
}

/// A containerd, two dockerds on it, and a dockerd elsewhere.
struct Host {
    engines: [Engine; 4],
    pid: u32,
}

impl Host {
    fn new() -> Self {
        let [containerd, one, two, elsewhere] = ENGINES.map(Engine::at);
        let engines = [
            containerd.with_whole_lists(true).with_layer(Layer::Runtime, None),
            one.with_layer(Layer::Engine, Some("moby")),
            // Its namespace is not known from the beginning.
            two.with_layer(Layer::Engine, None),
            elsewhere.with_layer(Layer::Engine, Some("moby")),
        ];
        Self { engines, pid: 0 }
    }

    /// Returns the dockerd of a container, and the container's ID in containerd.
    fn of(&self, id: u8) -> (&Engine, String) {
        match id % 2 {
            0 => (&self.engines[1], format!("moby/{id}")),
            _ => (&self.engines[2], format!("two/{id}")),
        }
    }

    async fn both(&self, id: u8, order: Order, change: impl Fn(&Engine, &str)) {
        let (above, below) = self.of(id);
        let mut changes = [(&self.engines[0], below), (above, id.to_string())];
        if !order.below_first {
            changes.reverse();
        }
        for (engine, id) in changes {
            change(engine, &id);
            if order.pause {
                yield_now().await;
                yield_now().await;
            }
        }
    }

    async fn start(&mut self, id: u8, order: Order) {
        if self.of(id).0.truth().by_id(&id.to_string()).is_none() {
            self.pid += 1;
            let pid = self.pid;
            self.both(id, order, |engine, id| engine.start(Container::new(id, id, pid))).await;
        }
    }

    fn start_at(&mut self, engine: usize, id: &str) {
        if self.engines[engine].truth().by_id(id).is_none() {
            self.pid += 1;
            self.engines[engine].start(Container::new(id, id, self.pid));
        }
    }

    fn release_all(&self) {
        for engine in &self.engines {
            CALLS.into_iter().for_each(|call| engine.release(call));
            engine.accept();
            engine.be_silent(false);
        }
    }

    /// Returns what each engine is to show.
    fn truth(&self) -> [Portfolio; 4] {
        let mut truth = [0, 1, 2, 3].map(|nth| self.engines[nth].truth());
        for id in 0..4_u8 {
            let (above, below) = self.of(id);
            if above.truth().by_id(&id.to_string()).is_some()
                && let Some(container) = truth[0].by_id(&below).cloned()
            {
                truth[0].apply(&EventKind::Exited { container, code: None });
            }
        }
        truth
    }
}

fn below(known: bool) -> &'static str {
    if known { "moby/lone" } else { "lone" }
}

/// With a witness, each watcher has the word of its own.
async fn play(history: Vec<Step>, queue: usize, is_witnessed: bool) {
    let (mut host, mut excuses) = (Host::new(), Excuses::default());
    let fleet = Fleet::with_subscriber_queue(queue);
    let join = |engine: &Engine| {
        let settings = match is_witnessed {
            true => Settings::default().with_witness(engine.witness()),
            false => Settings::default(),
        };
        drop(fleet.add(EngineWatcher::with_settings(engine.clone(), settings)));
    };
    host.engines.iter().take(3).for_each(join);
    let mut subscribers = vec![Subscriber::new(&fleet)];
    for step in history {
        match step {
            Step::Start(id, order) => host.start(id, order).await,
            Step::Exit(id, order) => host.both(id, order, |engine, id| engine.exit(id, Some(1))).await,
            Step::Pause(id, paused) => {
                let (engine, id) = (host.of(id).0, id.to_string());
                if engine.truth().by_id(&id).is_some_and(|container| container.paused() != paused) {
                    engine.pause(&id, paused);
                }
            }
            Step::Rename(id, name) => host.of(id).0.rename(&id.to_string(), &format!("other {name}")),
            Step::StartBelow(known) => host.start_at(0, below(known)),
            Step::ExitBelow(known) => host.engines[0].exit(below(known), None),
            Step::StartElsewhere(id) => host.start_at(3, &id.to_string()),
            Step::ExitElsewhere(id) => host.engines[3].exit(&id.to_string(), None),
            Step::Join(nth) => join(&host.engines[nth]),
            Step::Leave(nth) => excuses.lost |= fleet.remove(&key(ENGINES[nth])),
            Step::Disconnect(nth) => host.engines[nth].disconnect(),
            Step::Refuse(nth) => host.engines[nth].refuse(ErrorKind::Unreachable, "down"),
            Step::Accept(nth) => host.engines[nth].accept(),
            Step::Hold(nth, call, moment) => host.engines[nth].hold(call, moment),
            Step::Release(nth, call) => host.engines[nth].release(call),
            Step::Silence(nth, silent) => {
                excuses.lost |= silent;
                host.engines[nth].be_silent(silent);
            }
            Step::Wait(millis) => sleep(Duration::from_millis(millis.into())).await,
            Step::Yield => yield_now().await,
            Step::Subscribe if subscribers.len() < 4 => subscribers.push(Subscriber::new(&fleet)),
            Step::Subscribe => {}
            Step::Unsubscribe(which) => {
                if which < subscribers.len() {
                    subscribers.swap_remove(which);
                }
            }
            Step::Read(which, events) => {
                let Some(subscriber) = subscribers.get_mut(which) else { continue };
                for _ in 0..events {
                    let Some(change) = subscriber.changes.next().now_or_never() else { break };
                    subscriber.take(&change.expect("no end"), &excuses);
                }
            }
        }
        let before = fleet.portfolio();
        for subscriber in
            subscribers.iter_mut().filter(|subscriber| subscriber.fold.revision() == before.revision())
        {
            assert_eq!(subscriber.fold, before);
        }
    }
    host.release_all();
    host.engines.iter().for_each(join);
    subscribers.push(Subscriber::new(&fleet));
    // Enough for retries of all failures and, if events were lost, for two audits.
    sleep(Duration::from_secs(180)).await;
    assert!(fleet.ready(LIMIT).await.is_complete());
    for (endpoint, truth) in ENGINES.into_iter().zip(host.truth()) {
        let now = fleet.portfolio();
        assert_eq!(now.member(&key(endpoint)).map(|member| member.portfolio()), Some(&truth), "{endpoint}");
    }
    for mut subscriber in subscribers {
        subscriber.take_all(&excuses);
        assert_eq!(subscriber.fold, fleet.portfolio());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn every_fold_equals_the_portfolio_and_finally_the_union(
        history in proptest::collection::vec(steps(), 0..200),
        queue in prop_oneof![Just(1_usize), Just(4), Just(1024)],
        is_witnessed in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(play(history, queue, is_witnessed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_life_is_not_taken_for_a_later_one_that_another_engine_shows() {
    let order = |below_first, pause| Order { below_first, pause };
    // Its first life is over before it is known, and containerd shows its second.
    let history = vec![
        Step::Hold(2, Call::Subscribe, Moment::BeforeAnswering),
        Step::Hold(0, Call::Connect, Moment::BeforeLooking),
        Step::Wait(1),
        Step::Start(3, order(false, false)),
        Step::Disconnect(0),
        Step::Exit(3, order(false, true)),
        Step::Start(3, order(true, false)),
    ];
    play(history, 4, false).await;
}
