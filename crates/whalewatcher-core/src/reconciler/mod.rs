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

use crate::engine::{EngineEvent, ListingEntry, UnlistedScopes};
use crate::model::{Container, ContainerId, EngineError, EngineIdentity, Event, EventKind, Unresolved};
use crate::portfolio::Portfolio;

mod answers;
mod audit;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod explorer;
mod failures;
mod memory;
mod record;

use failures::Failures;
use record::{Exit, Inquiry, Preview, Record, Since, Touched};

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
    /// Time to compare the portfolio with a list, though the connection stands; or to complete a list that did not tell
    /// of all.
    Audit,
    /// There will be no list for the audit.
    AuditFailed,
    /// What [`Reconciler::take_suspects`] gave had its time to be explained by events.
    Suspect(ContainerId),
    /// An engine event.
    Event(EngineEvent),
    /// The answer to an inspection.
    Inspected(ContainerId, Answer),
    /// The time to retry a failed inspection has come.
    Retry(ContainerId),
    /// The connection, or an attempt to get one, failed. Answers to what was asked do not come any more.
    Disconnected(Arc<EngineError>),
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
    deferred: Vec<(ContainerId, u32)>,
    suspects: Vec<ContainerId>,
    list_wanted: bool,
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
    /// The list is awaited; holds those that events spoke of meanwhile.
    Listing { touched: Touched },
    /// The list is here; holds the containers whose first answer is awaited, and whether one came that said nothing. A list
    /// that was not complete is to be asked for again.
    Confirming { unsettled: HashMap<ContainerId, bool>, complete: bool },
    /// The portfolio follows the engine. During an audit the list is awaited; holds those that events spoke of meanwhile.
    Live { audit: Option<Touched> },
}

impl Reconciler {
    /// What all published events add up to.
    pub(crate) fn portfolio(&self) -> &Portfolio {
        &self.portfolio
    }

