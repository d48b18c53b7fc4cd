//! All decisions about what is alive, as a state machine without I/O and without a clock of its own.
//!
//! # Contract
//!
//! As in quinn-proto, the caller drives it with four methods:
//!
//! - [`handle_input`](Reconciler::handle_input) takes in what happened: a connection, a list, an event, an
//!   answer. `now` comes with each call.
//! - [`poll_effect`](Reconciler::poll_effect) returns what to do, until there is nothing left: first the list
//!   to request, then the containers to inspect as far as there is room, then the events to publish. To be
//!   called after any input.
//! - [`poll_timeout`](Reconciler::poll_timeout) returns the time of the earliest deadline. Any other call may
//!   change it.
//! - [`handle_timeout`](Reconciler::handle_timeout) acts on the deadlines that have passed; effects may follow.
//!
//! [`Reconciler::portfolio`] is always the fold of all events, published and about to be.
//!
//! # Decisions
//!
//! It is level-triggered. An event is a hint that a container may have changed; an inspection that *began
//! after the hint* shows its state. Per container at most one inspection is in flight; for hints that come
//! meanwhile one more follows.
//!
//! Each answer counts all the same, for its inspection began after the last one ended: while it is in flight,
//! only an exit or the start of another life changes the portfolio, and an answer about a life that is over
//! brings nothing back. So a container is right with the first answer about a life that goes on, however fast
//! hints come.
//!
//! An event changes the portfolio by itself only where it is certainly newer than what is known:
//!
//! - an exit of the known life: with its PID, or later than its start;
//! - the start of another life under the same ID, which ends the known one;
//! - a pause, its end, or a change of health, of a container whose state was confirmed on this connection and
//!   that is not being inspected, with a time later than all else that is known of it;
//! - that a process was killed for lack of memory, later than the start of the known life.
//!
//! In all other cases the container is inspected.
//!
//! Where an ID has one life ([`has_one_life_per_id`](crate::engine::EngineConnection::has_one_life_per_id)),
//! an exit is final: whatever comes later of that ID is ignored, in events, lists and answers.
//!
//! Containers that only events name are bounded in number: events of more are forgotten, and a list is requested.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::{HashMap, HashSet};
use tokio::time::Instant;

use crate::engine::{EngineEvent, ListingEntry, UnlistedScopes};
use crate::model::{
    Container, ContainerId, EngineError, EngineIdentity, Event, EventKind, SeenBy, Unresolved,
};
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
mod witness;

use deadlines::{Deadline, Deadlines};
pub(crate) use deadlines::{GRACE, Now};
use failures::Failures;
use lists::ListState;
use record::{Exit, Preview, Record};

/// How many tombstones are kept, to recognise late and repeated events of containers that are not alive.
const MAX_TOMBSTONES: usize = 1024;

/// How many are kept where an ID has one life. They are what keeps a list or an inspection that is behind
/// from bringing a container back, and many containers may end at once.
const MAX_FINAL_TOMBSTONES: usize = 4096;

/// How many containers that only events name may have records. Events of more are forgotten, and a list is requested.
const MAX_UNVERIFIED: usize = 16_384;

/// How many bytes the previews of lives that are not announced yet may take. Start events beyond that are only hints.
const MAX_PREVIEW_BYTES: usize = 16 << 20;

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// The engine's events are subscribed to.
    Connected,
    /// The list that [`Effect::List`] or [`Effect::Audit`] requested, and the scopes that it does not cover.
    Listed(Vec<ListingEntry>, UnlistedScopes),
    /// A list follows that lacks these members of the portfolio, whose lives go on as the witness knows.
    Survivors(Vec<ContainerId>),
    /// The list that [`Effect::Audit`] requested failed.
    ListFailed,
    /// An event of the engine.
    Event(EngineEvent),
    /// A start or exit event of a container whose known life goes on, as the witness knows.
    Disputed(EngineEvent),
    /// The witness reports the end of a life.
    Ended {
        /// The container as it was when the witness began to watch it.
        life: Arc<Container>,
        /// Whether the engine does not answer, so that there is no point in waiting for its event.
        is_silent: bool,
    },
    /// What [`Effect::Verify`] asked for.
    Verified {
        /// The life.
        life: Box<Container>,
        /// Whether it goes on.
        goes_on: bool,
    },
    /// The application wants this container inspected.
    Refresh(ContainerId),
    /// The answer to an inspection.
    Inspected(ContainerId, Answer),
    /// The connection was lost, or an attempt to connect failed. No list and no answer comes any more.
    Disconnected(Arc<EngineError>),
}

