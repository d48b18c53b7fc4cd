//! The engine's events: what each changes by itself, and which inspections it leads to.

use std::sync::Arc;
use std::time::SystemTime;

use super::deadlines::Now;
use super::lists::ListState;
use super::record::{Exit, Inspection, Preview};
use super::{MAX_PREVIEW_BYTES, MAX_UNVERIFIED, Phase, Reconciler};
use crate::engine::EngineEvent;
use crate::model::{Container, ContainerId, EventKind, Health};

/// A change within a life that an event reports completely.
#[derive(Clone, Copy)]
enum Change {
    Paused(bool),
    Health(Health),
}

impl Change {
    /// Returns whether a container shows it already.
    fn is_shown_by(self, known: &Container) -> bool {
        match self {
            Self::Paused(paused) => known.paused() == paused,
            Self::Health(health) => known.health() == Some(health),
        }
    }

    /// Returns the event that changes a container so.
    fn of(self, known: Arc<Container>) -> EventKind {
        let container = Container::clone(&known);
        match self {
            Self::Paused(true) => EventKind::Paused(Arc::new(container.with_paused(true))),
            Self::Paused(false) => EventKind::Unpaused(Arc::new(container.with_paused(false))),
            Self::Health(health) => {
                EventKind::Updated { container: Arc::new(container.with_health(health)), was: known }
            }
        }
    }
}

impl Reconciler {
    /// Takes in an event. It is disputed if it would end a life that goes on, as the witness knows.
    pub(super) fn event(&mut self, event: EngineEvent, is_disputed: bool, now: Now) {
        let id = match &event {
            EngineEvent::Gap if !matches!(self.phase, Phase::Disconnected) => return self.require_list(),
            EngineEvent::Subscribed
            | EngineEvent::Source(_)
            | EngineEvent::Fallback(_)
            | EngineEvent::Gap => return,
            EngineEvent::Started { id, .. }
            | EngineEvent::Exited { id, .. }
            | EngineEvent::Paused { id, .. }
            | EngineEvent::Unpaused { id, .. }
            | EngineEvent::Touched { id, .. }
            | EngineEvent::Health { id, .. }
            | EngineEvent::OomKilled { id, .. }
            | EngineEvent::Changed { id, .. } => id.clone(),
        };
        let is_unverified = !self.records.contains_key(&id) && self.portfolio.by_id(&id).is_none();
        let is_beyond = is_unverified && self.unverified >= MAX_UNVERIFIED;
        if matches!(self.phase, Phase::Disconnected) {
            return;
        }
        if let ListState::InFlight { named, .. } = &mut self.lists {
            named.insert(&id, is_beyond || named.len() > MAX_UNVERIFIED + self.portfolio.total());
        }
        if is_beyond {
            self.has_forgotten = true;
            return;
        }
        if is_unverified {
            self.unverified += 1;
            self.records.entry(id.clone()).or_default().is_unverified = true;
        }
        if let Some(record) = self.records.get_mut(&id) {
            record.is_drift = false;
            if let Some(mismatch) = &mut record.mismatch {
                mismatch.explained = true;
            }
        }
        if self.has_ended(&id) {
            self.ignored += 1;
            return;
        }
        let before = (self.published.len(), self.inspection(&id));
        // Only events about changes within a life date these, and only the newest: an event may come late or twice.
        let newest = self.records.get(&id).and_then(|record| record.newest);
        let is_change = !matches!(event, EngineEvent::Started { .. } | EngineEvent::Exited { .. });
        let hinted_at = event.at().filter(|at| is_change && Some(*at) > newest);
        match event {
            EngineEvent::Subscribed
            | EngineEvent::Source(_)
            | EngineEvent::Fallback(_)
            | EngineEvent::Gap => {}
            EngineEvent::Started { at, pid, preview, .. } => {
                let room = MAX_PREVIEW_BYTES.saturating_sub(self.preview_bytes);
                let preview = preview.filter(|preview| preview.size() <= room);
                let pid = pid.filter(|pid| *pid != 0);
                match Preview::new(&id, at, pid, preview, self.packs) {
                    _ if is_disputed && self.disputed_start(&id, at, pid) => {}
                    Some(preview) => self.started(&id, at, pid, preview, now),
                    None => self.touched(&id, at, false),
                }
            }
            EngineEvent::Touched { at, .. } => self.touched(&id, at, true),
            EngineEvent::Exited { pid, at, code, .. } => {
                let is_final = self.has_one_life_per_id;
                let exit = Exit { pid, at, code, oom: false, is_final };
                match is_disputed {
                    true => self.disputed_exit(&id, &exit),
                    false => self.exited(&id, exit, now),
                }
            }
            EngineEvent::Paused { at, .. } => self.changed(&id, Change::Paused(true), at, now),
            EngineEvent::Unpaused { at, .. } => self.changed(&id, Change::Paused(false), at, now),
            EngineEvent::Health { at, health, .. } => self.changed(&id, Change::Health(health), at, now),
            EngineEvent::OomKilled { at, .. } => self.oom_killed(&id, at, now),
            EngineEvent::Changed { .. } => {
                // A change of what is not alive does not matter. If it is alive after all, its start event is
                // still to come.
                if self.is_inspected(&id) || self.portfolio.by_id(&id).is_some() {
                    self.request_inspection(&id);
                }
            }
        }
        if before == (self.published.len(), self.inspection(&id)) {
            self.ignored += 1;
        }
        if let Some(record) = self.records.get_mut(&id) {
            record.hinted_at = record.hinted_at.max(hinted_at);
        }
        self.settle(&id, now);
    }

