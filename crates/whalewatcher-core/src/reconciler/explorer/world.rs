//! A small world: containers, an engine that reports them, and a reconciler.

use std::time::Duration;

use super::super::*;
use super::bounds::{Action, Bounds, Kind};
use super::subject::{Life, Question, Reported, Subject};
use crate::model::Health;

#[derive(Clone)]
pub(super) struct World {
    pub(super) bounds: Bounds,
    pub(super) bounds_at_first: Bounds,
    pub(super) clock: u64,
    pub(super) subjects: Vec<Subject>,
    pub(super) connected: bool,
    pub(super) list: Option<Question<Vec<(usize, Life)>>>,
    /// Where changes are polled for: whether anybody looked for a list on this connection.
    pub(super) looked: bool,
    pub(super) listed: bool,
    /// Whether a gap was reported since the newest list was requested.
    pub(super) gap: bool,
    pub(super) wrong: Wrong,
    /// Whether a grace was too short for an event that was on its way.
    pub(super) hasty: bool,
    /// Whether a list or an inspection showed a life that is over, while the reconciler could not know that
    /// this is final.
    pub(super) misled: bool,
    /// The one moment at which all happens by the monotonic clock.
    pub(super) epoch: Instant,
    pub(super) reconciler: Reconciler,
}

impl Deadline {
    /// All that a container may have.
    pub(super) fn of(id: &ContainerId) -> [Self; 3] {
        [Self::Retry(id.clone()), Self::Exit(id.clone()), Self::Drift(id.clone())]
    }
}

/// How many events of a container the engine repeats.
pub(super) const REPLAYED: usize = 2;

/// The name of a container that begins under the ID of another.
pub(super) const ANOTHER: u8 = 100;

/// Whether lost events may have left the portfolio wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wrong {
    No,
    /// Until an audit that begins from now on.
    Perhaps,
    /// Until the audit that is under way.
    Audited,
}

pub(super) fn time(at: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(at)
}

pub(super) fn id(subject: usize) -> ContainerId {
    format!("c{subject}").into()
}

/// The health of a container that would be paused in a world without healthchecks, or not.
fn health(paused: bool) -> Health {
    if paused { Health::Unhealthy } else { Health::Healthy }
}

