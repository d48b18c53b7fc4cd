//! What the reconciler remembers of a container beyond the portfolio.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use crate::container::Container;

/// How many PIDs of past lives are remembered of each of them.
const PIDS: usize = 8;

/// What is remembered of one container. One that is simply alive has none.
#[derive(Debug, Default, PartialEq)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Record {
    pub(super) inquiry: Inquiry,
    /// What the newest start event told, while that life has not been announced.
    pub(super) glimpse: Option<Arc<Container>>,
    /// The newest exit.
    pub(super) exit: Option<Exit>,
    /// The newest life that was announced and is over.
    pub(super) past: Option<Past>,
    /// The newest time that any of its events told.
    pub(super) newest: Option<SystemTime>,
    /// The newest time that a start event told.
    pub(super) newest_start: Option<SystemTime>,
    /// Whether it is among `remembered`.
    pub(super) remembered: bool,
    /// Whether an audit found it different, and no event spoke of it since.
    pub(super) suspected: bool,
    /// Whether an inspection found the life that is known to be over, and its exit is still to be told.
    pub(super) gone: bool,
}

impl Record {
    /// Whether it says no more than that there is none.
    pub(super) fn is_blank(&self) -> bool {
        *self == Self::default()
    }

    /// A life that was announced is over.
    pub(super) fn note_past(&mut self, container: &Container) {
        let began = container.started_at();
        let start_told = self.newest_start > began || self.exit.is_some_and(|exit| exit.ends(container));
        let mut pids = self.past.take().map(|past| past.pids).unwrap_or_default();
        if container.pid() != 0 {
            pids.truncate(PIDS - 1);
            pids.push_front(container.pid());
        }
        self.gone = false;
        self.past = Some(Past { began, start_told, pids });
    }
}

/// Where the question stands whether, and how, a container is alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Inquiry {
    #[default]
    None,
    Wanted,
    Asked {
        /// A hint came after the question: the answer may be older.
        stale: bool,
        /// An exit came after the question: the answer may be of the life that ended.
        exited: bool,
    },
    /// Failed, and tried again after a while.
    Failed,
}

impl Inquiry {
    /// Whether nothing is to be expected soon.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Self::None | Self::Failed)
    }
}

/// What has to be remembered of lives that were announced and are over. Inspections can be ahead of the event stream:
/// such a life's start event may still come.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Past {
    pub(super) began: Option<SystemTime>,
    /// Whether its start event came, or will not come any more.
    pub(super) start_told: bool,
    /// The PIDs of the newest such lives, where known.
    pids: VecDeque<u32>,
}

impl Past {
    #[cfg(test)]
    pub(super) fn remembered_pids(&self) -> usize {
        self.pids.len()
    }

    /// Whether that start is of a life that was announced, the newest one or an earlier one.
    pub(super) fn began_as(&mut self, glimpse: &Container) -> bool {
        if glimpse.pid() != 0 && self.pids.contains(&glimpse.pid()) {
            return true;
        }
        match (self.began, glimpse.started_at()) {
            (Some(began), Some(told)) if told <= began => true,
            // Starts are told after they happened, so the first one that is told after that life began is its own.
            (Some(_), Some(_)) => !std::mem::replace(&mut self.start_told, true),
            _ => false,
        }
    }
}

/// An end of a life, as an event told it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exit {
    pub(super) pid: Option<u32>,
    pub(super) at: Option<SystemTime>,
    pub(super) code: Option<i32>,
}

impl Exit {
    /// Whether it ended that life, or came after its end; `None` where that cannot be told.
    pub(super) fn verdict(&self, container: &Container) -> Option<bool> {
        match (self.pid, self.at, container.started_at()) {
            (Some(pid), _, _) if container.pid() != 0 => Some(pid == container.pid()),
            (_, Some(at), Some(started_at)) => Some(at > started_at),
            _ => None,
        }
    }

    /// Whether it certainly ended that life, or came after its end.
    pub(super) fn ends(&self, container: &Container) -> bool {
        self.verdict(container) == Some(true)
    }
}