/// What the caller is to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Request the first list, or one that completes it. [`Input::Listed`] follows, or the connection is given up.
    List,
    /// Request the list of an audit. [`Input::Listed`] or [`Input::ListFailed`] follows.
    Audit,
    /// Inspect a container. [`Input::Inspected`] follows.
    Inspect {
        /// Its ID.
        id: ContainerId,
        /// Whether its last inspection failed.
        is_retry: bool,
    },
    /// Ask the witness whether a life goes on that is over by its word, and alive by the engine's.
    /// [`Input::Verified`] follows.
    Verify(Box<Container>),
    /// Publish these events, in this order.
    Publish(Vec<Event>),
}

/// Which inspections may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// None.
    None,
    /// Those of containers whose last inspection did not fail.
    Fresh,
    /// All.
    Any,
}

/// The outcome of an inspection.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The container as the engine returned it: alive if it has a PID. `None` if the engine does not know it.
    Truth(Option<Container>),
    /// The engine returned that it is not alive, but its known life goes on, as the witness knows.
    Disputed,
    /// The inspection failed.
    Unknown(Arc<EngineError>),
}

/// Decides what is alive; see the module's documentation.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Reconciler {
    settings: Settings,
    portfolio: Portfolio,
    phase: Phase,
    /// What is known of containers beyond the portfolio. One that is alive, with nothing under way, has no record.
    records: HashMap<ContainerId, Record>,
    /// Members of the portfolio that this connection has not confirmed yet.
    unconfirmed: HashSet<ContainerId>,
    /// The engine of the newest connection.
    engine: Option<Arc<EngineIdentity>>,
    /// Whether inspections attach rucksacks.
    packs: bool,
    /// Whether a container that is over never starts again under its ID.
    has_one_life_per_id: bool,
    /// The engines that confirmed members which the newest engine has not confirmed.
    origins: HashMap<ContainerId, Arc<EngineIdentity>>,
    /// The containers to inspect, in order; those whose inspection is not pending are skipped.
    fresh: VecDeque<ContainerId>,
    /// The same for containers whose last inspection failed.
    retries: VecDeque<ContainerId>,
    /// Containers that are not alive, oldest first: the records to forget when there are too many.
    tombstones: VecDeque<ContainerId>,
    failures: Failures,
    deadlines: Deadlines,
    lists: ListState,
    /// How many lists in a row failed or were not complete.
    incomplete_lists: u32,
    /// The lives to ask the witness about.
    doubted: Vec<Container>,
    /// Members of the portfolio that the list to come lacks, though their lives go on.
    survivors: Vec<ContainerId>,
    contradictions: u64,
    published: Vec<Event>,
    drifted: u64,
    ignored: u64,
    /// How many records are [unverified](Record::is_unverified).
    unverified: usize,
    /// How many bytes the previews in records take.
    preview_bytes: usize,
    /// Whether events beyond the bounds were forgotten.
    has_forgotten: bool,
}

/// How far the portfolio follows the engine.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
enum Phase {
    #[default]
    Disconnected,
    /// The list is pending or in flight.
    Listing,
    /// The list came, and first answers are awaited.
    Confirming {
        /// The containers without an answer that shows their state, and whether one came that does not.
        unsettled: HashMap<ContainerId, bool>,
        /// Whether the list covered all scopes; else another one follows.
        complete: bool,
    },
    /// The portfolio follows the engine.
    Live,
}

