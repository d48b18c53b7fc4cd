//! Finds crash loops.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::past::{PastLife, slim};
use super::settings::HistorySettings;
use crate::model::{Container, ContainerId, CrashLoop, EngineKey, Event, EventKind};

/// The most containers whose ends are counted: those that ended last.
pub(super) const MOST: usize = 1024;

/// The most bytes of a name or of the identity of a pod: containers with longer ones are not counted.
const LONGEST_NAME: usize = 1024;

/// The most bytes of a container that is kept with all its labels while it is in a loop.
const CONTAINER: usize = 16 * 1024;

/// What a user takes for one container: a name on an engine, or in a pod.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Identity {
    key: EngineKey,
    /// Namespace, name and UID; empty without a pod.
    pod: String,
    name: String,
}

impl Identity {
    fn of(key: &EngineKey, container: &Container) -> Option<Self> {
        let pod = container.pod();
        let sizes = pod.map(|pod| pod.namespace().len() + pod.name().len() + pod.uid().len());
        if container.name().len() > LONGEST_NAME || sizes.is_some_and(|size| size > LONGEST_NAME) {
            return None;
        }
        let pod = pod.map(|pod| [pod.namespace(), pod.name(), pod.uid()].join("/")).unwrap_or_default();
        Some(Self { key: key.clone(), pod, name: container.name().to_owned() })
    }

    /// Returns whether a life with another ID is one of the same container: the runtimes of pods never use an ID again.
    fn is_restarted_under_other_ids(&self) -> bool {
        !self.pod.is_empty()
    }
}

/// The ends of lives that may be of a loop.
#[derive(Debug, Default)]
struct Tracked {
    /// The newest ones, the oldest first.
    ends: VecDeque<End>,
    /// The loop, with the container as last known.
    current: Option<CrashLoop>,
    /// When the newest end was received, by the receiver's clock; or when the engine came in sync since.
    received: Option<SystemTime>,
    /// When it happened, by the engine's clock; `None` if that is unknown, or if the engine came in sync since.
    ended_at: Option<SystemTime>,
    /// The number of the newest end.
    number: u64,
}

#[derive(Debug)]
struct End {
    number: u64,
    at: SystemTime,
    id: ContainerId,
    is_clean: bool,
}

/// The containers whose ends are counted.
#[derive(Debug, Default)]
pub(super) struct Loops {
    tracked: HashMap<Arc<Identity>, Tracked>,
    /// By the number of their newest end.
    order: BTreeMap<u64, Arc<Identity>>,
    /// How many are in a loop.
    current: usize,
    /// What began or is over.
    pub(super) events: VecDeque<(EngineKey, Event)>,
}

impl Loops {
    /// Returns the loops that are not over.
    pub(super) fn current(&self) -> impl Iterator<Item = (&EngineKey, &CrashLoop)> {
        let all = self.tracked.iter();
        all.filter_map(|(identity, tracked)| Some((&identity.key, tracked.current.as_ref()?)))
    }

    /// Returns the loop that a container is in.
    pub(super) fn of(&self, key: &EngineKey, container: &Container) -> Option<&CrashLoop> {
        if self.current == 0 {
            return None;
        }
        self.tracked.get(&Identity::of(key, container)?)?.current.as_ref()
    }

    #[cfg(test)]
    pub(super) fn tracked(&self) -> usize {
        self.tracked.len()
    }

    /// Counts the end of a life. Unless the engine is live, earlier ends may not have been seen.
    pub(super) fn count(
        &mut self,
        life: &PastLife,
        now: SystemTime,
        is_live: bool,
        settings: &HistorySettings,
    ) {
        let (key, container, at) = (&life.key, &life.container, life.ended_at);
        let Some(identity) = Identity::of(key, container).map(Arc::new) else { return };
        self.forget_old(now, settings);
        let is_pod = identity.is_restarted_under_other_ids();
        let tracked = self.tracked.entry(identity.clone()).or_default();
        let within = settings.crash_loop_time();
        // Only an end with an exit code has a time that is surely the engine's.
        let ended_at = life.code.map(|_| at);
        // The events may have waited, so the receiver's clock alone does not show it.
        if is_live
            && tracked.ended_at.zip(ended_at).is_some_and(|(last, at)| apart(last, at) > within)
            && let Some(over) = tracked.current.take()
        {
            tracked.ends.clear();
            self.current -= 1;
            self.events.push_back((key.clone(), event(over.with_over(true), at)));
        }
        let is_clean = life.code == Some(0) && !life.oom_killed();
        let is_same = |end: &End| is_pod || end.id == *container.id();
        let counts = !is_clean || tracked.ends.back().is_some_and(is_same) || is_pod;
        tracked.ends.retain(|end| apart(end.at, at) <= within && (!end.is_clean || is_same(end)));
        tracked.ends.push_back(End { number: life.number, at, id: container.id().clone(), is_clean });
        if tracked.ends.len() > settings.crash_loop_lives() {
            tracked.ends.pop_front();
        }
        let container = slim(container, CONTAINER);
        if let Some(current) = &mut tracked.current {
            if counts {
                (current.container, current.code) = (container, life.code);
                current.lives += 1;
                (tracked.received, tracked.ended_at) = (Some(now), ended_at);
            }
        } else {
            (tracked.received, tracked.ended_at) = (Some(now), ended_at);
            if tracked.ends.len() == settings.crash_loop_lives() {
                let since = tracked.ends.iter().map(|end| end.at).min().unwrap_or(at);
                let began = CrashLoop::new(container, tracked.ends.len() as u64, since).with_code(life.code);
                tracked.current = Some(began.clone());
                self.current += 1;
                self.events.push_back((key.clone(), event(began, at)));
            }
        }
        self.order.remove(&std::mem::replace(&mut tracked.number, life.number));
        self.order.insert(life.number, identity);
        while self.tracked.len() > MOST {
            self.forget_first(now);
        }
    }

