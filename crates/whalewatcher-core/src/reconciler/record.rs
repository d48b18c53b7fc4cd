//! What the reconciler keeps of a container beyond the portfolio.

use std::collections::VecDeque;
use std::mem::{replace, take};
use std::sync::Arc;
use std::time::SystemTime;

use crate::engine::ListingEntry;
use crate::model::{Container, ContainerId, SeenBy};

/// How many PIDs a tombstone keeps.
const PIDS: usize = 8;

/// What is kept of one container. A container that is alive, with nothing under way, has no record.
#[derive(Debug, Default, PartialEq)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Record {
    pub(super) inspection: Inspection,
    /// What is awaited of its newest life.
    awaited: Awaited,
    /// Whether anything may have happened to it since an inspection showed it: the next exit may be of a later life.
    pub(super) is_touched: bool,
    /// Whether only events named the container so far.
    pub(super) is_unverified: bool,
    /// How many bytes the preview takes.
    pub(super) preview_bytes: usize,
    /// The time of the newest event about a change that led to the inspection or came since.
    pub(super) hinted_at: Option<SystemTime>,
    /// The name from a list, of a container that is inspected and not in the portfolio.
    pub(super) listed_name: Option<Box<str>>,
    /// The newest exit event.
    pub(super) exit: Option<Exit>,
    /// When a process was last killed for lack of memory, if no start or exit event came since on this connection.
    pub(super) oom: Option<Option<SystemTime>>,
    /// The lives that were announced and are over.
    pub(super) tombstone: Option<Tombstone>,
    /// The newest time of any event.
    pub(super) newest: Option<SystemTime>,
    /// The newest time of a start event.
    pub(super) newest_start: Option<SystemTime>,
    /// Whether the container is in the queue of tombstones.
    pub(super) is_entombed: bool,
    /// How an audit's list differs, until [`Deadline::Drift`](super::Deadline::Drift).
    pub(super) mismatch: Option<Box<Mismatch>>,
    /// Whether the pending inspection verifies a mismatch that no event has explained: what it changes is drift.
    pub(super) is_drift: bool,
}

/// What is awaited of the newest life of a container.
#[derive(Debug, Default, PartialEq)]
#[cfg_attr(test, derive(Clone))]
enum Awaited {
    /// Nothing: it is in the portfolio or over, as far as that is known.
    #[default]
    Nothing,
    /// A start event named it, and it is not announced yet.
    Announcement {
        /// What the start event contained.
        preview: Preview,
        /// Whether no end of it is known, so that a first answer "not alive" is verified.
        verify: bool,
    },
    /// The exit event of the life in the portfolio, which is over by the word of `seen_by`: of the engine in
    /// an inspection, or of the witness. Until [`Deadline::Exit`](super::Deadline::Exit).
    Exit { seen_by: SeenBy },
}

impl Record {
    /// Whether it says no more than that there is none.
    pub(super) fn is_blank(&self) -> bool {
        *self == Self { is_unverified: self.is_unverified, ..Self::default() }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.inspection == Inspection::None && self.mismatch.is_none() && !self.awaits_exit()
    }

    /// The container's name, where a list or its start event contains it.
    pub(super) fn name(&self) -> Option<String> {
        let named = self.preview().filter(|preview| preview.is_named());
        let name = named.map(|preview| preview.container.name().to_owned());
        name.or_else(|| self.listed_name.as_deref().map(str::to_owned))
    }

    /// Records that an announced life is over. Returns whether its exit event was awaited.
    pub(super) fn record_end(&mut self, container: &Container) -> bool {
        let began = container.started_at();
        let start_reported = self.newest_start > began || self.exit.is_some_and(|exit| exit.ends(container));
        let mut pids = self.tombstone.take().map(|tombstone| tombstone.pids).unwrap_or_default();
        if container.pid() != 0 {
            pids.truncate(PIDS - 1);
            pids.push_front(container.pid());
        }
        let is_witnessed = self.end_seen_by() == Some(SeenBy::Kernel);
        self.tombstone = Some(Tombstone { began, start_reported, pids, is_witnessed });
        self.end_awaiting_exit()
    }

    /// Records that a life began which is not in the portfolio, or, without a preview, that none did. Returns
    /// the preview of the life before.
    pub(super) fn record_start(&mut self, preview: Option<Preview>) -> Option<Preview> {
        let former = self.take_preview();
        if let Some(preview) = preview {
            self.is_touched = false;
            self.awaited = Awaited::Announcement { preview, verify: true };
        }
        former
    }

    /// The life that is to be announced.
    pub(super) fn preview(&self) -> Option<&Preview> {
        match &self.awaited {
            Awaited::Announcement { preview, .. } => Some(preview),
            Awaited::Nothing | Awaited::Exit { .. } => None,
        }
    }

