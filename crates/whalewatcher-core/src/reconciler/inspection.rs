//! Inspections: which is next, and what their answers change.
//!
//! An answer counts although hints came while it was in flight. They lead to one more inspection; if they
//! made the answer worthless, a container that changes faster than it can be inspected would never be right.

use std::mem::{replace, take};
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::HashSet;

use super::deadlines::{Deadline, GRACE, Now};
use super::record::{Inspection, Preview, Record, Since};
use super::{Answer, MAX_TOMBSTONES, Phase, Reconciler, Room};
use crate::model::{Container, ContainerId, EventKind, SeenBy};
use crate::portfolio::steps;

impl Reconciler {
    pub(super) fn inspected(&mut self, id: &ContainerId, answer: Answer, now: Now) {
        let has_ended = self.has_ended(id);
        let Some(record) = self.records.get_mut(id) else { return };
        let Inspection::InFlight(since) = record.inspection else { return };
        let truth = match answer {
            Answer::Unknown(_) if has_ended && record.preview().is_none_or(Preview::is_named) => None,
            Answer::Unknown(_) if !since.hinted && record.is_over_and_named() => {
                return self.announce_over(id, now);
            }
            Answer::Unknown(error) => {
                record.inspection = Inspection::Deferred;
                let name = self.portfolio.by_id(id).map(|known| known.name().to_owned());
                let name = name.or_else(|| record.name());
                let failures = self.failures.record(id, name, error);
                self.defer(id, failures, now);
                self.settle(id, now);
                return;
            }
            Answer::Truth(truth) => truth,
            Answer::Disputed => return self.disputed_answer(id, since, now),
        };
        self.failures.remove(id);
        record.inspection = Inspection::None;
        if has_ended {
            return self.inspected_ended(id, truth, now);
        }
        let is_drift = !since.hinted && take(&mut record.is_drift);
        let published = self.published.len();
        if since.hinted {
            self.request_inspection(id);
        }
        let is_useful = match truth {
            Some(container) if self.is_over_by_witness(&container) => {
                self.doubt(container);
                self.inspected_over(id, None, since, is_drift, now)
            }
            Some(container) if container.pid() != 0 => self.inspected_alive(id, container, since, now),
            rest => self.inspected_over(id, rest, since, is_drift, now),
        };
        if is_drift && self.published.len() > published {
            self.drifted += 1;
        }
        self.count_answer(id, is_useful, now);
        self.settle(id, now);
    }

    /// Announces a life that is over as its start event described it: the inspection that might have added to
    /// that failed.
    fn announce_over(&mut self, id: &ContainerId, now: Now) {
        self.failures.remove(id);
        if let Some(record) = self.records.get_mut(id) {
            record.inspection = Inspection::None;
        }
        self.inspected_ended(id, None, now);
    }

    /// The container is over, whatever the answer shows. If its life is still to be announced, the answer
    /// completes that.
    fn inspected_ended(&mut self, id: &ContainerId, truth: Option<Container>, now: Now) {
        if let Some(record) = self.records.get_mut(id)
            && let (Some(mut preview), Some(exit)) = (record.take_preview(), record.exit)
        {
            preview.learn(truth);
            self.announce_brief_life(preview, exit, now);
        }
        self.settle(id, now);
    }

    /// The container was alive when the engine looked. Returns whether that shows its present state, as far as events
    /// are known.
    fn inspected_alive(&mut self, id: &ContainerId, container: Container, since: Since, now: Now) -> bool {
        let known = self.portfolio.by_id(id).map(|known| known.life());
        let is_known = known.as_ref() == Some(&container.life());
        let has_known = known.is_some();
        let record = self.records.entry(id.clone()).or_default();
        let exit = record.exit.filter(|_| since.exits > 0);
        // Whether that life is over by now.
        let is_over = match exit.map(|exit| (exit, exit.has_ended(&container))) {
            // Any of these exits may be its own, and only the newest is kept.
            Some((exit, Some(false))) if since.exits > 1 && exit.pid.is_some() => None,
            Some((_, verdict)) => verdict,
            None => Some(false),
        };
        // A start ends the life before.
        let was_replaced = since.started
            && record.tombstone.as_ref().is_some_and(|tombstone| tombstone.includes(&container));
        if is_known || is_over == Some(false) && !was_replaced {
            // The answer shows a change after these events, maybe long before it came.
            let changed = record.hinted_at.unwrap_or(now.time);
            record.is_touched = since.touched;
            self.adopt(id, container, changed, now);
            return true;
        }
        if is_over == Some(true) && !since.hinted {
            if let (Some(mut preview), Some(exit)) = (record.take_preview(), exit) {
                preview.learn(Some(container));
                self.announce_brief_life(preview, exit, now);
            }
            return true;
        }
        if has_known {
            // The engine saw a later life.
            self.exit_known(id, None, now);
        }
        self.request_inspection(id);
        is_over == Some(true) && !since.started
    }

