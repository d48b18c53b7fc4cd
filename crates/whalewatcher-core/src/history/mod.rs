//! The last lives of a fleet's containers, and crash loops.

mod gaps;
mod loops;
mod past;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use gaps::Gaps;
pub use gaps::{Gap, GapCause};
use loops::Loops;
pub use past::PastLife;
use past::{Began, Past};
pub use settings::HistorySettings;

use crate::fleet::FleetPortfolio;
use crate::model::{Container, ContainerId, CrashLoop, EngineKey, Event, EventKind, SeenBy};

/// The last lives of a fleet's containers: a fold of the events of a subscription, without I/O and clock.
///
/// It keeps the lives that have ended, bounded by count and by bytes ([`HistorySettings`]), the oldest out
/// first, and the times in which changes were not seen. A life has one entry at most, also if an engine
/// leaves the fleet and joins again while it goes on, and one that is [moved](EventKind::Moved) to another
/// engine has not ended. All lookups visit the lives that are kept.
///
/// # Crash loops
///
/// It also finds crash loops: five lives of a container that end within ten minutes, unless the settings say
/// otherwise. A crash loop is reported once when it begins and once when it is over, by
/// [`poll_event`](Self::poll_event).
///
/// A container is what has one name on an engine, so a container that replaces another one under its name
/// continues its loop; in a pod it is what has one name in that pod. Every end counts, also that of a restart
/// by the user, which looks like any other. The one exception is a life that ended with exit code 0 and was
/// followed by that of another container: a job that is run again and again under one name is no crash loop
/// unless it fails. While an engine cannot be reached, none of its loops is over.
///
/// Ends are compared by the engine's clock; that a loop is over is found by the clock of the receiver. Of all
/// containers, the 1,024 that ended last are followed, and none with a name of more than 1,024 bytes.
///
/// # How to use it
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use whalewatcher_core::scripted::Engine;
/// use std::time::SystemTime;
/// use whalewatcher_core::history::History;
/// # use whalewatcher_core::{Container, EngineWatcher, Fleet};
///
/// # let engine = Engine::new();
/// # engine.start(Container::new("c0ffee", "web", 4711));
/// let fleet = Fleet::new();
/// let (now, mut changes) = fleet.subscribe();
/// let mut history = History::default();
/// history.handle_snapshot(&now);
/// # fleet.add(EngineWatcher::new(engine.clone()))?;
/// while let Some(change) = changes.next().await {
///     // Also call `handle_timeout` when the time of `timeout` has come.
///     history.handle_event(&change.key, &change.event, SystemTime::now());
///     while let Some((engine, event)) = history.poll_event() {
///         println!("{engine}: {event}");
///     }
///     # if change.event.kind.name() == "synced" { engine.exit("c0ffee", Some(1)); }
///     # if change.event.kind.name() == "exited" { break; }
/// }
/// for life in history.by_name("web") {
///     println!("{} ended with {:?}", life.container(), life.exit_code());
/// }
/// # assert_eq!(history.by_name("web").count(), 1);
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct History {
    settings: HistorySettings,
    engines: BTreeMap<EngineKey, Engine>,
    past: Past,
    gaps: Gaps,
    loops: Loops,
    /// The number of the newest life that has ended.
    number: u64,
}

/// What is known of an engine.
#[derive(Debug, Default)]
struct Engine {
    is_live: bool,
    /// It has been in sync since it joined, or since the interruption.
    was_live: bool,
    /// After an interruption: what is not reported again before the engine is in sync has ended.
    is_interrupted: bool,
    /// When the subscriber lagged: the difference that follows has that time.
    lagged_at: Option<SystemTime>,
    /// The time of the newest event.
    newest: Option<SystemTime>,
    alive: HashMap<ContainerId, Alive>,
    /// The numbers of the ends without an exit code since the last other event: if the engine leaves now,
    /// they are none.
    exits: Vec<u64>,
}

/// What is known of a life that has not ended.
#[derive(Debug)]
struct Alive {
    container: Arc<Container>,
    began: Began,
    /// It was reported since the interruption.
    is_confirmed: bool,
}