    pub(super) fn preview_mut(&mut self) -> Option<&mut Preview> {
        match &mut self.awaited {
            Awaited::Announcement { preview, .. } => Some(preview),
            Awaited::Nothing | Awaited::Exit { .. } => None,
        }
    }

    /// Whether the life that is to be announced is over, and its name is known.
    pub(super) fn is_over_and_named(&self) -> bool {
        let preview = self.preview().filter(|preview| preview.is_named());
        preview.is_some_and(|preview| self.exit.is_some_and(|exit| exit.ends_preview(preview)))
    }

    /// Removes and returns the life that is to be announced.
    pub(super) fn take_preview(&mut self) -> Option<Preview> {
        self.take_preview_if(|_| true)
    }

    /// Removes and returns the life that is to be announced, on a condition.
    pub(super) fn take_preview_if(&mut self, condition: impl FnOnce(&Preview) -> bool) -> Option<Preview> {
        self.preview().filter(|preview| condition(preview))?;
        match take(&mut self.awaited) {
            Awaited::Announcement { preview, .. } => Some(preview),
            Awaited::Nothing | Awaited::Exit { .. } => None,
        }
    }

    /// Whether a first answer "not alive" is to be verified: a life began of which no end is known.
    pub(super) fn is_to_verify(&self) -> bool {
        matches!(self.awaited, Awaited::Announcement { verify: true, .. })
    }

    /// An answer "not alive" needs no verification any more.
    pub(super) fn end_verifying(&mut self) {
        if let Awaited::Announcement { verify, .. } = &mut self.awaited {
            *verify = false;
        }
    }

    /// Whether the exit event of the life in the portfolio is awaited.
    pub(super) fn awaits_exit(&self) -> bool {
        matches!(self.awaited, Awaited::Exit { .. })
    }

    /// What reported that the life in the portfolio is over, if its exit event is awaited.
    pub(super) fn end_seen_by(&self) -> Option<SeenBy> {
        match self.awaited {
            Awaited::Exit { seen_by } => Some(seen_by),
            Awaited::Nothing | Awaited::Announcement { .. } => None,
        }
    }

    /// Awaits the exit event of the life in the portfolio, which is over by this word. Returns whether that
    /// was not known before.
    pub(super) fn await_exit(&mut self, seen_by: SeenBy) -> bool {
        debug_assert!(self.preview().is_none(), "what is not announced is not in the portfolio");
        match self.end_seen_by() {
            // The witness is certain.
            Some(former) if former == seen_by || former == SeenBy::Kernel => false,
            _ => {
                self.awaited = Awaited::Exit { seen_by };
                true
            }
        }
    }

    /// Ends to await the exit event. Returns whether it was awaited.
    pub(super) fn end_awaiting_exit(&mut self) -> bool {
        let awaited = self.awaits_exit();
        if awaited {
            self.awaited = Awaited::Nothing;
        }
        awaited
    }

    /// Forgets what only holds within one connection.
    pub(super) fn reset(&mut self) {
        *self = Self {
            exit: self.exit.take(),
            tombstone: self.tombstone.take(),
            newest: self.newest,
            newest_start: self.newest_start,
            is_entombed: self.is_entombed,
            is_unverified: self.is_unverified,
            ..Self::default()
        };
    }
}

/// An audit's list shows a container otherwise than the portfolio.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mismatch {
    /// How the list shows it, if at all.
    pub(super) listed: Option<ListingEntry>,
    /// Whether an event explains it: one came since the list was requested, or what one led to is still under way.
    pub(super) explained: bool,
}

/// The inspection of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Inspection {
    /// None is due.
    #[default]
    None,
    /// One begins as soon as there is room.
    Pending,
    /// One is in flight.
    InFlight(Since),
    /// The last one failed, or its answer is to be verified: one is pending when
    /// [`Deadline::Retry`](super::Deadline::Retry) is due.
    Deferred,
}

/// What events reported after an inspection began: its answer may be older.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Since {
    /// Whether one more inspection is to follow.
    pub(super) hinted: bool,
    /// Whether a life began, or may have.
    pub(super) started: bool,
    /// Whether anything may have happened.
    pub(super) touched: bool,
    /// How many exits came.
    pub(super) exits: u8,
}

impl Inspection {
    /// Whether no answer is to be expected soon.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Self::None | Self::Deferred)
    }
}

/// What is known of a life that began and has not been announced.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Preview {
    pub(super) container: Arc<Container>,
    /// When it began, by its start event.
    pub(super) began: Option<SystemTime>,
    /// Whether the start event lacks the name or the rucksack, and the engine may still return it.
    pub(super) is_incomplete: bool,
}