    /// The container was not alive when the engine looked, which may still return its name. Returns whether
    /// that shows its present state, as far as events are known.
    fn inspected_over(
        &mut self,
        id: &ContainerId,
        named: Option<Container>,
        since: Since,
        is_drift: bool,
        now: Now,
    ) -> bool {
        let is_live = self.is_live();
        let record = self.records.entry(id.clone()).or_default();
        let exit = record.exit;
        let mut past = None;
        // A life that began meanwhile may still go on.
        if !since.started {
            if let Some(preview) = record.preview_mut() {
                preview.learn(named);
            }
            past = record.take_preview_if(|preview| exit.is_some_and(|exit| exit.ends_preview(preview)));
        }
        if self.portfolio.by_id(id).is_some() {
            if is_drift || !is_live || self.unconfirmed.contains(id) {
                self.exit_known(id, None, now);
            } else if record.await_exit(SeenBy::Engine) {
                // The answer was faster than the exit event, which contains the exit code and has a grace period. Only
                // while live: until then, ready waits for the exit.
                self.deadlines.set(Deadline::Exit(id.clone()), now.instant + GRACE);
            }
        } else if let (Some(preview), Some(exit)) = (past, exit) {
            self.announce_brief_life(preview, exit, now);
        } else if record.is_to_verify() && !since.hinted {
            // It started, and no event says that it ended: some engines list what has just begun a moment later.
            record.end_verifying();
            record.inspection = Inspection::Deferred;
            self.defer(id, 1, now);
        }
        !since.started
    }

    /// Repeats the inspection of a container after the delay for so many failures in a row (at least one).
    fn defer(&mut self, id: &ContainerId, failures: u32, now: Now) {
        let delay = self.settings.backoff().nth_delay(failures);
        self.deadlines.set(Deadline::Retry(id.clone()), now.instant + delay);
    }

    /// Counts the answers of a container that the first list made unsettled: the first one that shows its present state
    /// settles it, and the second one in any case, for it may start and exit faster than it can be inspected.
    pub(super) fn count_answer(&mut self, id: &ContainerId, is_useful: bool, now: Now) {
        let Phase::Confirming { unsettled, .. } = &mut self.phase else { return };
        let Some(has_answer) = unsettled.get_mut(id) else { return };
        if is_useful || replace(has_answer, true) {
            unsettled.remove(id);
            self.go_live_if_settled(now);
        }
    }

