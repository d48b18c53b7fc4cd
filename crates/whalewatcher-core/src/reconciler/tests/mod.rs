//! Single decisions of the reconciler.

use std::mem::replace;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::model::{ErrorKind, Health, Labels};
use crate::settings::Backoff;

mod audits;
mod bounds;
mod inspections;
mod lists;
mod lives;
mod one_life_per_id;
mod witness;

/// When all is handled here.
const NOW: u64 = 1000;

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn now() -> Now {
    Now { instant: Instant::now(), time: time(NOW) }
}

fn retry() -> Deadline {
    Deadline::Retry("a".into())
}

fn exit() -> Deadline {
    Deadline::Exit("a".into())
}

fn drift() -> Deadline {
    Deadline::Drift("a".into())
}

/// The container `a` as Docker returns it, with a start time.
fn dated(pid: u32, began: u64) -> Container {
    Container::new("a", "a", pid).with_started_at(time(began))
}

/// The container `a` as containerd returns it, without a start time.
fn plain(pid: u32) -> Container {
    Container::new("a", "a", pid)
}

/// A start event with this PID, unless it is 0, and this time.
fn started(pid: u32, at: impl Into<Option<u64>>) -> EngineEvent {
    let (reported, at) = (Some(pid).filter(|pid| *pid != 0), at.into().map(time));
    EngineEvent::Started { id: "a".into(), at, pid: reported, preview: Some(Box::new(plain(0))) }
}

/// An exit event with this PID, unless it is 0, this time, and the exit code 7.
fn exited(pid: u32, at: impl Into<Option<u64>>) -> EngineEvent {
    let (pid, at) = (Some(pid).filter(|pid| *pid != 0), at.into().map(time));
    EngineEvent::Exited { id: "a".into(), pid, at, code: Some(7) }
}

fn paused(at: u64) -> EngineEvent {
    EngineEvent::Paused { id: "a".into(), at: Some(time(at)) }
}

fn unpaused(at: u64) -> EngineEvent {
    EngineEvent::Unpaused { id: "a".into(), at: Some(time(at)) }
}

fn changed() -> EngineEvent {
    EngineEvent::Changed { id: "a".into(), at: None }
}

/// The unlisted scopes of a list that covers all.
fn all_scopes() -> UnlistedScopes {
    UnlistedScopes::of(Vec::new(), ContainerId::as_str)
}

/// A reconciler, with methods that return what it publishes.
#[derive(Default)]
struct Scene(Reconciler);

impl Scene {
    /// Connected and live, with these containers listed.
    fn live(listed: impl IntoIterator<Item = Container>) -> Self {
        let mut scene = Self::default();
        scene.connect(listed);
        scene
    }

    /// The same with an engine whose IDs have one life each.
    fn final_live(listed: impl IntoIterator<Item = Container>) -> Self {
        let mut scene = Self(Reconciler { has_one_life_per_id: true, ..Reconciler::default() });
        scene.connect(listed);
        scene
    }

    /// Connects, and answers the list.
    fn connect(&mut self, listed: impl IntoIterator<Item = Container>) -> Vec<String> {
        self.subscribe();
        self.list(listed)
    }

    fn list(&mut self, listed: impl IntoIterator<Item = Container>) -> Vec<String> {
        self.take(Input::Listed(listed.into_iter().map(ListingEntry::Whole).collect(), all_scopes()))
    }

    fn disconnect(&mut self) {
        let error = EngineError::new(ErrorKind::Disconnected, "gone");
        self.take(Input::Disconnected(Arc::new(error)));
    }

    /// Takes in an input. Returns the events about containers as `NAME PID@TIME`, with the exit code if there is one.
    fn take(&mut self, input: Input) -> Vec<String> {
        self.0.handle_input(input, now());
        self.published()
    }

    /// An audit is due, and its list requested.
    fn audit(&mut self) {
        self.due(Deadline::Audit);
        assert!(matches!(self.0.poll_effect(Room::None), Some(Effect::Audit)), "no audit begins");
    }

    /// Connects, and requests the list.
    fn subscribe(&mut self) {
        self.take(Input::Connected);
        assert!(matches!(self.0.poll_effect(Room::None), Some(Effect::List)), "no list is requested");
    }

    /// The container to inspect next, and whether its last inspection failed.
    fn next(&mut self, room: Room) -> Option<(ContainerId, bool)> {
        match self.0.poll_effect(room) {
            Some(Effect::Inspect { id, is_retry }) => Some((id, is_retry)),
            None => None,
            Some(effect) => panic!("{effect:?} is not an inspection"),
        }
    }

    /// Lets a pending deadline become due.
    fn due(&mut self, deadline: Deadline) -> Vec<String> {
        assert!(self.0.deadlines.cancel(deadline.clone()), "{deadline:?} is not pending");
        self.0.due(deadline, now());
        self.published()
    }

    /// The pending deadlines but that of the next audit.
    fn pending(&self) -> Vec<Deadline> {
        self.0.deadlines.all().filter(|deadline| **deadline != Deadline::Audit).cloned().collect()
    }

    fn published(&mut self) -> Vec<String> {
        let reported = |event: Event| {
            let container = event.container()?;
            let seconds = event.time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
            let code = match event.kind {
                EventKind::Exited { code: Some(code), .. } => format!(" with {code}"),
                _ => String::new(),
            };
            Some(format!("{} {}@{seconds}{code}", event.kind.name(), container.pid()))
        };
        self.0.take_events().into_iter().filter_map(reported).collect()
    }

    fn event(&mut self, event: EngineEvent) -> Vec<String> {
        self.take(Input::Event(event))
    }

    /// Takes in an event. Returns which events about containers follow, and whether these were marked by an OOM kill.
    fn ooms(&mut self, event: EngineEvent) -> Vec<(&'static str, bool)> {
        self.0.handle_input(Input::Event(event), now());
        let events = self.0.take_events();
        events.iter().filter_map(|event| Some((event.kind.name(), event.container()?.oom_killed()))).collect()
    }

    /// Whether an inspection begins.
    fn inspects(&mut self) -> bool {
        self.next(Room::Any).is_some()
    }

    fn answer(&mut self, truth: Option<Container>) -> Vec<String> {
        self.take(Input::Inspected("a".into(), Answer::Truth(truth)))
    }

    /// Begins an inspection, and answers it.
    fn inspect(&mut self, truth: Option<Container>) -> Vec<String> {
        assert!(self.inspects(), "no inspection begins");
        self.answer(truth)
    }

    /// The inspection fails.
    fn fail(&mut self) -> Vec<String> {
        let error = EngineError::new(ErrorKind::Failed, "scripted failure");
        self.take(Input::Inspected("a".into(), Answer::Unknown(Arc::new(error))))
    }

    /// An inspection finds the known life to be over, and no exit event comes in time.
    fn end_unreported(&mut self) -> Vec<String> {
        self.event(changed());
        let mut reported = self.inspect(None);
        for deadline in self.pending() {
            reported.extend(self.due(deadline));
        }
        reported
    }

    fn records(&self) -> usize {
        self.0.records.len()
    }
}

const NOTHING: [&str; 0] = [];

/// The container `id` as a list contains it that needs an inspection.
fn partial(id: &str, name: &str) -> ListingEntry {
    ListingEntry::Partial { container: Container::new(id, name, 0), started_within: None }
}