    /// Does not count an end that was none.
    pub(super) fn retract(&mut self, life: &PastLife) {
        let Some(identity) = Identity::of(&life.key, &life.container) else { return };
        if let Some(tracked) = self.tracked.get_mut(&identity) {
            tracked.ends.retain(|end| end.number != life.number);
        }
    }

    /// Gives the loops of an engine time again: what happened while it could not be reached was not seen.
    pub(super) fn extend(&mut self, key: &EngineKey, now: SystemTime) {
        if self.current > 0 {
            let of_engine = self.tracked.iter_mut().filter(|(identity, _)| identity.key == *key);
            of_engine.for_each(|(_, it)| (it.received, it.ended_at) = (Some(now), None));
        }
    }

    /// Returns when the first loop is over unless another life ends, among those of engines for which this holds.
    pub(super) fn timeout(
        &self,
        within: Duration,
        is_live: impl Fn(&EngineKey) -> bool,
    ) -> Option<SystemTime> {
        if self.current == 0 {
            return None;
        }
        let all = self.tracked.iter().filter(|(identity, it)| it.current.is_some() && is_live(&identity.key));
        all.filter_map(|(_, tracked)| tracked.received?.checked_add(within)).min()
    }

    /// Ends the loops in which no life has ended for long enough, among those of engines for which this holds.
    pub(super) fn expire(&mut self, now: SystemTime, within: Duration, is_live: impl Fn(&EngineKey) -> bool) {
        self.end_loops(now, |identity, tracked| {
            let until = tracked.received.and_then(|received| received.checked_add(within));
            is_live(&identity.key) && until.is_some_and(|until| until <= now)
        });
    }

    /// Ends the loops of an engine that has left.
    pub(super) fn leave(&mut self, key: &EngineKey, now: SystemTime) {
        self.end_loops(now, |identity, _| identity.key == *key);
    }

    fn end_loops(&mut self, now: SystemTime, is_over: impl Fn(&Identity, &Tracked) -> bool) {
        if self.current == 0 {
            return;
        }
        // In the order of their newest ends.
        for identity in self.order.values() {
            if let Some(tracked) = self.tracked.get_mut(identity)
                && tracked.current.is_some()
                && is_over(identity, tracked)
                && let Some(over) = tracked.current.take()
            {
                tracked.ends.clear();
                self.current -= 1;
                self.events.push_back((identity.key.clone(), event(over.with_over(true), now)));
            }
        }
    }

    /// Forgets containers whose ends are too old to be of a loop.
    fn forget_old(&mut self, now: SystemTime, settings: &HistorySettings) {
        while let Some((_, first)) = self.order.first_key_value()
            && let Some(tracked) = self.tracked.get(first)
            && tracked.current.is_none()
            && tracked.received.is_none_or(|received| apart(received, now) > settings.crash_loop_time())
        {
            self.forget_first(now);
        }
    }

    /// Forgets the container that ended first. A loop that it is in cannot be followed any more.
    fn forget_first(&mut self, now: SystemTime) {
        let Some((_, first)) = self.order.pop_first() else { return };
        if let Some(over) = self.tracked.remove(&first).and_then(|tracked| tracked.current) {
            self.current -= 1;
            self.events.push_back((first.key.clone(), event(over.with_over(true), now)));
        }
    }
}

fn event(crash_loop: CrashLoop, time: SystemTime) -> Event {
    Event::new(time, EventKind::CrashLoop(Arc::new(crash_loop)))
}

/// Returns the time between two moments, in either order: a clock may have been set back.
fn apart(one: SystemTime, other: SystemTime) -> Duration {
    other.duration_since(one).unwrap_or_else(|error| error.duration())
}
