//! What is checked after each step.

use super::super::record::Inspection;
use super::super::*;
use super::bounds::Kind;
use super::subject::{Life, Question};
use super::world::{World, Wrong, id, time};

impl World {
    /// Checks what was published since the portfolio was as in `fold`, and the reconciler itself.
    pub(super) fn check_step(&mut self, mut fold: Portfolio) -> Result<(), String> {
        while let Some(effect) = self.reconciler.poll_effect(Room::None) {
            match effect {
                Effect::List | Effect::Audit => {
                    self.gap = false;
                    if self.wrong == Wrong::Perhaps && matches!(effect, Effect::Audit) {
                        self.wrong = Wrong::Audited;
                    }
                    if self.list.replace(Question::Asked).is_some() {
                        return Err("two lists at once".into());
                    }
                }
                Effect::Verify(life) => {
                    let subject = &self.subjects[self.nth(life.id())];
                    let goes_on =
                        subject.alive().is_some_and(|it| self.container(0, it).life() == life.life());
                    self.reconciler.handle_input(Input::Verified { life, goes_on }, self.now());
                }
                Effect::Inspect { id, .. } => return Err(format!("there is no room to inspect {id}")),
                Effect::Publish(events) => {
                    for event in events {
                        self.check(&fold, &event).map_err(|broken| format!("{event}: {broken}"))?;
                        fold.apply(&event.kind);
                    }
                }
            }
        }
        self.reconciler.check_deadlines()?;
        let is_lossy = self.bounds.lost < self.bounds_at_first.lost;
        if self.reconciler.drifted() > 0 && !is_lossy && !self.hasty && !self.misled {
            return Err("a drift, though no event was lost".into());
        }
        self.check_ended()?;
        if fold != *self.reconciler.portfolio() {
            return Err(format!("the fold is {fold:?}, the portfolio {:?}", self.reconciler.portfolio()));
        }
        match fold.containers().find(|container| container.pid() == 0) {
            Some(container) => Err(format!("readers see {container}")),
            None => Ok(()),
        }
    }

    /// Checks the containers that are over for good: they are not alive, and are inspected only to complete
    /// what their start event contained.
    fn check_ended(&self) -> Result<(), String> {
        for nth in (0..self.subjects.len()).filter(|nth| self.is_over_for_good(*nth)) {
            let id = id(nth);
            if self.reconciler.portfolio().by_id(&id).is_some() {
                return Err(format!("{id} is over for good, and readers see it"));
            }
            let record = self.reconciler.records.get(&id);
            let is_due = |record: &Record| {
                matches!(record.inspection, Inspection::Pending | Inspection::Deferred)
                    && record.preview().is_none()
            };
            if record.is_some_and(is_due) {
                return Err(format!("{id} is over for good, and is to be inspected"));
            }
        }
        Ok(())
    }

    /// Whether an event is one that may be published after `fold`, given what really happened.
    pub(super) fn check(&mut self, fold: &Portfolio, event: &Event) -> Result<(), String> {
        let Some(container) = event.container() else {
            let synced = matches!(event.kind, EventKind::Synced { .. });
            return if synced && !self.listed { Err("not even listed".into()) } else { Ok(()) };
        };
        let known = fold.by_id(container.id());
        let subject = self.subjects.iter_mut().enumerate().find(|(nth, _)| id(*nth) == *container.id());
        let (_, subject) = subject.ok_or("unheard of")?;
        let is_watching = self.bounds_at_first.ends > 0;
        let docker = self.bounds.kind == Kind::Docker;
        let may_come_back = self.misled && !self.bounds.final_ids;
        let same_pid = self.bounds.same_pid;
        let mut lives = subject.lives.iter_mut().enumerate();
        let life = lives.find(|(_, life)| match container.pid() {
            0 => container.started_at() == Some(time(if docker { life.reported } else { life.began })),
            pid => pid == life.pid && (!same_pid || container.started_at() == Some(time(life.began))),
        });
        let (nth_life, life) = life.ok_or("a life that never was")?;
        let same = known.is_some_and(|known| known.life() == container.life());
        if container.oom_killed() && !life.oom_killed {
            return Err("the OOM kill of another life".into());
        }
        match &event.kind {
            EventKind::Started(_) => match (known, life.announced) {
                (Some(_), _) => Err("started while known".into()),
                (_, true) if !(may_come_back && life.announced_end) => Err("a life started twice".into()),
                _ => {
                    (life.announced, life.announced_end) = (true, false);
                    subject.watched = Some(nth_life).filter(|_| is_watching && life.ended.is_none());
                    Ok(())
                }
            },
            EventKind::Exited { code, .. } => {
                if !same {
                    return Err("exited, but it is not that life that was known".into());
                }
                if life.ended.is_none() {
                    return Err("exited, but it is alive".into());
                }
                if std::mem::replace(&mut life.announced_end, true) {
                    return Err("a life exited twice".into());
                }
                subject.watched_before.extend(subject.watched.take());
                let is_witnessed = subject.witnessed.contains(&nth_life);
                if event.seen_by == SeenBy::Kernel && (!is_witnessed || code.is_some()) {
                    return Err("the witness did not report that".into());
                }
                match code {
                    // Where an exit and a start were lost, the next exit is taken for that of the life before.
                    Some(_) if self.misled || self.bounds.lost < self.bounds_at_first.lost => Ok(()),
                    Some(code) if *code != life.pid as i32 => Err("the exit code of another life".into()),
                    _ => Ok(()),
                }
            }
            _ if !same => Err("changed, but it is not that life that was known".into()),
            _ if known.is_some_and(|known| **known == **container) => {
                Err("changed, but not different".into())
            }
            EventKind::Paused(_) if !container.paused() => Err("paused, but is not".into()),
            EventKind::Unpaused(_) if container.paused() => Err("unpaused, but is not".into()),
            _ => Ok(()),
        }
    }

