//! All decisions about what is alive, as a plain state machine: no sockets, no tasks, no clock of its own.
//!
//! In go [`Input`]s; out come events to publish, IDs to inspect, IDs to try again later and the wish for a list.
//! [`Reconciler::portfolio`] is always what all published events add up to.
//!
//! It is level-triggered. An event is a hint that a container may have changed; the truth is what an inspection says
//! that was *asked after the hint came*. Per container at most one inspection is under way; for what comes meanwhile one
//! more follows.
//!
//! Every answer is news all the same, for it was asked for after what is known: while an inspection is under way, only an
//! exit or the start of another life changes the picture, and an answer about a life that is over brings nothing back.
//! So a container is right with the first answer about a life that goes on, however fast hints come.
//!
//! An event changes the picture by itself only where it is provably newer than what is known:
//!
//! - an exit of the very life that is known: the same PID, or later than the life's start;
//! - the start of another life of the same ID, which ends the one that is known;
//! - a pause or its end of a container whose state was confirmed since the connection stands, that nobody is asking
//!   about, and later than all else known of it.
//!
//! In doubt, inspect again.
//!
//! What events alone speak of is bounded: hints beyond that are forgotten, and a list is owed.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::{HashMap, HashSet};
use tokio::time::Instant;

use crate::engine::{EngineEvent, EngineIdentity, ListingEntry, UnlistedScopes};
use crate::model::{Container, ContainerId, EngineError, Event, EventKind, Unresolved};
use crate::portfolio::Portfolio;
use crate::settings::Settings;

mod audit;
mod deadlines;
mod events;
#[cfg(test)]
mod explorer;
mod failures;
mod inspection;
mod lists;
mod record;
mod resync;
#[cfg(test)]
mod tests;
mod tombstones;

use deadlines::{Deadline, Deadlines};
pub(crate) use deadlines::{GRACE, Now};
use failures::Failures;
use lists::ListState;
use record::{Exit, Inquiry, Preview, Record};

/// How many containers that are not alive are remembered, to recognise late and repeated events of theirs.
const REMEMBERED: usize = 1024;

/// How many containers may be known at most of which events alone speak. Events of more are forgotten, and a list is owed.
const STRANGERS: usize = 16_384;

/// How many bytes the glimpses of lives that are not announced yet may take. Of starts beyond that only the hint is kept.
const MAX_PREVIEW_BYTES: usize = 16 << 20;

/// What the reconciler is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// A subscription to the engine's events stands.
    Connected,
    /// The list, asked for since then or since the audit began; and of whom it does not tell.
    Listed(Vec<ListingEntry>, UnlistedScopes),
    /// The list of an audit failed.
    ListFailed,
    /// An engine event.
    Event(EngineEvent),
    /// The answer to an inspection.
    Inspected(ContainerId, Answer),
    /// The connection, or an attempt to get one, failed. Answers to what was asked do not come any more.
    Disconnected(Arc<EngineError>),
}

/// What the reconciler wants done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Request the list, to begin with or to complete one: [`Input::Listed`], or the connection is given up.
    List,
    /// Request the list of an audit: [`Input::Listed`] or [`Input::ListFailed`].
    Audit,
    /// Inspect this container: [`Input::Inspected`].
    Inspect {
        /// Which.
        id: ContainerId,
        /// Whether its last inspection failed.
        is_retry: bool,
    },
    /// Publish these events, in this order.
    Publish(Vec<Event>),
}

/// Which inspections may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// None.
    None,
    /// One whose last one did not fail.
    Fresh,
    /// Any.
    Any,
}

/// What became of an inspection.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The container is alive, or not.
    Truth(Option<Container>),
    /// The inspection failed.
    Unknown(Arc<EngineError>),
}

/// See the module's documentation.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Reconciler {
    settings: Settings,
    portfolio: Portfolio,
    phase: Phase,
    /// What is known about containers beyond the portfolio. A container that is simply alive has no record.
    records: HashMap<ContainerId, Record>,
    /// Members of the portfolio that this connection has not confirmed yet.
    unconfirmed: HashSet<ContainerId>,
    /// The engine of the newest connection.
    engine: Option<Arc<EngineIdentity>>,
    /// Of these members, those that were confirmed by another engine, with that one.
    origins: HashMap<ContainerId, Arc<EngineIdentity>>,
    /// What to inspect, in order; entries whose record says otherwise are skipped.
    fresh: VecDeque<ContainerId>,
    /// What to inspect again after its inspection failed, in the same way.
    retries: VecDeque<ContainerId>,
    /// Those to be forgotten first, in order, if they are not alive and nobody asks about them.
    remembered: VecDeque<ContainerId>,
    failures: Failures,
    deadlines: Deadlines,
    lists: ListState,
    /// How many lists in a row failed or were not complete.
    incomplete_lists: u32,
    published: Vec<Event>,
    drifted: u64,
    ignored: u64,
    /// How many records are [strangers](Record::is_stranger).
    strangers: usize,
    /// How many bytes the glimpses in records take.
    preview_bytes: usize,
    /// Whether events of containers beyond the bounds were forgotten.
    has_forgotten: bool,
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
enum Phase {
    #[default]
    Disconnected,
    /// The list is awaited.
    Listing,
    /// The list is here; holds the containers whose first answer is awaited, and whether one came that said nothing. A list
    /// that was not complete is to be asked for again.
    Confirming { unsettled: HashMap<ContainerId, bool>, complete: bool },
    /// The portfolio follows the engine.
    Live,
}

