//! What becomes of the answers to inspections.
//!
//! An answer is news, for it was asked for after what is known. A hint that came meanwhile leads to one more inspection, but
//! does not make the answer worthless: else a container that changes faster than it can be inspected would never be right.

use std::mem::{replace, take};
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::HashSet;

use super::deadlines::{Deadline, GRACE, Now};
use super::record::{Inquiry, Preview, Record, Since};
use super::{Answer, Phase, REMEMBERED, Reconciler, Room};
use crate::model::{Container, ContainerId, EventKind};
use crate::portfolio::steps;

impl Reconciler {
    pub(super) fn inspected(&mut self, id: &ContainerId, answer: Answer, now: Now) {
        let Some(record) = self.records.get_mut(id) else { return };
        let Inquiry::Asked(since) = record.inquiry else { return };
        let truth = match answer {
            Answer::Unknown(error) => {
                record.inquiry = Inquiry::Deferred;
                let name = self.portfolio.by_id(id).map(|known| known.name().to_owned());
                let name = name.or_else(|| record.name());
                let failures = self.failures.record(id, name, error);
                self.defer(id, failures, now);
                self.settle(id, now);
                return;
            }
            Answer::Truth(truth) => truth,
        };
        self.failures.remove(id);
        record.inquiry = Inquiry::None;
        let suspected = !since.hinted && take(&mut record.suspected);
        let published = self.published.len();
        if since.hinted {
            self.want(id);
        }
        let is_useful = match truth {
            Some(container) if container.pid() != 0 => self.inspected_alive(id, container, since, now),
            rest => self.inspected_over(id, rest, since, suspected, now),
        };
        if suspected && self.published.len() > published {
            self.drifted += 1;
        }
        self.count_answer(id, is_useful, now);
        self.settle(id, now);
    }

    /// The container was alive when the engine looked. Whether that says how it is now, as far as events are known.
    fn inspected_alive(&mut self, id: &ContainerId, container: Container, since: Since, now: Now) -> bool {
        let known = self.portfolio.by_id(id).map(|known| known.life());
        let is_known = known.as_ref() == Some(&container.life());
        let has_known = known.is_some();
        let record = self.records.entry(id.clone()).or_default();
        let exit = record.exit.filter(|_| since.exits > 0);
        // Whether that life is over by now.
        let is_over = match exit.map(|exit| (exit, exit.verdict(&container))) {
            // Any of these exits may be its own, and only the newest is remembered.
            Some((exit, Some(false))) if since.exits > 1 && exit.pid.is_some() => None,
            Some((_, verdict)) => verdict,
            None => Some(false),
        };
        // A start ends the life before.
        let was_replaced =
            since.started && record.past.as_ref().is_some_and(|past| past.includes(&container));
        if is_known || is_over == Some(false) && !was_replaced {
            // What is reported next happened after these events, but maybe before the answer came.
            let changed = record.hinted_at.unwrap_or(now.time);
            self.adopt(container, changed, now);
            return true;
        }
        if is_over == Some(true) && !since.hinted {
            if let (Some(preview), Some(exit)) = (record.preview.take(), exit) {
                let container = Arc::new(container);
                let began = container.started_at().or(preview.began);
                self.announce_past_life(Preview { container, began, nameless: false }, exit, now);
            }
            return true;
        }
        if has_known {
            // The engine saw a later life.
            self.exit_known(id, None, now);
        }
        self.want(id);
        is_over == Some(true) && !since.started
    }