    /// Whether the portfolio is as the engine says.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. })
    }

    /// Whether [`Input::Audit`] would have a list asked for.
    pub(crate) fn takes_audits(&self) -> bool {
        matches!(self.phase, Phase::Live { audit: None } | Phase::Confirming { complete: false, .. })
    }

    /// In how many containers audits found the portfolio to be wrong.
    pub(crate) fn drifted(&self) -> u64 {
        self.drifted
    }

    /// Takes what is to be published, in order.
    pub(crate) fn take_published(&mut self) -> Vec<Event> {
        take(&mut self.published)
    }

    /// Whether a list is wanted; says so once.
    pub(crate) fn take_list_wanted(&mut self) -> bool {
        take(&mut self.list_wanted)
    }

    /// The container to inspect next, now, and whether its last inspection failed: such ones come last, and only where
    /// `with_retries`. The question counts as asked.
    pub(crate) fn next_inspection(&mut self, with_retries: bool) -> Option<(ContainerId, bool)> {
        loop {
            let is_fresh = !self.fresh.is_empty();
            let queue = if is_fresh { &mut self.fresh } else { &mut self.retries };
            if !is_fresh && !with_retries {
                return None;
            }
            let id = queue.pop_front()?;
            let is_retry = self.failures.times(&id) > 0;
            let record = self.records.get_mut(&id).filter(|record| record.inquiry == Inquiry::Wanted);
            match record {
                // It was queued twice, and failed in between.
                Some(_) if is_fresh && is_retry => self.retries.push_back(id),
                Some(record) => {
                    record.inquiry = Inquiry::Asked(Since::default());
                    return Some((id, is_retry));
                }
                None => {}
            }
        }
    }

    /// Takes those that are to be inspected again after a while, with how often in a row that failed (at least 1).
    pub(crate) fn take_deferred(&mut self) -> Vec<(ContainerId, u32)> {
        take(&mut self.deferred)
    }

    /// Whether a list is owed, for events were forgotten; says so once, and not while many containers are still to be
    /// inspected.
    pub(crate) fn take_list_owed(&mut self) -> bool {
        self.strangers <= STRANGERS / 2 && take(&mut self.has_forgotten)
    }

    /// Takes those that an audit's list shows otherwise than they are known, or that an inspection saw to be over before
    /// their exit was told: after a while, to be given back as [`Input::Suspect`].
    pub(crate) fn take_suspects(&mut self) -> Vec<ContainerId> {
        take(&mut self.suspects)
    }

    /// The containers that could not be inspected and are inspected again later.
    pub(crate) fn unresolved(&mut self) -> &Unresolved {
        self.failures.summary()
    }

    /// How many events changed nothing: neither the picture nor what is asked.
    pub(crate) fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Takes in what happened; `now` dates what the engine tells no time of.
    pub(crate) fn handle(&mut self, input: Input, now: SystemTime) {
        match input {
            Input::Connected => self.connected(),
            Input::Listed(entries, unlisted_scopes) => self.listed(entries, &unlisted_scopes, now),
            Input::Audit if self.takes_audits() => {
                match &mut self.phase {
                    Phase::Live { audit } => *audit = Some(Touched::default()),
                    phase => *phase = Phase::Listing { touched: Touched::default() },
                }
                self.list_wanted = true;
            }
            Input::Audit => {}
            Input::AuditFailed => {
                if let Phase::Live { audit } = &mut self.phase {
                    *audit = None;
                }
            }
            Input::Suspect(id) => self.suspect(&id, now),
            Input::Event(event) => self.event(event, now),
            Input::Inspected(id, answer) => self.inspected(&id, answer, now),
            Input::Retry(id) => {
                if self.records.get(&id).is_some_and(|record| record.inquiry == Inquiry::Deferred) {
                    self.want(&id);
                }
            }
            Input::Disconnected(error) => {
                self.reset();
                self.publish(now, EventKind::Disconnected { error });
            }
        }
    }

    /// Forgets whatever was asked, and what only holds within one connection.
    pub(crate) fn reset(&mut self) {
        self.phase = Phase::Disconnected;
        self.fresh.clear();
        self.retries.clear();
        self.failures.clear();
        self.deferred.clear();
        self.preview_bytes = 0;
        self.has_forgotten = false;
        self.suspects.clear();
        self.list_wanted = false;
        let mut left = Vec::new();
        for (id, record) in &mut self.records {
            record.inquiry = Inquiry::None;
            record.suspected = false;
            record.suspicion = None;
            record.graces = 0;
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

    fn connected(&mut self) {
        self.reset();
        self.phase = Phase::Listing { touched: Touched::default() };
        self.unconfirmed = self.portfolio.ids().cloned().collect();
        self.list_wanted = true;
    }

    fn listed(&mut self, entries: Vec<ListingEntry>, unlisted_scopes: &UnlistedScopes, now: SystemTime) {
        match &mut self.phase {
            Phase::Listing { touched } => {
                let touched = take(touched);
                self.synchronize(entries, unlisted_scopes, &touched, now);
            }
            Phase::Live { audit } => {
                if let Some(touched) = take(audit) {
                    self.audit(entries, unlisted_scopes, &touched);
                }
            }
            Phase::Disconnected | Phase::Confirming { .. } => {}
        }
        self.bound_memory();
    }

    fn synchronize(
        &mut self,
        entries: Vec<ListingEntry>,
        unlisted_scopes: &UnlistedScopes,
        touched: &Touched,
        now: SystemTime,
    ) {
        let mut gone = self.unconfirmed.clone();
        gone.retain(|id| !unlisted_scopes.contains(id));
        for entry in entries {
            let id = entry.container().id().clone();
            gone.remove(&id);
            let confirmed = self.portfolio.by_id(&id).is_some() && !self.unconfirmed.contains(&id);
            if confirmed || self.is_asked(&id) {
                continue;
            }
            match entry {
                // What an event spoke of may have changed since the moment that the list shows.
                ListingEntry::Whole(container) if container.pid() != 0 && !touched.contains(&id) => {
                    self.adopt(container, now, now);
                }
                entry => {
                    self.note_name(&id, &entry);
                    self.want(&id);
                }
            }
        }
        for id in gone {
            if !self.is_asked(&id) {
                self.exit_known(&id, None, now);
                self.forget(&id);
            }
        }
        let unsettled = self.records.iter().filter(|(_, record)| !record.inquiry.is_settled());
        let unsettled = unsettled.map(|(id, _)| (id.clone(), false)).collect();
        self.phase = Phase::Confirming { unsettled, complete: unlisted_scopes.is_empty() };
        self.go_live_if_settled(now);
    }

    fn event(&mut self, event: EngineEvent, now: SystemTime) {
        let id = match &event {
            EngineEvent::Subscribed
            | EngineEvent::Source(_)
            | EngineEvent::Fallback(_)
            | EngineEvent::Gap => return,
            EngineEvent::Started { id, .. }
            | EngineEvent::Exited { id, .. }
            | EngineEvent::Paused { id, .. }
            | EngineEvent::Unpaused { id, .. }
            | EngineEvent::Changed { id, .. } => id.clone(),
        };
        let is_stranger = !self.records.contains_key(&id) && self.portfolio.by_id(&id).is_none();
        let is_beyond = is_stranger && self.strangers >= STRANGERS;
        match &mut self.phase {
            Phase::Disconnected => return,
            Phase::Listing { touched } | Phase::Live { audit: Some(touched) } => {
                touched.insert(&id, is_beyond || touched.len() > STRANGERS + self.portfolio.total());
            }
            Phase::Confirming { .. } | Phase::Live { audit: None } => {}
        }
        if is_beyond {
            self.has_forgotten = true;
            return;
        }
        if is_stranger {
            self.strangers += 1;
            self.records.entry(id.clone()).or_default().is_stranger = true;
        }
        if let Some(record) = self.records.get_mut(&id) {
            record.suspected = false;
            if let Some(suspicion) = &mut record.suspicion {
                suspicion.explained = true;
            }
        }
        let before = (self.published.len(), self.inquiry(&id));
        // What is reported late or again says nothing of now, nor do a life's beginning and end of changes in it.
        let newest = self.records.get(&id).and_then(|record| record.newest);
        let is_change = !matches!(event, EngineEvent::Started { .. } | EngineEvent::Exited { .. });
        let hinted_at = event.at().filter(|at| is_change && Some(*at) > newest);
        match event {
            EngineEvent::Subscribed
            | EngineEvent::Source(_)
            | EngineEvent::Fallback(_)
            | EngineEvent::Gap => {}
            EngineEvent::Started { at, pid, preview, .. } => {
                self.started(&id, at, pid.filter(|pid| *pid != 0), preview, now);
            }
            EngineEvent::Exited { pid, at, code, .. } => self.exited(&id, Exit { pid, at, code }, now),
            EngineEvent::Paused { at, .. } => self.paused(&id, true, at, now),
            EngineEvent::Unpaused { at, .. } => self.paused(&id, false, at, now),
            EngineEvent::Changed { .. } => {
                // Nothing of one that is not alive matters; if it is alive unseen, its start is still to come.
                if self.is_asked(&id) || self.portfolio.by_id(&id).is_some() {
                    self.want(&id);
                }
            }
        }
        if before == (self.published.len(), self.inquiry(&id)) {
            self.ignored += 1;
        }
        if let Some(record) = self.records.get_mut(&id) {
            record.hinted_at = record.hinted_at.max(hinted_at);
        }
        self.settle(&id, now);
    }

    fn started(
        &mut self,
        id: &ContainerId,
        at: Option<SystemTime>,
        pid: Option<u32>,
        preview: Option<Box<Container>>,
        now: SystemTime,
    ) {
        let confirmed = !self.unconfirmed.contains(id);
        let preview = preview.filter(|preview| self.preview_bytes + preview.size() <= MAX_PREVIEW_BYTES);
        let record = self.records.entry(id.clone()).or_default();
        record.newest = record.newest.max(at);
        let newest_start = record.newest_start;
        record.newest_start = newest_start.max(at);
        // What is told again or late must not bring a life back.
        let reported_before = at.is_some() && at <= newest_start;
        let mut preview = Preview::new(id, at, pid, preview).filter(|_| !reported_before);
        // Nothing distinguishes that life from others.
        let is_bare = preview.is_none() && !reported_before && self.portfolio.by_id(id).is_none();
        if let Some(known) = self.portfolio.by_id(id) {
            if confirmed && pid == Some(known.pid()) {
                return;
            }
            // The first start told after a life began is its own, the next one another life's; also of a life known
            // from an earlier connection, for the engine may tell again what happened a moment before this one.
            let other_life = match (known.started_at(), at) {
                (Some(began), Some(at)) => at > began && newest_start > Some(began),
                _ => !confirmed && pid.is_some() && pid != Some(known.pid()),
            };
            if other_life && !reported_before {
                self.exit_known(id, Some(Exit { pid: None, at, code: None }), now);
            } else {
                preview = None;
            }
        }
        let record = self.records.entry(id.clone()).or_default();
        let (exit, past) = (record.exit, &mut record.past);
        let preview = preview
            .filter(|preview| !exit.is_some_and(|exit| exit.ends_preview(preview)))
            .filter(|preview| !past.as_mut().is_some_and(|past| past.began_as(&preview.container)));
        record.is_begun = is_bare || preview.is_some();
        if let Inquiry::Asked(since) = &mut record.inquiry {
            since.started = true;
        }
        let former = std::mem::replace(&mut record.preview, preview);
        if let (Some(former), Some(exit)) = (former, exit)
            && exit.ends_preview(&former)
        {
            // It waited for its name, which will not come any more: another life is asked about now.
            self.announce_past_life(former, exit, now);
        }
        self.want(id);
    }

    fn exited(&mut self, id: &ContainerId, exit: Exit, now: SystemTime) {
        let known = self.portfolio.by_id(id).cloned();
        let record = self.records.entry(id.clone()).or_default();
        record.newest = record.newest.max(exit.at);
        record.exit = Some(match record.exit {
            Some(former) if exit.at.is_some() && former.at > exit.at => former,
            _ => exit,
        });
        if let Inquiry::Asked(since) = &mut record.inquiry {
            // The answer may be of a life that ended before this one.
            since.hinted |= since.exits > 0;
            since.exits = since.exits.saturating_add(1);
        }
        let began_later = |preview: &Preview| exit.verdict(&preview.container) == Some(false);
        record.is_begun &= record.preview.as_ref().is_some_and(began_later);
        if let Some(past) = record.past.as_mut().filter(|past| past.began < exit.at) {
            past.start_reported = true;
        }
        match known {
            Some(known) if exit.ends(&known) => self.exit_known(id, Some(exit), now),
            Some(_) => self.want(id),
            // Whoever is being asked about may still tell more of it than its start event did.
            None if matches!(record.inquiry, Inquiry::Asked(_)) => {}
            None => {
                // Whoever is going to be asked about may still be named.
                let asking = record.inquiry != Inquiry::None;
                let over =
                    |preview: &mut Preview| exit.ends_preview(preview) && !(asking && preview.nameless);
                if let Some(preview) = record.preview.take_if(over) {
                    // All that led to the question is over, and any later life's start is still to come.
                    record.inquiry = Inquiry::None;
                    self.failures.remove(id);
                    self.announce_past_life(preview, exit, now);
                }
            }
        }
    }

    fn paused(&mut self, id: &ContainerId, paused: bool, at: Option<SystemTime>, now: SystemTime) {
        let record = self.records.entry(id.clone()).or_default();
        let newest = record.newest;
        record.newest = newest.max(at);
        let Some(known) = self.portfolio.by_id(id).cloned() else {
            // It is alive, or was: if nobody told of its start, this is how to learn of it.
            self.want(id);
            return;
        };
        let confirmed = !self.unconfirmed.contains(id);
        let newest = newest.max(known.started_at());
        match record.inquiry {
            Inquiry::None if confirmed && known.paused() == paused => {}
            Inquiry::None if confirmed && (at.is_none() || at > newest) => {
                let changed = Arc::new(Container::clone(&known).with_paused(paused));
                let kind = if paused { EventKind::Paused(changed) } else { EventKind::Unpaused(changed) };
                self.publish(at.unwrap_or(now), kind);
            }
            _ => self.want(id),
        }
    }

    /// A member of the portfolio is not alive any more.
    fn exit_known(&mut self, id: &ContainerId, exit: Option<Exit>, now: SystemTime) {
        // Of a life known from an earlier connection a time only tells that it is over, not that this was its end.
        let confirmed = !self.unconfirmed.remove(id);
        let code = exit.filter(|exit| confirmed || exit.pid.is_some()).and_then(|exit| exit.code);
        if let Some(container) = self.portfolio.by_id(id).cloned() {
            let time = exit.and_then(|exit| exit.at).unwrap_or(now);
            self.publish(time, EventKind::Exited { container, code });
        }
    }

    /// A life that was over before it could be seen leaves its trace.
    fn announce_past_life(&mut self, life: Preview, exit: Exit, now: SystemTime) {
        let (container, began) = (life.container, life.began.unwrap_or(now));
        self.publish(began, EventKind::Started(container.clone()));
        self.publish(exit.at.unwrap_or(now), EventKind::Exited { container, code: exit.code });
    }

    fn publish(&mut self, time: SystemTime, kind: EventKind) {
        if let EventKind::Exited { container, .. } = &kind {
            self.records.entry(container.id().clone()).or_default().note_past(container);
        }
        let origin = match &kind {
            EventKind::Exited { container, .. } => self.origins.remove(container.id()),
            _ => None,
        };
        self.portfolio.apply(&kind);
        self.published.push(Event::new(time, kind).with_engine(origin.or_else(|| self.engine.clone())));
    }

    fn inquiry(&self, id: &ContainerId) -> Inquiry {
        self.records.get(id).map(|record| record.inquiry).unwrap_or_default()
    }

    fn is_asked(&self, id: &ContainerId) -> bool {
        self.inquiry(id) != Inquiry::None
    }

    /// A container may have changed: the truth is what is asked from now on.
    fn want(&mut self, id: &ContainerId) {
        let record = self.records.entry(id.clone()).or_default();
        match &mut record.inquiry {
            Inquiry::Wanted => {}
            Inquiry::Asked(since) => since.hinted = true,
            inquiry @ (Inquiry::None | Inquiry::Deferred) => {
                *inquiry = Inquiry::Wanted;
                let is_retry = self.failures.times(id) > 0;
                let queue = if is_retry { &mut self.retries } else { &mut self.fresh };
                queue.push_back(id.clone());
                if queue.len() > 2 * self.records.len() + REMEMBERED {
                    let wanted = |record: &Record| record.inquiry == Inquiry::Wanted;
                    let mut seen = HashSet::default();
                    queue.retain(|id| self.records.get(id).is_some_and(wanted) && seen.insert(id.clone()));
                }
            }
        }
    }

    fn go_live_if_settled(&mut self, now: SystemTime) {
        if matches!(&self.phase, Phase::Confirming { unsettled, complete: true } if unsettled.is_empty()) {
            self.phase = Phase::Live { audit: None };
            let (containers, unresolved) = (self.portfolio.total(), self.failures.total());
            self.publish(now, EventKind::Synced { containers, unresolved });
        }
    }
}