impl Reconciler {
    /// Returns a reconciler that is not connected and knows no container.
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Releases the memory that only more records at once needed, as a resync does: one for each container.
    fn release_capacity(&mut self) {
        self.records.shrink_to(2 * self.records.len());
        self.unconfirmed.shrink_to(2 * self.unconfirmed.len());
        self.origins.shrink_to(2 * self.origins.len());
        for queue in [&mut self.fresh, &mut self.retries, &mut self.tombstones] {
            queue.shrink_to(2 * queue.len());
        }
        self.deadlines.release_capacity();
    }

    /// The fold of all events, published and about to be.
    pub(crate) fn portfolio(&self) -> &Portfolio {
        &self.portfolio
    }

    /// Whether the portfolio follows the engine.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// How many containers audits found to be wrong in the portfolio.
    pub(crate) fn drifted(&self) -> u64 {
        self.drifted
    }

    /// How many times the engine contradicted the witness.
    pub(crate) fn contradictions(&self) -> u64 {
        self.contradictions
    }

    /// Returns what to do next, in this order: the list to request, the containers to inspect, the lives to
    /// verify, the events to publish.
    pub(crate) fn poll_effect(&mut self, room: Room) -> Option<Effect> {
        if let Some(list) = self.poll_list() {
            return Some(list);
        }
        if let Some((id, is_retry)) = self.next_inspection(room) {
            return Some(Effect::Inspect { id, is_retry });
        }
        if let Some(life) = self.doubted.pop() {
            return Some(Effect::Verify(Box::new(life)));
        }
        let events = self.take_events();
        (!events.is_empty()).then_some(Effect::Publish(events))
    }