    /// The container was not alive when the engine looked, which may still name it. Whether that says how it is now, as far as
    /// events are known.
    fn inspected_over(
        &mut self,
        id: &ContainerId,
        named: Option<Container>,
        since: Since,
        suspected: bool,
        now: Now,
    ) -> bool {
        let is_live = self.is_live();
        let record = self.records.entry(id.clone()).or_default();
        let exit = record.exit;
        let mut past = None;
        // A life that began meanwhile may still go on.
        if !since.started {
            if let Some(preview) = &mut record.preview {
                preview.learn(named);
            }
            let over = |preview: &mut Preview| exit.is_some_and(|exit| exit.ends_preview(preview));
            past = record.preview.take_if(over);
        }
        if self.portfolio.by_id(id).is_some() {
            if suspected || !is_live || self.unconfirmed.contains(id) {
                self.exit_known(id, None, now);
            } else if !record.gone {
                // The answer was faster than the event, which contains the exit code. Not before it is live: ready is only
                // what is right.
                record.gone = true;
                self.deadlines.set(Deadline::Exit(id.clone()), now.instant + GRACE);
            }
        } else if let (Some(preview), Some(exit)) = (past, exit) {
            self.announce_past_life(preview, exit, now);
        } else if record.is_begun && !since.hinted {
            // It started, and nothing says that it ended: some engines show what has just begun a moment later.
            record.is_begun = false;
            record.inquiry = Inquiry::Deferred;
            self.defer(id, 1, now);
        }
        !since.started
    }

    /// Inspects a container again after the delay for so many failures in a row (at least one).
    fn defer(&mut self, id: &ContainerId, failures: u32, now: Now) {
        let delay = self.settings.backoff().nth_delay(failures);
        self.deadlines.set(Deadline::Retry(id.clone()), now.instant + delay);
    }

    /// A container is settled with the first answer that says how it is, and with the second one in any case: it may
    /// start and exit faster than it can be inspected.
    fn count_answer(&mut self, id: &ContainerId, is_useful: bool, now: Now) {
        let Phase::Confirming { unsettled, .. } = &mut self.phase else { return };
        let Some(has_answer) = unsettled.get_mut(id) else { return };
        if is_useful || replace(has_answer, true) {
            unsettled.remove(id);
            self.go_live_if_settled(now);
        }
    }

    /// The truth about a container that is alive. Changes of a life that goes on are dated by `changed`.
    pub(super) fn adopt(&mut self, container: Container, changed: SystemTime, now: Now) {
        let container = Arc::new(self.portfolio.sharing(container));
        let id = container.id();
        self.unconfirmed.remove(id);
        let record = self.records.get_mut(id);
        let ended = record.as_ref().and_then(|record| record.exit?.at);
        let past = record.as_ref().and_then(|record| record.past.as_ref());
        let was_announced = past.is_some_and(|past| past.includes(&container));
        let preview = record.and_then(|record| {
            if take(&mut record.gone) {
                self.deadlines.cancel(Deadline::Exit(id.clone()));
            }
            record.is_begun = false;
            self.strangers -= usize::from(take(&mut record.is_stranger));
            record.preview.take()
        });
        let start_reported = preview.as_ref().and_then(|preview| preview.began);
        // Where the engine reports no start time, its start event contains it.
        let began = preview.filter(|preview| preview.container.pid() == container.pid());
        let began = container.started_at().or(began.and_then(|preview| preview.began));
        match self.portfolio.by_id(id).cloned() {
            None => {
                // The engine reported the end of this life, and takes it back: it is alive again since then.
                let taken_back =
                    ended.filter(|ended| was_announced && began.is_some_and(|began| began < *ended));
                let time = taken_back.map_or(began, |ended| start_reported.max(Some(ended)));
                self.publish(time.unwrap_or(now.time), EventKind::Started(container));
            }
            Some(known) => {
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

    /// The container to inspect next, now, and whether its last inspection failed: such ones come last. The inspection
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

    pub(super) fn inquiry(&self, id: &ContainerId) -> Inquiry {
        self.records.get(id).map(|record| record.inquiry).unwrap_or_default()
    }

    pub(super) fn is_asked(&self, id: &ContainerId) -> bool {
        self.inquiry(id) != Inquiry::None
    }

    /// A container may have changed: the truth is what is asked from now on.
    pub(super) fn want(&mut self, id: &ContainerId) {
        let record = self.records.entry(id.clone()).or_default();
        match &mut record.inquiry {
            Inquiry::Wanted => {}
            Inquiry::Asked(since) => since.hinted = true,
            inquiry @ (Inquiry::None | Inquiry::Deferred) => {
                if replace(inquiry, Inquiry::Wanted) == Inquiry::Deferred {
                    self.deadlines.cancel(Deadline::Retry(id.clone()));
                }
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
}