    pub(super) fn started(
        &mut self,
        id: &ContainerId,
        at: Option<SystemTime>,
        pid: Option<u32>,
        preview: Preview,
        now: Now,
    ) {
        let confirmed = !self.unconfirmed.contains(id);
        let record = self.records.entry(id.clone()).or_default();
        record.newest = record.newest.max(at);
        let newest_start = record.newest_start;
        record.newest_start = newest_start.max(at);
        // An event that comes late or twice must not bring a life back.
        let reported_before = at.is_some() && at <= newest_start;
        let mut preview = Some(preview).filter(|_| !reported_before);
        if let Some(known) = self.portfolio.by_id(id) {
            if self.has_one_life_per_id || confirmed && pid == Some(known.pid()) {
                return;
            }
            // The first start event after a life began is its own, the next one is another life's. That holds
            // for a life from an earlier connection too: Docker repeats the events of the last second on the
            // next one.
            let other_life = match (known.started_at(), at) {
                (Some(began), Some(at)) => at > began && newest_start > Some(began),
                _ => !confirmed && pid.is_some() && pid != Some(known.pid()),
            };
            if other_life && !reported_before {
                self.exit_known(id, Some(Exit { at, ..Exit::default() }), now);
            } else {
                preview = None;
            }
        }
        let record = self.records.entry(id.clone()).or_default();
        let (exit, tombstone) = (record.exit, &mut record.tombstone);
        let preview = preview.filter(|preview| !exit.is_some_and(|exit| exit.ends_preview(preview))).filter(
            |preview| !tombstone.as_mut().is_some_and(|tombstone| tombstone.began_as(&preview.container)),
        );
        if let Inspection::InFlight(since) = &mut record.inspection {
            since.started = true;
        }
        let former = record.record_start(preview);
        if let (Some(former), Some(exit)) = (former, exit)
            && exit.ends_preview(&former)
        {
            // It waited for its name, which will not come any more: inspections show another life now.
            self.announce_brief_life(former, exit, now);
        }
        if !reported_before && let Some(record) = self.records.get_mut(id) {
            record.oom = None;
        }
        self.request_inspection(id);
    }

    /// A life began, or anything may have happened: an inspection that begins from now on shows what is alive.
    fn touched(&mut self, id: &ContainerId, at: Option<SystemTime>, is_anything: bool) {
        let record = self.records.entry(id.clone()).or_default();
        record.newest = record.newest.max(at);
        if is_anything {
            record.is_touched = true;
            // The life that it was reported of may be over.
            record.oom = None;
        }
        if let Inspection::InFlight(since) = &mut record.inspection {
            since.started = true;
            since.touched |= is_anything;
        }
        self.request_inspection(id);
    }