    /// Returns the events to publish. Where there is no connection, that is the only effect.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        take(&mut self.published)
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Acts on all deadlines that have passed.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        while let Some(deadline) = self.deadlines.pop_due(now.instant) {
            self.due(deadline, now);
        }
    }

    /// Acts on a deadline that is not pending any more.
    fn due(&mut self, deadline: Deadline, now: Now) {
        match deadline {
            Deadline::Retry(id) => self.request_inspection(&id),
            Deadline::Exit(id) => self.exit_unreported(&id, now),
            Deadline::Drift(id) => self.inspect_drift(&id, now),
            Deadline::Relist => self.relist(),
            Deadline::Audit => self.begin_audit(now),
        }
    }

    /// The containers whose last inspection failed; they are inspected again.
    pub(crate) fn unresolved(&mut self) -> &Unresolved {
        self.failures.summary()
    }

    /// How many events changed nothing: not the portfolio, and not what is inspected.
    pub(crate) fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Takes in what happened.
    pub(crate) fn handle_input(&mut self, input: Input, now: Now) {
        match input {
            Input::Connected => self.connected(now),
            Input::Listed(entries, unlisted_scopes) => self.listed(entries, &unlisted_scopes, now),
            Input::ListFailed => self.list_failed(now),
            Input::Survivors(survivors) => self.survivors = survivors,
            Input::Event(event) => self.event(event, false, now),
            Input::Disputed(event) => self.event(event, true, now),
            Input::Ended { life, is_silent } => self.ended(&life, is_silent, now),
            Input::Verified { life, goes_on } => self.verified(*life, goes_on, now),
            Input::Refresh(id) => self.refresh(&id),
            Input::Inspected(id, answer) => self.inspected(&id, answer, now),
            Input::Disconnected(error) => {
                self.exit_witnessed(now);
                self.reset();
                self.publish(now.time, EventKind::Disconnected { error });
            }
        }
    }

    /// Forgets what only holds within one connection.
    pub(crate) fn reset(&mut self) {
        self.phase = Phase::Disconnected;
        self.fresh.clear();
        self.retries.clear();
        self.failures.clear();
        self.doubted.clear();
        self.survivors.clear();
        self.deadlines.clear();
        self.preview_bytes = 0;
        self.reset_lists();
        let mut left = Vec::new();
        for (id, record) in &mut self.records {
            record.reset();
            if !record.is_entombed {
                left.push(id.clone());
            }
        }
        // None is inspected any more. Tombstones stay: the next connection may deliver events of the last second again.
        left.sort();
        for id in left {
            self.forget(&id);
        }
    }

    /// Sets the engine of the next [`Input::Connected`], whether its inspections attach rucksacks, and
    /// whether its IDs have one life each.
    pub(crate) fn set_engine(
        &mut self,
        engine: &Arc<EngineIdentity>,
        packs: bool,
        has_one_life_per_id: bool,
    ) {
        self.packs = packs;
        self.has_one_life_per_id = has_one_life_per_id;
        let Some(former) = self.engine.replace(engine.clone()).filter(|former| former != engine) else {
            return;
        };
        for id in self.portfolio.ids() {
            self.origins.entry(id.clone()).or_insert_with(|| former.clone());
        }
    }

    /// Inspects a container from now on, if it is alive. Until the first list it is not known what is.
    fn refresh(&mut self, id: &ContainerId) {
        if !matches!(self.phase, Phase::Disconnected) && self.portfolio.by_id(id).is_some() {
            self.request_inspection(id);
        }
    }

    fn connected(&mut self, now: Now) {
        self.reset();
        self.phase = Phase::Listing;
        self.unconfirmed = self.portfolio.ids().cloned().collect();
        self.begin_lists(now);
    }

    /// Publishes that a member of the portfolio is not alive any more.
    fn exit_known(&mut self, id: &ContainerId, exit: Option<Exit>, now: Now) {
        // The time of an exit shows that a life from an earlier connection is over, but not that this was its exit.
        let confirmed = !self.unconfirmed.remove(id);
        let is_own = |exit: &Exit| confirmed || exit.pid.is_some() || exit.is_final;
        let own = exit.filter(is_own).unwrap_or_default();
        let end_seen_by = self.records.get(id).and_then(Record::end_seen_by).unwrap_or_default();
        let seen_by = exit.map_or(end_seen_by, |_| SeenBy::Engine);
        if let Some(container) = self.portfolio.by_id(id).cloned() {
            let (container, code) = (own.mark(container), own.code);
            let time = exit.and_then(|exit| exit.at).unwrap_or(now.time);
            self.publish_seen(time, EventKind::Exited { container, code }, seen_by);
        }
        if self.has_one_life_per_id {
            self.drop_inspection(id);
        }
    }

    /// Publishes start and exit of a life that was over before an inspection could show it.
    fn announce_brief_life(&mut self, life: Preview, exit: Exit, now: Now) {
        let (container, began) = (life.container, life.began.unwrap_or(now.time));
        self.publish(began, EventKind::Started(container.clone()));
        let kind = EventKind::Exited { container: exit.mark(container), code: exit.code };
        self.publish(exit.at.unwrap_or(now.time), kind);
    }

    fn publish(&mut self, time: SystemTime, kind: EventKind) {
        self.publish_seen(time, kind, SeenBy::Engine);
    }

    fn publish_seen(&mut self, time: SystemTime, kind: EventKind, seen_by: SeenBy) {
        if let EventKind::Exited { container, .. } = &kind {
            let id = container.id();
            if self.records.entry(id.clone()).or_default().record_end(container) {
                self.deadlines.cancel(Deadline::Exit(id.clone()));
            }
        }
        let origin = match &kind {
            EventKind::Exited { container, .. } => self.origins.remove(container.id()),
            _ => None,
        };
        self.portfolio.apply(&kind);
        let event = Event::new(time, kind).with_engine(origin.or_else(|| self.engine.clone()));
        self.published.push(event.with_seen_by(seen_by));
    }
}
