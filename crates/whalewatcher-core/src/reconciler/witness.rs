//! What the witness reports, against what the engine does.
//!
//! The witness is certain of two things about a life that it watches: that it has ended, and that it goes on.
//! So its word ends a life, and an engine that still shows it does not bring it back; and while it goes on,
//! no event, answer or list of the engine ends it.

use std::time::SystemTime;

use super::Reconciler;
use super::deadlines::{Deadline, Now};
use super::record::{Exit, Inspection, Record, Since};
use crate::model::{Container, ContainerId, SeenBy};

impl Reconciler {
    /// The witness reports the end of a life. The engine's exit event, which has the code, has a grace period.
    pub(super) fn ended(&mut self, life: &Container, is_silent: bool, now: Now) {
        let id = life.id();
        // The report may be late: of a former life, or of a PID that the container does not have any more.
        let is_it = |known: &Container| known.life() == life.life() && known.pid() == life.pid();
        if !self.portfolio.by_id(id).is_some_and(|known| is_it(known)) {
            return;
        }
        if !self.records.entry(id.clone()).or_default().await_exit(SeenBy::Kernel) {
            return;
        }
        self.deadlines.set(Deadline::Exit(id.clone()), now.instant + self.settings.witness_grace());
        // Until the portfolio is live, ready waits for the exit.
        if is_silent || !self.is_live() {
            self.exit_unreported(id, now);
        }
    }

    /// Publishes the exits that the witness reported and whose event the engine will not send any more.
    pub(super) fn exit_witnessed(&mut self, now: Now) {
        let is_over = |record: &Record| record.end_seen_by() == Some(SeenBy::Kernel);
        let over = self.records.iter().filter(|(_, record)| is_over(record)).map(|(id, _)| id.clone());
        let mut over: Vec<_> = over.collect();
        over.sort();
        for id in over {
            self.exit_unreported(&id, now);
        }
    }

    /// Whether a life that the engine shows as alive is over by the witness' word.
    pub(super) fn is_over_by_witness(&self, life: &Container) -> bool {
        let Some(record) = self.records.get(life.id()) else { return false };
        match self.portfolio.by_id(life.id()) {
            Some(known) => {
                record.end_seen_by() == Some(SeenBy::Kernel)
                    && known.life() == life.life()
                    && known.pid() == life.pid()
            }
            None => record.tombstone.as_ref().is_some_and(|tombstone| tombstone.is_witnessed(life)),
        }
    }

    /// Asks the witness about a life that is over by its word, unless its exit is not published yet: then the
    /// engine is only late.
    pub(super) fn doubt(&mut self, life: Container) {
        if self.portfolio.by_id(life.id()).is_none() {
            self.doubted.push(life);
        }
    }

    /// Takes in whether a life goes on that is over by the witness' word. It may be another one: PIDs are used again.
    pub(super) fn verified(&mut self, life: Container, goes_on: bool, now: Now) {
        let id = life.id().clone();
        self.contradictions += u64::from(!goes_on);
        if goes_on && self.is_over_by_witness(&life) {
            if let Some(tombstone) = self.records.get_mut(&id).and_then(|record| record.tombstone.as_mut()) {
                tombstone.forget_witness();
            }
            self.adopt(&id, life, now.time, now);
            self.settle(&id, now);
        }
    }

    /// Takes in an exit event of a container whose known life goes on: it is of a former life, or false.
    pub(super) fn disputed_exit(&mut self, id: &ContainerId, exit: &Exit) {
        let Some(known) = self.portfolio.by_id(id) else { return };
        let has_ended = exit.has_ended(known);
        self.contradictions += u64::from(has_ended == Some(true));
        if has_ended != Some(false) {
            self.request_inspection(id);
        }
    }

    /// Takes in a start event of a container whose known life goes on: it is its own or that of a former one,
    /// or false. Returns whether the known life has to be in the portfolio for that, and is.
    pub(super) fn disputed_start(
        &mut self,
        id: &ContainerId,
        at: Option<SystemTime>,
        pid: Option<u32>,
    ) -> bool {
        let known_pid = self.portfolio.by_id(id).map(|known| known.pid());
        if known_pid.is_some() && !self.has_one_life_per_id && pid != known_pid {
            let record = self.records.entry(id.clone()).or_default();
            record.newest = record.newest.max(at);
            record.newest_start = record.newest_start.max(at);
            self.request_inspection(id);
        }
        known_pid.is_some()
    }

    /// Takes in that the engine takes a container for not alive whose known life goes on.
    pub(super) fn disputed_answer(&mut self, id: &ContainerId, since: Since, now: Now) {
        self.failures.remove(id);
        self.contradictions += 1;
        self.unconfirmed.remove(id);
        if let Some(record) = self.records.get_mut(id) {
            record.inspection = Inspection::None;
            record.is_drift = false;
            record.is_touched = since.touched;
        }
        if since.hinted {
            self.request_inspection(id);
        }
        self.count_answer(id, true, now);
        self.settle(id, now);
    }
}