impl World {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            bounds_at_first: bounds,
            clock: 0,
            subjects: vec![Subject::default(); bounds.containers],
            connected: false,
            list: None,
            looked: false,
            listed: false,
            gap: false,
            wrong: Wrong::No,
            hasty: false,
            misled: false,
            epoch: Instant::now(),
            reconciler: Reconciler {
                packs: bounds.packs,
                has_one_life_per_id: bounds.final_ids,
                ..Reconciler::default()
            },
        }
    }

    pub(super) fn container(&self, subject: usize, life: &Life) -> Container {
        let container = Container::new(id(subject), format!("n{}", life.name), life.pid);
        let container = self.with_state(container, life);
        match self.bounds.kind {
            Kind::Containerd => container,
            _ => container.with_started_at(time(life.began)).with_oom_killed(life.oom_killed),
        }
    }

    pub(super) fn with_state(&self, container: Container, life: &Life) -> Container {
        match self.bounds.has_health {
            true => container.with_health(health(life.paused)),
            false => container.with_paused(life.paused),
        }
    }

    pub(super) fn event(&self, subject: usize, reported: &Reported) -> EngineEvent {
        let id = id(subject);
        let kind = self.bounds.kind;
        match *reported {
            Reported::Started { .. } if kind == Kind::Polling => EngineEvent::Touched { id, at: None },
            Reported::Started { pid, began, at, name } => {
                let named = Container::new(id.clone(), format!("n{name}"), 0);
                let preview = match kind {
                    Kind::Docker => Some(named),
                    Kind::Cri => Some(named.with_started_at(time(began))),
                    Kind::Containerd | Kind::Hints | Kind::Polling => None,
                };
                EngineEvent::Started {
                    id,
                    at: Some(time(at)),
                    pid: kind.reports_pids().then_some(pid),
                    preview: preview.map(Box::new),
                }
            }
            Reported::Exited { pid, at } => EngineEvent::Exited {
                id,
                pid: kind.reports_pids().then_some(pid),
                at: Some(time(at)),
                code: (kind != Kind::Polling).then_some(pid as i32),
            },
            Reported::Paused(paused, at) if self.bounds.has_health => {
                EngineEvent::Health { id, at: Some(time(at)), health: health(paused) }
            }
            Reported::OomKilled(at) => EngineEvent::OomKilled { id, at: Some(time(at)) },
            Reported::Paused(true, at) => EngineEvent::Paused { id, at: Some(time(at)) },
            Reported::Paused(false, at) => EngineEvent::Unpaused { id, at: Some(time(at)) },
            Reported::Changed => EngineEvent::Changed { id, at: None },
        }
    }

    /// All that can happen next.
    pub(super) fn possible(&self) -> Vec<Action> {
        let bounds = &self.bounds;
        let due = self.reconciler.deadlines.all().filter_map(|deadline| match deadline {
            Deadline::Retry(id) => Some(Action::RetryDue(self.nth(id))),
            Deadline::Exit(id) => Some(Action::ExitDue(self.nth(id))),
            Deadline::Drift(id) => Some(Action::DriftDue(self.nth(id))),
            Deadline::Relist => Some(Action::Relist),
            // One is always pending.
            Deadline::Audit => (bounds.audits > 0).then_some(Action::Audit),
        });
        let mut all: Vec<_> = due.collect();
        for (nth, subject) in self.subjects.iter().enumerate() {
            match subject.alive() {
                None if subject.lives.len() < usize::from(bounds.lives) => {
                    all.push(Action::Start(nth));
                    if !subject.lives.is_empty() {
                        all.push(Action::Reuse(nth));
                    }
                }
                None => {}
                Some(life) => {
                    all.push(Action::Exit(nth));
                    if life.paused {
                        all.push(Action::Unpause(nth));
                    } else if bounds.pauses > 0 {
                        all.push(Action::Pause(nth));
                    }
                    if bounds.ooms > 0 {
                        all.push(Action::Oom(nth));
                    }
                    if bounds.renames > 0 {
                        all.push(Action::Rename(nth));
                    }
                }
            }
            if let Some(front) = subject.queue.front() {
                all.push(Action::Deliver(nth));
                if bounds.doubled > 0 {
                    all.push(Action::DeliverTwice(nth));
                }
                if bounds.malformed > 0 && bounds.kind != Kind::Polling {
                    all.push(Action::DeliverMalformed(nth));
                }
                if bounds.lost > 0 {
                    all.push(Action::Lose(nth));
                }
                if let (true, Reported::Started { pid, .. }, Some(Reported::Exited { pid: exited, .. })) =
                    (bounds.kind.reports_pids(), front, subject.queue.get(1))
                    && pid == exited
                {
                    all.push(Action::Swap(nth));
                }
            }
            match subject.inspection {
                Some(Question::Asked) => {
                    all.push(Action::Look(nth));
                    if bounds.lies > 0 && subject.goes_on() {
                        all.push(Action::LookFalse(nth));
                    }
                    if bounds.lags > 0 && subject.has_ended() {
                        all.push(Action::LookBehind(nth));
                    }
                }
                Some(Question::Looked(_)) => all.push(Action::Answer(nth)),
                None => {}
            }
            if bounds.ends > 0 {
                if subject.watched.is_some_and(|life| {
                    subject.lives[life].ended.is_some() && !subject.witnessed.contains(&life)
                }) {
                    all.extend([Action::End(nth), Action::EndInSilence(nth)]);
                }
                let late = subject.watched_before.iter().filter(|life| subject.lives[**life].ended.is_some());
                all.extend(late.map(|life| Action::EndLate(nth, *life)));
            }
            if bounds.lies > 0 && subject.goes_on() && self.connected && bounds.kind != Kind::Polling {
                all.push(Action::Lie(nth));
            }
            if subject.inspection.is_some() && bounds.failures > 0 {
                all.push(Action::Fail(nth));
            }
        }
        match self.connected {
            true => {
                all.push(Action::Disconnect);
                if bounds.kind == Kind::Polling && self.looked && self.subjects.iter().any(Subject::is_unseen)
                {
                    all.push(Action::Poll);
                }
                if bounds.crashes > 0 {
                    all.push(Action::Crash);
                }
                if bounds.gaps > 0 {
                    all.push(Action::Gap);
                }
            }
            false if bounds.connections > 0 => {
                all.push(Action::Connect);
                if bounds.replays > 0 && bounds.kind.replays() {
                    all.push(Action::ConnectWithReplay);
                }
            }
            false => {}
        }
        match self.list {
            Some(Question::Asked) => {
                all.push(Action::LookForList);
                // Where changes are polled for, the list is what events report.
                if bounds.lags > 0 && bounds.kind != Kind::Polling {
                    let ended = (0..self.subjects.len()).filter(|nth| self.subjects[*nth].has_ended());
                    all.extend(ended.map(Action::LookForListBehind));
                }
            }
            Some(Question::Looked(_)) => {
                all.push(Action::AnswerList);
                if bounds.partial > 0 {
                    all.extend((0..self.subjects.len()).map(Action::AnswerListWithout));
                }
            }
            None => {}
        }
        if self.list.is_some() && self.reconciler.is_live() && bounds.failures > 0 {
            all.push(Action::FailList);
        }
        if self.connected
            && matches!(self.reconciler.clone().poll_effect(Room::Any), Some(Effect::Inspect { .. }))
        {
            all.push(Action::Ask);
        }
        all
    }

    pub(super) fn nth(&self, wanted: &ContainerId) -> usize {
        (0..self.subjects.len()).find(|nth| id(*nth) == *wanted).expect("a container of this world")
    }

    pub(super) fn now(&self) -> Now {
        // Deadlines become due at any moment, whatever the monotonic clock says.
        Now { instant: self.epoch, time: time(1000 + self.clock) }
    }
}