    pub(super) fn exited(&mut self, id: &ContainerId, mut exit: Exit, now: Now) {
        let known = self.portfolio.by_id(id).cloned();
        let record = self.records.entry(id.clone()).or_default();
        exit.oom = record.oom.take().is_some();
        // It may be the exit of a life whose start was malformed, and not of the one that is known.
        exit.code = exit.code.filter(|_| !record.is_touched || exit.pid.is_some() || exit.is_final);
        record.newest = record.newest.max(exit.at);
        record.exit = Some(match record.exit {
            Some(former) if exit.at.is_some() && former.at > exit.at => former,
            _ => exit,
        });
        if let Inspection::InFlight(since) = &mut record.inspection {
            // The answer may be of a life that ended before this one.
            since.hinted |= since.exits > 0;
            since.exits = since.exits.saturating_add(1);
        }
        let began_later = |preview: &Preview| exit.has_ended(&preview.container) == Some(false);
        if !record.preview().is_some_and(began_later) {
            record.end_verifying();
        }
        if let Some(tombstone) = record.tombstone.as_mut().filter(|tombstone| tombstone.began < exit.at) {
            tombstone.start_reported = true;
        }
        match known {
            Some(known) if exit.ends(&known) => self.exit_known(id, Some(exit), now),
            Some(_) => self.request_inspection(id),
            // The answer may still contain more than its start event.
            None if matches!(record.inspection, Inspection::InFlight(_)) => {}
            None => {
                // The pending inspection may still return its name.
                let is_inspected = record.inspection != Inspection::None;
                let over = |preview: &Preview| {
                    exit.ends_preview(preview) && !(is_inspected && preview.is_incomplete)
                };
                let preview = record.take_preview_if(over);
                if preview.is_some() || exit.is_final && record.preview().is_none() {
                    // What led to the inspection is over, and the start event of any later life is still to come.
                    self.drop_inspection(id);
                }
                if let Some(preview) = preview {
                    self.announce_brief_life(preview, exit, now);
                }
            }
        }
    }

    /// A change within the newest life, if the event is certainly newer than what is known of it.
    fn changed(&mut self, id: &ContainerId, change: Change, at: Option<SystemTime>, now: Now) {
        let record = self.records.entry(id.clone()).or_default();
        let newest = record.newest;
        record.newest = newest.max(at);
        let Some(known) = self.portfolio.by_id(id).cloned() else {
            // It is alive, or was. If its start event was lost, this event is the one that shows it.
            self.request_inspection(id);
            return;
        };
        let confirmed = !self.unconfirmed.contains(id);
        let newest = newest.max(known.started_at());
        match record.inspection {
            Inspection::None if confirmed && change.is_shown_by(&known) => {}
            Inspection::None if confirmed && (at.is_none() || at > newest) => {
                self.publish(at.unwrap_or(now.time), change.of(known));
            }
            _ => self.request_inspection(id),
        }
    }

    /// A process was killed for lack of memory. That is never taken back, so nothing newer can contradict it,
    /// and no inspection is needed. Where no start time shows that it was in the life that is known, only the
    /// exit contains it.
    fn oom_killed(&mut self, id: &ContainerId, at: Option<SystemTime>, now: Now) {
        let record = self.records.entry(id.clone()).or_default();
        record.newest = record.newest.max(at);
        if record.is_touched {
            // It may be of a later life.
            return self.request_inspection(id);
        }
        record.oom = Some(at);
        match self.portfolio.by_id(id).cloned() {
            None => self.request_inspection(id),
            Some(known) if known.oom_killed() || self.unconfirmed.contains(id) => {}
            Some(known) if known.started_at().is_none_or(|began| at <= Some(began)) => {}
            Some(known) => {
                let container = Arc::new(Container::clone(&known).with_oom_killed(true));
                self.publish(at.unwrap_or(now.time), EventKind::Updated { container, was: known });
            }
        }
    }
}