    /// Checks an answer, whatever hints came meanwhile: a life that it shows and whose end is not known is in
    /// the portfolio as it was shown, one that is over is not or is about to go, and no container holds up
    /// `Synced` for more than two answers.
    pub(super) fn check_progress(&mut self, nth: usize, looked: Option<&Life>) -> Result<(), String> {
        let reports_pids = self.bounds.kind.reports_pids();
        let subject = &mut self.subjects[nth];
        let shown = self.reconciler.portfolio().by_id(&id(nth));
        match looked {
            None if shown.is_some() && !self.reconciler.deadlines.is_pending(&Deadline::Exit(id(nth))) => {
                return Err("it is not alive, and the answer changes nothing".into());
            }
            None => {}
            Some(looked) => {
                let mut lives = subject.lives.iter();
                let nth_life = lives.position(|life| (life.pid, life.began) == (looked.pid, looked.began));
                let is_witnessed = nth_life.is_some_and(|nth| subject.witnessed.contains(&nth));
                let life = nth_life.map(|nth| &subject.lives[nth]);
                // The end of a later life shows it, too, where its own was lost.
                let is_shown = subject.ended.iter().any(|ended| *ended >= looked.pid);
                let is_over = is_shown || is_witnessed || life.is_none_or(|life| life.announced_end);
                // Where PIDs distinguish exits, only the newest is kept.
                let is_clear = subject.exits < 2 || !reports_pids;
                // An OOM kill that an event reported meanwhile is not taken back.
                let truth = self.container(nth, looked);
                let oom_killed = truth.oom_killed() || shown.is_some_and(|shown| shown.oom_killed());
                let truth = truth.with_oom_killed(oom_killed);
                if !is_over && is_clear && shown.is_none_or(|shown| **shown != truth) {
                    return Err(format!("the answer is {truth}, and the portfolio has {shown:?}"));
                }
            }
        }
        let subject = &mut self.subjects[nth];
        subject.answers = (subject.answers + 1).min(2);
        let is_awaited = matches!(
            &self.reconciler.phase,
            Phase::Confirming { unsettled, .. } if unsettled.contains_key(&id(nth))
        );
        match is_awaited && subject.answers == 2 {
            true => Err("two answers, and it is not settled".into()),
            false => Ok(()),
        }
    }

    /// Checks the containers that have nothing under way, whatever hangs with others: the portfolio shows
    /// them as they are.
    pub(super) fn check_quiet(&self) -> Result<(), String> {
        let relisting = self.reconciler.deadlines.is_pending(&Deadline::Relist);
        if !self.connected || self.wrong != Wrong::No || self.list.is_some() || relisting {
            return Ok(());
        }
        let mut quiet = 0;
        for (nth, subject) in self.subjects.iter().enumerate() {
            let is_inspected =
                subject.inspection.is_some() || self.reconciler.inspection(&id(nth)) == Inspection::Pending;
            let unseen = self.bounds.kind == Kind::Polling && subject.is_unseen();
            let waiting =
                Deadline::of(&id(nth)).iter().any(|deadline| self.reconciler.deadlines.is_pending(deadline));
            if is_inspected || unseen || waiting || !subject.queue.is_empty() {
                continue;
            }
            quiet += 1;
            let shown = self.reconciler.portfolio().by_id(&id(nth)).map(|container| (**container).clone());
            let truth = subject.alive().map(|life| self.container(nth, life));
            if shown != truth {
                return Err(format!("the portfolio has {shown:?}, the world {truth:?}"));
            }
            if subject.inspections > subject.reasons {
                return Err(format!("{} inspections for {} reasons", subject.inspections, subject.reasons));
            }
        }
        match quiet == self.subjects.len() {
            true if !self.reconciler.is_live() => Err("nothing is under way, and it is not live".into()),
            true if self.gap => Err("nothing is under way, and the gap was not closed".into()),
            _ => Ok(()),
        }
    }
}

impl Reconciler {
    /// Each deadline exists as long as the state that it belongs to, and no longer.
    fn check_deadlines(&self) -> Result<(), String> {
        let mut expected = Vec::new();
        for (id, record) in &self.records {
            let states =
                [record.inspection == Inspection::Deferred, record.awaits_exit(), record.mismatch.is_some()];
            expected.extend(
                states.into_iter().zip(Deadline::of(id)).filter_map(|(is, deadline)| is.then_some(deadline)),
            );
        }
        if matches!(self.lists, ListState::Deferred) {
            expected.push(Deadline::Relist);
        }
        if !matches!(self.phase, Phase::Disconnected) {
            expected.push(Deadline::Audit);
        }
        let pending = self.deadlines.all().count();
        match expected.iter().all(|deadline| self.deadlines.is_pending(deadline)) && expected.len() == pending
        {
            true => Ok(()),
            false => Err(format!("the states want {expected:?}, and pending is {:?}", self.deadlines)),
        }
    }
}