impl Preview {
    /// Returns what a start event contains; `None` if that does not suffice to announce a life and to
    /// distinguish it from others. `packs` is whether inspections attach rucksacks.
    pub(super) fn new(
        id: &ContainerId,
        at: Option<SystemTime>,
        pid: Option<u32>,
        reported: Option<Box<Container>>,
        packs: bool,
    ) -> Option<Self> {
        let is_incomplete = packs || reported.is_none();
        let container = match (reported, pid) {
            (Some(reported), Some(pid)) => reported.with_pid(pid),
            // Without a PID the time of the start event distinguishes lives.
            (Some(reported), None) => {
                let began = reported.started_at().or(at);
                reported.with_pid(0).with_started_at(began)
            }
            (None, Some(pid)) => Container::new(id.clone(), id.as_str(), pid),
            (None, None) => return None,
        };
        Some(Self { began: container.started_at().or(at), container: Arc::new(container), is_incomplete })
    }

    /// Whether its start event contained the name.
    pub(super) fn is_named(&self) -> bool {
        self.container.name() != self.container.id().as_str()
    }

    /// Takes over what the engine returned of the container: of one that is not alive only the name, labels
    /// and rucksack.
    pub(super) fn learn(&mut self, reported: Option<Container>) {
        match reported {
            Some(reported) if reported.pid() != 0 => {
                self.began = reported.started_at().or(self.began);
                self.container = Arc::new(reported);
            }
            Some(reported) if self.is_incomplete => {
                let (pid, began) = (self.container.pid(), self.container.started_at());
                self.container = Arc::new(reported.with_pid(pid).with_started_at(began).with_paused(false));
            }
            _ => {}
        }
        self.is_incomplete = false;
    }
}

/// What is kept of lives that were announced and are over. Inspections can be ahead of the event stream, so the start
/// event of such a life may still come.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tombstone {
    /// When the newest of them began.
    pub(super) began: Option<SystemTime>,
    /// Whether its start event came, or its exit event, which comes after that. If not, it may come on the next
    /// connection.
    pub(super) start_reported: bool,
    /// The PIDs of the newest of them, where known.
    pids: VecDeque<u32>,
    /// Whether the witness reported the end of the newest of them: it is over, whatever the engine shows.
    is_witnessed: bool,
}

impl Tombstone {
    /// Whether it includes that life, as far as that is known.
    pub(super) fn includes(&self, container: &Container) -> bool {
        self.pids.contains(&container.pid())
            || container.started_at().is_some_and(|began| self.began.is_some_and(|newest| began <= newest))
    }

    /// Whether the newest of them is that life, and over by the witness' word.
    pub(super) fn is_witnessed(&self, container: &Container) -> bool {
        self.is_witnessed
            && self.began == container.started_at()
            && self.pids.front() == Some(&container.pid())
    }

    /// The witness' word was about another life, or does not matter any more.
    pub(super) fn forget_witness(&mut self) {
        self.is_witnessed = false;
    }

    #[cfg(test)]
    pub(super) fn pids(&self) -> usize {
        self.pids.len()
    }

    /// Whether a start event is that of a life that it includes.
    pub(super) fn began_as(&mut self, preview: &Container) -> bool {
        if preview.pid() != 0 && self.pids.contains(&preview.pid()) {
            return true;
        }
        match (self.began, preview.started_at()) {
            (Some(began), Some(reported)) if reported <= began => true,
            // Start events come after the start, so the first one that is later than the newest life's start
            // is its own.
            (Some(_), Some(_)) => !replace(&mut self.start_reported, true),
            _ => false,
        }
    }
}

/// The end of a life, from an event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Exit {
    pub(super) pid: Option<u32>,
    pub(super) at: Option<SystemTime>,
    pub(super) code: Option<i32>,
    /// Whether a process of that life was killed for lack of memory.
    pub(super) oom: bool,
    /// Whether no other life can have its ID, so that neither PID nor time matters.
    pub(super) is_final: bool,
}

impl Exit {
    /// Whether it ended that life, or came after its end; `None` where neither PIDs nor times decide that.
    pub(super) fn has_ended(&self, container: &Container) -> Option<bool> {
        if self.is_final {
            return Some(true);
        }
        match (self.pid, self.at, container.started_at()) {
            (Some(pid), _, _) if container.pid() != 0 => Some(pid == container.pid()),
            (_, Some(at), Some(started_at)) => Some(at > started_at),
            _ => None,
        }
    }

    /// Returns the container whose life it ended, marked if there was an OOM kill.
    pub(super) fn mark(&self, container: Arc<Container>) -> Arc<Container> {
        match self.oom && !container.oom_killed() {
            true => Arc::new(Container::clone(&container).with_oom_killed(true)),
            false => container,
        }
    }

    /// Whether it certainly ended the life of that preview, or came after its end.
    pub(super) fn ends_preview(&self, preview: &Preview) -> bool {
        self.ends(&preview.container)
    }

    /// Whether it certainly ended that life, or came after its end.
    pub(super) fn ends(&self, container: &Container) -> bool {
        self.has_ended(container) == Some(true)
    }
}