    /// Takes over the state of a container that is alive. Changes within a life are dated `changed`.
    pub(super) fn adopt(&mut self, id: &ContainerId, container: Container, changed: SystemTime, now: Now) {
        let known = self.portfolio.by_id(id).cloned();
        let container = container.sharing(id, known.as_deref());
        let record = self.records.get_mut(id);
        // Most engines report an OOM kill only by an event.
        let oom_at = record.as_ref().and_then(|record| record.oom).flatten();
        let oom_killed = container.oom_killed()
            || oom_at.is_some_and(|at| container.started_at().is_some_and(|began| began < at))
            || known.as_ref().is_some_and(|known| known.oom_killed() && known.life() == container.life());
        let container = Arc::new(container.with_oom_killed(oom_killed));
        self.unconfirmed.remove(id);
        let ended = record.as_ref().and_then(|record| record.exit?.at);
        let tombstone = record.as_ref().and_then(|record| record.tombstone.as_ref());
        let was_announced = tombstone.is_some_and(|tombstone| tombstone.includes(&container));
        let preview = record.and_then(|record| {
            if record.end_awaiting_exit() {
                self.deadlines.cancel(Deadline::Exit(id.clone()));
            }
            record.end_verifying();
            self.unverified -= usize::from(take(&mut record.is_unverified));
            record.take_preview()
        });
        let start_reported = preview.as_ref().and_then(|preview| preview.began);
        // Where the container has no start time, its start event may.
        let began = preview.filter(|preview| preview.container.pid() == container.pid());
        let began = container.started_at().or(began.and_then(|preview| preview.began));
        match known {
            None => {
                // The engine reported the end of this life and takes that back: it is alive again since then.
                let taken_back =
                    ended.filter(|ended| was_announced && began.is_some_and(|began| began < *ended));
                let time = taken_back.map_or(began, |ended| start_reported.max(Some(ended)));
                self.publish(time.unwrap_or(now.time), EventKind::Started(container));
            }
            Some(known) => {
                if *known == *container && (known.has_rucksack() || container.has_rucksack()) {
                    self.portfolio.replace(&container);
                    if self.settings.repack_events() {
                        let kind = EventKind::Updated { container: container.clone(), was: known.clone() };
                        self.publish(now.time, kind);
                    }
                }
                for event in steps(&known, &container) {
                    let time = match &event {
                        EventKind::Started(_) => began.unwrap_or(now.time),
                        // At the latest when the next life began.
                        EventKind::Exited { .. } => began.map_or(now.time, |next| next.min(now.time)),
                        _ => changed,
                    };
                    self.publish(time, event);
                }
                self.origins.remove(known.id());
            }
        }
    }

    /// Returns the container to inspect next, and whether its last inspection failed: those come last. The inspection
    /// counts as begun.
    pub(super) fn next_inspection(&mut self, room: Room) -> Option<(ContainerId, bool)> {
        if room == Room::None {
            return None;
        }
        loop {
            let is_fresh = !self.fresh.is_empty();
            let queue = if is_fresh { &mut self.fresh } else { &mut self.retries };
            if !is_fresh && room != Room::Any {
                return None;
            }
            let id = queue.pop_front()?;
            let is_retry = self.failures.times(&id) > 0;
            let record = self.records.get_mut(&id).filter(|record| record.inspection == Inspection::Pending);
            match record {
                // It was queued twice, and failed in between.
                Some(_) if is_fresh && is_retry => self.retries.push_back(id),
                Some(record) => {
                    record.inspection = Inspection::InFlight(Since::default());
                    return Some((id, is_retry));
                }
                None => {}
            }
        }
    }

    /// Drops the inspection of a container, and ignores an answer that is on its way: nothing that it could
    /// show matters any more.
    pub(super) fn drop_inspection(&mut self, id: &ContainerId) {
        let Some(record) = self.records.get_mut(id) else { return };
        if take(&mut record.inspection) == Inspection::Deferred {
            self.deadlines.cancel(Deadline::Retry(id.clone()));
        }
        self.failures.remove(id);
    }

    pub(super) fn inspection(&self, id: &ContainerId) -> Inspection {
        self.records.get(id).map(|record| record.inspection).unwrap_or_default()
    }

    pub(super) fn is_inspected(&self, id: &ContainerId) -> bool {
        self.inspection(id) != Inspection::None
    }

    /// Requests an inspection that begins from now on: the container may have changed.
    pub(super) fn request_inspection(&mut self, id: &ContainerId) {
        let record = self.records.entry(id.clone()).or_default();
        match &mut record.inspection {
            Inspection::Pending => {}
            Inspection::InFlight(since) => since.hinted = true,
            inspection @ (Inspection::None | Inspection::Deferred) => {
                if replace(inspection, Inspection::Pending) == Inspection::Deferred {
                    self.deadlines.cancel(Deadline::Retry(id.clone()));
                }
                let is_retry = self.failures.times(id) > 0;
                let queue = if is_retry { &mut self.retries } else { &mut self.fresh };
                queue.push_back(id.clone());
                if queue.len() > 2 * self.records.len() + MAX_TOMBSTONES {
                    let wanted = |record: &Record| record.inspection == Inspection::Pending;
                    let mut seen = HashSet::default();
                    queue.retain(|id| self.records.get(id).is_some_and(wanted) && seen.insert(id.clone()));
                }
            }
        }
    }
}