impl History {
    /// Creates an empty history.
    #[must_use]
    pub fn new(settings: HistorySettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Begins with the snapshot of a subscription: its containers were found alive.
    pub fn handle_snapshot(&mut self, snapshot: &FleetPortfolio) {
        for member in snapshot.members() {
            let engine = self.engines.entry(member.key().clone()).or_default();
            engine.is_live = member.is_live();
            engine.was_live = member.is_live();
            for container in member.portfolio().containers() {
                engine.found(container);
            }
        }
    }

    /// Adds an event, received at `now`.
    pub fn handle_event(&mut self, key: &EngineKey, event: &Event, now: SystemTime) {
        self.handle_timeout(now);
        let time = event.time;
        if !matches!(event.kind, EventKind::Exited { .. } | EventKind::Left | EventKind::CrashLoop(_)) {
            self.engine(key).exits.clear();
        }
        match &event.kind {
            EventKind::Started(container) => self.started(key, container, time),
            EventKind::Exited { container, code } => {
                self.exited(key, container, (*code, event.seen_by), time, now);
            }
            EventKind::Paused(container)
            | EventKind::Unpaused(container)
            | EventKind::Updated { container, .. } => self.engine(key).changed(container),
            EventKind::Synced { .. } => self.synced(key, time, now),
            EventKind::Lagged { missed } => {
                let since = self.engine(key).newest.unwrap_or(time);
                self.engine(key).lagged_at = Some(time);
                self.gaps.push(key, since, Some(time), GapCause::Lagged(*missed));
            }
            EventKind::Disconnected { error } => {
                self.engine(key).is_live = false;
                self.gaps.push(key, time, None, GapCause::Disconnected(error.clone()));
            }
            EventKind::Joined => drop(self.engines.insert(key.clone(), Engine::default())),
            EventKind::Left => self.left(key, time, now),
            EventKind::Moved { container, was, from } => self.moved(key, container, was, from),
            // That of another history.
            EventKind::CrashLoop(_) => return,
        }
        if let Some(engine) = self.engines.get_mut(key) {
            engine.newest = Some(time);
        }
    }

    /// Prepares for the events of a new subscription after some time without one, such as that of the next
    /// run of a program: what is not reported again has ended meanwhile.
    pub fn handle_interruption(&mut self, since: SystemTime) {
        for (key, engine) in &mut self.engines {
            (engine.is_live, engine.was_live, engine.is_interrupted) = (false, false, true);
            engine.exits.clear();
            engine.alive.values_mut().for_each(|alive| alive.is_confirmed = false);
            self.gaps.push(key, since, None, GapCause::Interrupted);
        }
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout), by the receiver's clock.
    #[must_use]
    pub fn timeout(&self) -> Option<SystemTime> {
        self.loops.timeout(self.settings.crash_loop_time(), |key| self.is_live(key))
    }

    /// Ends the crash loops that are over at `now`.
    pub fn handle_timeout(&mut self, now: SystemTime) {
        let Self { loops, engines, settings, .. } = self;
        let is_live = |key: &EngineKey| engines.get(key).is_some_and(|engine| engine.is_live);
        loops.expire(now, settings.crash_loop_time(), is_live);
    }

    /// Returns the next crash loop that began or is over, as [`EventKind::CrashLoop`].
    pub fn poll_event(&mut self) -> Option<(EngineKey, Event)> {
        self.loops.events.pop_front()
    }

    /// Returns the lives that have ended, in the order in which that was reported.
    pub fn lives(&self) -> impl DoubleEndedIterator<Item = &PastLife> + ExactSizeIterator {
        self.past.iter()
    }

    /// Returns the lives of the containers with this ID.
    pub fn by_id(&self, id: &str) -> impl DoubleEndedIterator<Item = &PastLife> {
        self.lives().filter(move |life| life.container().id().as_str() == id)
    }

    /// Returns the lives of the containers with this name.
    pub fn by_name(&self, name: &str) -> impl DoubleEndedIterator<Item = &PastLife> {
        self.lives().filter(move |life| life.container().name() == name)
    }

    /// Returns the lives of the containers of a project.
    pub fn by_project(&self, project: &str) -> impl DoubleEndedIterator<Item = &PastLife> {
        self.lives().filter(move |life| life.container().project() == project)
    }

    /// Returns the newest 256 gaps, the oldest first: when changes were not seen as they happened.
    pub fn gaps(&self) -> impl DoubleEndedIterator<Item = &Gap> + ExactSizeIterator {
        self.gaps.iter()
    }

    /// Returns the crash loops that are not over, in no particular order.
    pub fn crash_loops(&self) -> impl Iterator<Item = (&EngineKey, &CrashLoop)> {
        self.loops.current()
    }

    /// Returns the crash loop that a container is in.
    #[must_use]
    pub fn crash_loop(&self, key: &EngineKey, container: &Container) -> Option<&CrashLoop> {
        self.loops.of(key, container)
    }

    /// Returns whether the start of a live container was not seen: it was running when the engine's watch came in sync.
    #[must_use]
    pub fn was_found(&self, key: &EngineKey, id: &str) -> bool {
        self.engines.get(key).and_then(|engine| engine.alive.get(id)).is_some_and(|it| it.began.was_found)
    }

    /// Returns whether this life of a container is known and has not ended.
    #[must_use]
    pub fn is_alive(&self, key: &EngineKey, container: &Container) -> bool {
        let alive = self.engines.get(key).and_then(|engine| engine.alive.get(container.id()));
        alive.is_some_and(|alive| alive.container.life() == container.life())
    }

    fn is_live(&self, key: &EngineKey) -> bool {
        self.engines.get(key).is_some_and(|engine| engine.is_live)
    }

    fn engine(&mut self, key: &EngineKey) -> &mut Engine {
        self.engines.entry(key.clone()).or_default()
    }

    fn started(&mut self, key: &EngineKey, container: &Arc<Container>, time: SystemTime) {
        let known = self.engine(key).alive.get(container.id()).map(|alive| alive.container.life());
        if known.as_ref() == Some(&container.life()) {
            return self.engine(key).changed(container);
        }
        if known.is_some()
            && let Some(former) = self.engine(key).alive.remove(container.id())
        {
            self.end(key, former, (None, SeenBy::Engine), time, false);
        }
        let again = self.past.take_uncertain(key, &container.life());
        if let Some(again) = &again {
            self.loops.retract(again);
        }
        let engine = self.engine(key);
        let began = again.map_or_else(
            || Began {
                at: container.started_at().or_else(|| engine.is_live.then_some(time)),
                was_found: !engine.was_live,
            },
            |again| again.began,
        );
        let alive = Alive { container: container.clone(), began, is_confirmed: true };
        engine.alive.insert(container.id().clone(), alive);
    }

    fn exited(
        &mut self,
        key: &EngineKey,
        container: &Arc<Container>,
        (code, seen_by): (Option<i32>, SeenBy),
        time: SystemTime,
        now: SystemTime,
    ) {
        let engine = self.engine(key);
        let is_difference = engine.lagged_at == Some(time);
        let is_reported = code.is_some() || seen_by == SeenBy::Kernel;
        let is_certain = is_reported || engine.is_live && !is_difference;
        let alive = match engine.alive.remove(container.id()) {
            Some(alive) => Alive { container: container.clone(), ..alive },
            // It is an entry already.
            None if self.past.find(key, &container.life()).is_some() => return,
            None => Alive {
                container: container.clone(),
                began: Began { at: container.started_at(), was_found: false },
                is_confirmed: true,
            },
        };
        let number = self.end(key, alive, (code, seen_by), time, is_certain);
        if !is_reported {
            self.engine(key).exits.push(number);
        }
        let life = PastLife {
            number,
            key: key.clone(),
            container: container.clone(),
            began: Began::default(),
            ended_at: time,
            code,
            is_certain,
            seen_by,
        };
        self.loops.count(&life, now, self.is_live(key), &self.settings);
    }

    /// Adds the entry of a life, and returns its number.
    fn end(
        &mut self,
        key: &EngineKey,
        alive: Alive,
        (code, seen_by): (Option<i32>, SeenBy),
        ended_at: SystemTime,
        is_certain: bool,
    ) -> u64 {
        self.number += 1;
        let (number, key) = (self.number, key.clone());
        let Alive { container, began, .. } = alive;
        self.past.push(
            PastLife { number, key, container, began, ended_at, code, is_certain, seen_by },
            &self.settings,
        );
        number
    }

    fn synced(&mut self, key: &EngineKey, time: SystemTime, now: SystemTime) {
        let engine = self.engine(key);
        (engine.is_live, engine.was_live) = (true, true);
        if std::mem::take(&mut engine.is_interrupted) {
            let mut ended: Vec<_> = engine.alive.extract_if(|_, alive| !alive.is_confirmed).collect();
            ended.sort_by(|(one, _), (other, _)| one.cmp(other));
            for (_, alive) in ended {
                self.end(key, alive, (None, SeenBy::Engine), time, false);
            }
        }
        self.gaps.end(key, time);
        self.loops.extend(key, now);
    }

    fn left(&mut self, key: &EngineKey, time: SystemTime, now: SystemTime) {
        let exits = self.engines.remove(key).map(|engine| engine.exits).unwrap_or_default();
        for number in exits {
            if let Some(life) = self.past.doubt(number) {
                self.loops.retract(life);
            }
        }
        self.gaps.end(key, time);
        self.loops.leave(key, now);
    }

    fn moved(&mut self, key: &EngineKey, container: &Arc<Container>, was: &Container, from: &EngineKey) {
        let alive = self.engines.get_mut(from).and_then(|engine| engine.alive.remove(was.id()));
        let began = alive.map_or(Began { at: container.started_at(), was_found: false }, |it| it.began);
        let alive = Alive { container: container.clone(), began, is_confirmed: true };
        self.engine(key).alive.insert(container.id().clone(), alive);
    }
}

impl Engine {
    /// Adds a container whose start was not seen.
    fn found(&mut self, container: &Arc<Container>) {
        let began = Began { at: container.started_at(), was_found: true };
        let alive = Alive { container: container.clone(), began, is_confirmed: true };
        self.alive.insert(container.id().clone(), alive);
    }

    /// Updates a container.
    fn changed(&mut self, container: &Arc<Container>) {
        match self.alive.get_mut(container.id()) {
            Some(alive) => (alive.container, alive.is_confirmed) = (container.clone(), true),
            None => self.found(container),
        }
    }
}
