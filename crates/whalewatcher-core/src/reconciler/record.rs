//! What the reconciler remembers of a container beyond the portfolio.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::HashSet;

use crate::engine::ListingEntry;
use crate::model::{Container, ContainerId};

/// How many PIDs of past lives are remembered of each of them.
const PIDS: usize = 8;

/// What is remembered of one container. One that is simply alive has none.
#[derive(Debug, Default, PartialEq)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Record {
    pub(super) inquiry: Inquiry,
    /// What the newest start event told, while that life has not been announced.
    pub(super) preview: Option<Preview>,
    /// Whether a life began of which no end is known: a first answer "not alive" is not believed yet.
    pub(super) is_begun: bool,
    /// Whether only events spoke of it so far.
    pub(super) is_stranger: bool,
    /// How many bytes the glimpse takes.
    pub(super) preview_bytes: usize,
    /// While it is inspected: the time of the newest event about a change that led to that or came since.
    pub(super) hinted_at: Option<SystemTime>,
    /// Its name as a list contains it, while it is inspected and not in the portfolio.
    pub(super) listed_name: Option<Box<str>>,
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
    /// Why an audit suspects it, while events have time to explain that.
    pub(super) suspicion: Option<Suspicion>,
    /// Whether it is asked about because they did not, and no event spoke of it since.
    pub(super) suspected: bool,
    /// Whether an inspection found the life that is known to be over, and its exit is still to be told.
    pub(super) gone: bool,
}

impl Record {
    /// Whether it says no more than that there is none.
    pub(super) fn is_blank(&self) -> bool {
        *self == Self { is_stranger: self.is_stranger, ..Self::default() }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.inquiry == Inquiry::None && self.suspicion.is_none() && !self.gone
    }

    /// The container's name, where a list or its start event contains it.
    pub(super) fn name(&self) -> Option<String> {
        let named = self.preview.as_ref().filter(|preview| preview.is_named());
        let name = named.map(|preview| preview.container.name().to_owned());
        name.or_else(|| self.listed_name.as_deref().map(str::to_owned))
    }

    /// A life that was announced is over. Returns whether its exit event was awaited.
    pub(super) fn note_past(&mut self, container: &Container) -> bool {
        let began = container.started_at();
        let start_reported = self.newest_start > began || self.exit.is_some_and(|exit| exit.ends(container));
        let mut pids = self.past.take().map(|past| past.pids).unwrap_or_default();
        if container.pid() != 0 {
            pids.truncate(PIDS - 1);
            pids.push_front(container.pid());
        }
        self.past = Some(Past { began, start_reported, pids });
        take(&mut self.gone)
    }
}

/// A list shows a container otherwise than it is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Suspicion {
    /// How the list shows it, if at all.
    pub(super) listed: Option<ListingEntry>,
    /// Whether an event spoke of it since.
    pub(super) explained: bool,
}

/// The containers that events spoke of while a list is awaited, or all of them.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Touched {
    containers: HashSet<ContainerId>,
    is_all: bool,
}

impl Touched {
    /// Adds a container, or all.
    pub(super) fn insert(&mut self, id: &ContainerId, is_all: bool) {
        self.is_all |= is_all;
        if self.is_all {
            self.containers = HashSet::default();
        } else {
            self.containers.insert(id.clone());
        }
    }

    pub(super) fn contains(&self, id: &ContainerId) -> bool {
        self.is_all || self.containers.contains(id)
    }

    /// How many containers it holds.
    pub(super) fn len(&self) -> usize {
        self.containers.len()
    }
}

/// Where the question stands whether, and how, a container is alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Inquiry {
    #[default]
    None,
    Wanted,
    Asked(Since),
    /// Asked again after a while: the inspection failed, or its answer is not believed yet.
    Deferred,
}

/// What events reported after an inspection was asked for: its answer may be older.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Since {
    /// Something that one more inspection has to show.
    pub(super) hinted: bool,
    pub(super) started: bool,
    pub(super) exits: u8,
}

impl Inquiry {
    /// Whether nothing is to be expected soon.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Self::None | Self::Deferred)
    }
}

/// What is known of a life that began and has not been announced.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Preview {
    pub(super) container: Arc<Container>,
    /// When its start event says that it began.
    pub(super) began: Option<SystemTime>,
    /// Whether the engine can be asked for more: its name, for its start event did not tell it.
    pub(super) nameless: bool,
}

impl Preview {
    /// What a start event told; `None` if that is not enough to tell of a life, or to tell lives apart.
    pub(super) fn new(
        id: &ContainerId,
        at: Option<SystemTime>,
        pid: Option<u32>,
        reported: Option<Box<Container>>,
    ) -> Option<Self> {
        let nameless = reported.is_none();
        let container = match (reported, pid) {
            (Some(reported), Some(pid)) => reported.with_pid(pid),
            // Such lives are told apart by the time of their start event.
            (Some(reported), None) => {
                let began = reported.started_at().or(at);
                reported.with_pid(0).with_started_at(began)
            }
            (None, Some(pid)) => Container::new(id.clone(), id.as_str(), pid),
            (None, None) => return None,
        };
        Some(Self { began: container.started_at().or(at), container: Arc::new(container), nameless })
    }

    /// Whether its start event contained the name.
    fn is_named(&self) -> bool {
        self.container.name() != self.container.id().as_str()
    }

    /// Takes in what the engine still tells of a container that is not alive: there is no more to be learned.
    pub(super) fn learn(&mut self, reported: Option<Container>) {
        if let Some(reported) = reported.filter(|_| self.nameless) {
            let (pid, began) = (self.container.pid(), self.container.started_at());
            self.container = Arc::new(reported.with_pid(pid).with_started_at(began).with_paused(false));
        }
        self.nameless = false;
    }
}

/// What has to be remembered of lives that were announced and are over. Inspections can be ahead of the event stream:
/// such a life's start event may still come.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Past {
    pub(super) began: Option<SystemTime>,
    /// Whether its start event came, or its exit, which comes after that. If not, it may come on the next connection.
    pub(super) start_reported: bool,
    /// The PIDs of the newest such lives, where known.
    pids: VecDeque<u32>,
}

impl Past {
    /// Whether that life is among them, as far as that is known.
    pub(super) fn includes(&self, container: &Container) -> bool {
        self.pids.contains(&container.pid())
            || container.started_at().is_some_and(|began| self.began.is_some_and(|newest| began <= newest))
    }

    #[cfg(test)]
    pub(super) fn remembered_pids(&self) -> usize {
        self.pids.len()
    }

    /// Whether that start is of a life that was announced, the newest one or an earlier one.
    pub(super) fn began_as(&mut self, preview: &Container) -> bool {
        if preview.pid() != 0 && self.pids.contains(&preview.pid()) {
            return true;
        }
        match (self.began, preview.started_at()) {
            (Some(began), Some(reported)) if reported <= began => true,
            // Starts are told after they happened, so the first one that is told after that life began is its own.
            (Some(_), Some(_)) => !std::mem::replace(&mut self.start_reported, true),
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

    /// Whether it certainly ended the life of which that is known, or came after its end.
    pub(super) fn ends_preview(&self, preview: &Preview) -> bool {
        self.ends(&preview.container)
    }

    /// Whether it certainly ended that life, or came after its end.
    pub(super) fn ends(&self, container: &Container) -> bool {
        self.verdict(container) == Some(true)
    }
}