impl Reconciler {
    /// A reconciler that knows of no container and is not connected.
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// What all published events add up to.
    pub(crate) fn portfolio(&self) -> &Portfolio {
        &self.portfolio
    }

    /// Whether the portfolio is as the engine says.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// In how many containers audits found the portfolio to be wrong.
    pub(crate) fn drifted(&self) -> u64 {
        self.drifted
    }

    /// Returns what to do next: first the list to request, then what to inspect where there is room for that, then what to
    /// publish.
    pub(crate) fn poll_effect(&mut self, room: Room) -> Option<Effect> {
        if let Some(list) = self.poll_list() {
            return Some(list);
        }
        if let Some((id, is_retry)) = self.next_inspection(room) {
            return Some(Effect::Inspect { id, is_retry });
        }
        let events = self.take_events();
        (!events.is_empty()).then_some(Effect::Publish(events))
    }

    /// Takes the events to publish, in order; for when there is no connection to do anything else with.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        take(&mut self.published)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, unless an input changes that.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Acts on all deadlines whose time has come.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        while let Some(deadline) = self.deadlines.pop_due(now.instant) {
            self.due(deadline, now);
        }
    }

    /// Acts on a deadline that is not pending any more.
    fn due(&mut self, deadline: Deadline, now: Now) {
        match deadline {
            Deadline::Retry(id) => self.want(&id),
            Deadline::Exit(id) => self.exit_unreported(&id, now),
            Deadline::Drift(id) => self.inspect_drift(&id, now),
            Deadline::Relist => self.relist(),
            Deadline::Audit => self.begin_audit(now),
        }
    }

    /// The containers that could not be inspected and are inspected again later.
    pub(crate) fn unresolved(&mut self) -> &Unresolved {
        self.failures.summary()
    }

    /// How many events changed nothing: neither the picture nor what is asked.
    pub(crate) fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Takes in what happened; `now` dates what the engine reports without a time.
    pub(crate) fn handle_input(&mut self, input: Input, now: Now) {
        match input {
            Input::Connected => self.connected(now),
            Input::Listed(entries, unlisted_scopes) => self.listed(entries, &unlisted_scopes, now),
            Input::ListFailed => self.list_failed(now),
            Input::Event(event) => self.event(event, now),
            Input::Inspected(id, answer) => self.inspected(&id, answer, now),
            Input::Disconnected(error) => {
                self.reset();
                self.publish(now.time, EventKind::Disconnected { error });
            }
        }
    }

    /// Forgets whatever was asked, and what only holds within one connection.
    pub(crate) fn reset(&mut self) {
        self.phase = Phase::Disconnected;
        self.fresh.clear();
        self.retries.clear();
        self.failures.clear();
        self.deadlines.clear();
        self.preview_bytes = 0;
        self.reset_lists();
        let mut left = Vec::new();
        for (id, record) in &mut self.records {
            record.inquiry = Inquiry::None;
            record.suspected = false;
            record.suspicion = None;
            record.gone = false;
            record.preview = None;
            record.preview_bytes = 0;
            record.is_begun = false;
            record.hinted_at = None;
            record.listed_name = None;
            if !record.remembered {
                left.push(id.clone());
            }
        }
        // Nobody asks about them any more, but of what is over the engine may tell again on the next connection.
        left.sort();
        for id in left {
            self.forget(&id);
        }
    }

    /// Notes the engine that the next [`Input::Connected`] is about.
    pub(crate) fn set_engine(&mut self, engine: &Arc<EngineIdentity>) {
        let Some(former) = self.engine.replace(engine.clone()).filter(|former| former != engine) else {
            return;
        };
        for id in self.portfolio.ids() {
            self.origins.entry(id.clone()).or_insert_with(|| former.clone());
        }
    }

    fn connected(&mut self, now: Now) {
        self.reset();
        self.phase = Phase::Listing;
        self.unconfirmed = self.portfolio.ids().cloned().collect();
        self.begin_lists(now);
    }

    /// A member of the portfolio is not alive any more.
    fn exit_known(&mut self, id: &ContainerId, exit: Option<Exit>, now: Now) {
        // Of a life known from an earlier connection a time only tells that it is over, not that this was its end.
        let confirmed = !self.unconfirmed.remove(id);
        let code = exit.filter(|exit| confirmed || exit.pid.is_some()).and_then(|exit| exit.code);
        if let Some(container) = self.portfolio.by_id(id).cloned() {
            let time = exit.and_then(|exit| exit.at).unwrap_or(now.time);
            self.publish(time, EventKind::Exited { container, code });
        }
    }

    /// A life that was over before it could be seen leaves its trace.
    fn announce_past_life(&mut self, life: Preview, exit: Exit, now: Now) {
        let (container, began) = (life.container, life.began.unwrap_or(now.time));
        self.publish(began, EventKind::Started(container.clone()));
        self.publish(exit.at.unwrap_or(now.time), EventKind::Exited { container, code: exit.code });
    }

    fn publish(&mut self, time: SystemTime, kind: EventKind) {
        if let EventKind::Exited { container, .. } = &kind {
            let id = container.id();
            if self.records.entry(id.clone()).or_default().note_past(container) {
                self.deadlines.cancel(Deadline::Exit(id.clone()));
            }
        }
        let origin = match &kind {
            EventKind::Exited { container, .. } => self.origins.remove(container.id()),
            _ => None,
        };
        self.portfolio.apply(&kind);
        self.published.push(Event::new(time, kind).with_engine(origin.or_else(|| self.engine.clone())));
    }
}
