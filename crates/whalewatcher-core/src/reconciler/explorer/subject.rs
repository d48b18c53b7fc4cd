//! One container of a world.

use std::collections::VecDeque;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Life {
    pub(super) pid: u32,
    pub(super) began: u64,
    /// The time of its start event.
    pub(super) reported: u64,
    pub(super) ended: Option<u64>,
    pub(super) paused: bool,
    pub(super) oom_killed: bool,
    pub(super) name: u8,
    pub(super) announced: bool,
    pub(super) announced_end: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reported {
    Started { pid: u32, began: u64, at: u64, name: u8 },
    Exited { pid: u32, at: u64 },
    Paused(bool, u64),
    OomKilled(u64),
    Changed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question<T> {
    Asked,
    Looked(T),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    pub(super) lives: Vec<Life>,
    pub(super) queue: VecDeque<Reported>,
    /// What happened last, reported or not, where the engine may report it again.
    pub(super) recent: VecDeque<Reported>,
    pub(super) inspection: Option<Question<Option<Life>>>,
    /// Exits delivered since the inspection in flight was requested, two at most.
    pub(super) exits: u8,
    /// The lives whose exit was delivered.
    pub(super) ended: Vec<u32>,
    /// Answers since the list was delivered, two at most.
    pub(super) answers: u8,
    /// Where changes are polled for: the life at the last look at a list.
    pub(super) polled: Option<u32>,
    /// Events that were on their way when the newest list was delivered.
    pub(super) late: usize,
    /// The life that the witness watches.
    pub(super) watched: Option<usize>,
    /// The lives whose end the witness reported in time, and those that it watched before.
    pub(super) witnessed: Vec<usize>,
    pub(super) watched_before: Vec<usize>,
    /// Inspections, and what may have led to them.
    pub(super) inspections: u32,
    pub(super) reasons: u32,
}

impl Subject {
    pub(super) fn alive(&self) -> Option<&Life> {
        self.lives.last().filter(|life| life.ended.is_none())
    }

    /// Whether it lived, and is not alive.
    pub(super) fn has_ended(&self) -> bool {
        !self.lives.is_empty() && self.alive().is_none()
    }

    /// The last life, before it ended.
    pub(super) fn as_before_its_end(&self) -> Option<Life> {
        self.lives.last().map(|life| Life { ended: None, ..life.clone() })
    }

    /// Whether the exit of the last life was delivered, or is on its way.
    pub(super) fn has_exit_event(&self) -> bool {
        let last = self.lives.last().map(|life| life.pid);
        let coming =
            |reported: &Reported| matches!(reported, Reported::Exited { pid, .. } if Some(*pid) == last);
        last.is_some_and(|last| self.ended.contains(&last)) || self.queue.iter().any(coming)
    }

    /// Whether the witness watches the life that is alive.
    pub(super) fn goes_on(&self) -> bool {
        self.alive().is_some() && self.watched == self.lives.len().checked_sub(1)
    }

    /// Whether the last life is over by the witness' word.
    pub(super) fn is_over_by_witness(&self) -> bool {
        self.lives.len().checked_sub(1).is_some_and(|last| self.witnessed.contains(&last))
    }

    /// Whether polling would report something.
    pub(super) fn is_unseen(&self) -> bool {
        self.polled != self.alive().map(|life| life.pid)
    }
}
