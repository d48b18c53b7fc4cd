//! Lets things happen in a world.

use super::super::*;
use super::bounds::{Action, Kind};
use super::subject::{Life, Question, Reported, Subject};
use super::world::{ANOTHER, REPLAYED, World, Wrong, id, time};

impl World {
    /// Lets it happen; an error is a broken promise.
    pub(super) fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Start(nth) | Action::Reuse(nth) => {
                let name = if matches!(action, Action::Reuse(_)) { ANOTHER } else { 0 };
                let (mut began, reported) = (self.tick(), self.tick());
                if self.bounds.kind == Kind::Hints {
                    // Even an end that comes at once is dated before that.
                    began = reported + 5;
                }
                let subject = &mut self.subjects[nth];
                let later = if self.bounds.same_pid { 0 } else { subject.lives.len() as u32 };
                let pid = 1 + nth as u32 * 10 + later;
                subject.lives.push(Life {
                    pid,
                    began,
                    reported,
                    ended: None,
                    paused: false,
                    oom_killed: false,
                    name,
                    announced: false,
                    announced_end: false,
                });
                self.report(nth, Reported::Started { pid, began, at: reported, name });
            }
            Action::Exit(nth) => {
                let at = self.tick();
                let life = self.alive_mut(nth);
                life.ended = Some(at);
                let pid = life.pid;
                self.report(nth, Reported::Exited { pid, at });
            }
            Action::Pause(nth) | Action::Unpause(nth) => {
                let at = self.tick();
                let life = self.alive_mut(nth);
                life.paused = !life.paused;
                let paused = life.paused;
                if paused {
                    self.bounds.pauses -= 1;
                }
                self.report(nth, Reported::Paused(paused, at));
            }
            Action::Oom(nth) => {
                let at = self.tick();
                self.alive_mut(nth).oom_killed = true;
                self.bounds.ooms -= 1;
                self.report(nth, Reported::OomKilled(at));
            }
            Action::Rename(nth) => {
                self.alive_mut(nth).name += 1;
                self.bounds.renames -= 1;
                self.report(nth, Reported::Changed);
            }
            Action::Deliver(nth) | Action::DeliverTwice(nth) => {
                let subject = &mut self.subjects[nth];
                let reported = match action {
                    Action::Deliver(_) => subject.queue.pop_front(),
                    _ => {
                        // Once now, and once more after whatever comes next.
                        self.bounds.doubled -= 1;
                        let front = subject.queue.pop_front();
                        let later = subject.queue.len().min(1);
                        subject.queue.insert(later, front.clone().expect("checked in possible"));
                        front
                    }
                };
                subject.reasons += 1;
                let reported = reported.expect("checked in possible");
                let is_of_life = matches!(reported, Reported::Started { .. } | Reported::Exited { .. });
                if is_of_life && subject.goes_on() {
                    return self
                        .input(Input::Disputed(self.event(nth, &reported)))
                        .and_then(|()| self.check_quiet());
                }
                if let Reported::Exited { pid, .. } = reported {
                    subject.exits += u8::from(subject.inspection.is_some() && subject.exits < 2);
                    if !subject.ended.contains(&pid) {
                        subject.ended.push(pid);
                    }
                }
                self.input(Input::Event(self.event(nth, &reported)))?;
            }
            Action::DeliverMalformed(nth) => {
                self.bounds.malformed -= 1;
                let subject = &mut self.subjects[nth];
                subject.queue.pop_front();
                subject.reasons += 1;
                self.input(Input::Event(EngineEvent::Touched { id: id(nth), at: None }))?;
            }
            Action::Poll => self.poll(),
            Action::Lose(nth) => {
                self.bounds.lost -= 1;
                self.subjects[nth].queue.pop_front();
                self.wrong = Wrong::Perhaps;
            }
            Action::Audit => {
                let begins = self.list.is_none() && self.reconciler.is_live();
                self.due(Deadline::Audit)?;
                if begins {
                    self.bounds.audits -= 1;
                    self.expect_list()?;
                }
            }
            Action::Gap => {
                self.bounds.gaps -= 1;
                self.gap = true;
                self.input(Input::Event(EngineEvent::Gap))?;
            }
            Action::Swap(nth) => self.subjects[nth].queue.swap(0, 1),
            Action::ConnectWithReplay => {
                self.bounds.replays -= 1;
                self.act(Action::Connect)?;
                for subject in &mut self.subjects {
                    subject.queue = subject.recent.clone();
                }
            }
            Action::Connect => {
                self.bounds.connections -= 1;
                self.connected = true;
                self.wrong = Wrong::No;
                self.input(Input::Connected)?;
                self.expect_list()?;
            }
            Action::Crash => {
                self.bounds.crashes -= 1;
                for nth in 0..self.subjects.len() {
                    if self.subjects[nth].alive().is_some() {
                        self.act(Action::Exit(nth))?;
                    }
                }
                self.act(Action::Disconnect)?;
            }
            Action::Disconnect => {
                self.connected = false;
                (self.looked, self.listed, self.gap) = (false, false, false);
                self.list = None;
                for subject in &mut self.subjects {
                    subject.queue.clear();
                    subject.inspection = None;
                    subject.late = 0;
                    (subject.exits, subject.answers) = (0, 0);
                }
                let error = EngineError::new(crate::ErrorKind::Disconnected, "gone");
                self.input(Input::Disconnected(Arc::new(error)))?;
            }
            Action::LookForListBehind(nth) => {
                let behind = self.look_behind(nth);
                self.act(Action::LookForList)?;
                if let Some(Question::Looked(alive)) = &mut self.list {
                    alive.extend(behind.map(|life| (nth, life)));
                }
            }
            Action::LookForList => {
                let alive = self.subjects.iter().enumerate();
                let alive =
                    alive.filter_map(|(nth, subject)| Some((nth, subject.alive()?.clone()))).collect();
                // The next list or poll reports what differs from the first list.
                if self.bounds.kind == Kind::Polling {
                    match std::mem::replace(&mut self.looked, true) {
                        true => self.poll(),
                        false => self.subjects.iter_mut().for_each(|subject| {
                            subject.polled = subject.alive().map(|life| life.pid);
                        }),
                    }
                }
                self.list = Some(Question::Looked(alive));
            }
            Action::Relist => {
                self.due(Deadline::Relist)?;
                self.expect_list()?;
            }
            Action::AnswerList | Action::AnswerListWithout(_) => {
                let Some(Question::Looked(mut alive)) = self.list.take() else {
                    unreachable!("checked in possible")
                };
                let mut unlisted_scopes = Vec::new();
                if let Action::AnswerListWithout(without) = action {
                    self.bounds.partial -= 1;
                    alive.retain(|(nth, _)| *nth != without);
                    unlisted_scopes.push(id(without).to_string());
                }
                let entry = |(nth, life): (usize, Life)| {
                    let began = time(life.began);
                    let partial = Container::new(id(nth), format!("n{}", life.name), 0);
                    match self.bounds.kind {
                        Kind::Containerd => ListingEntry::Whole(self.container(nth, &life)),
                        Kind::Docker => ListingEntry::Partial {
                            container: self.with_state(partial, &life),
                            started_within: Some(began..=began),
                        },
                        Kind::Cri | Kind::Hints | Kind::Polling => {
                            ListingEntry::Partial { container: partial, started_within: None }
                        }
                    }
                };
                let entries = alive.into_iter().map(entry).collect();
                if unlisted_scopes.is_empty() {
                    self.listed = true;
                    if self.wrong == Wrong::Audited {
                        self.wrong = Wrong::No;
                    }
                }
                for subject in &mut self.subjects {
                    subject.reasons += 1;
                    subject.late = subject.queue.len();
                    subject.answers = 0;
                }
                self.input(Input::Listed(entries, UnlistedScopes::of(unlisted_scopes, ContainerId::as_str)))?;
            }
            Action::FailList => {
                self.bounds.failures -= 1;
                self.list = None;
                if self.wrong == Wrong::Audited {
                    self.wrong = Wrong::Perhaps;
                }
                self.input(Input::ListFailed)?;
            }
            Action::Ask => {
                let Some(Effect::Inspect { id: wanted, .. }) = self.reconciler.poll_effect(Room::Any) else {
                    unreachable!("checked in possible")
                };
                let nth = self.nth(&wanted);
                let subject = &mut self.subjects[nth];
                subject.inspections += 1;
                subject.exits = 0;
                if subject.inspection.replace(Question::Asked).is_some() {
                    return Err(format!("two inspections of {wanted} at once"));
                }
            }
            Action::LookFalse(nth) => {
                self.bounds.lies -= 1;
                self.subjects[nth].inspection = Some(Question::Looked(None));
            }
            Action::Look(nth) => {
                let subject = &mut self.subjects[nth];
                subject.inspection = Some(Question::Looked(subject.alive().cloned()));
            }
            Action::LookBehind(nth) => {
                let behind = self.look_behind(nth);
                self.subjects[nth].inspection = Some(Question::Looked(behind));
            }
            Action::Answer(nth) => {
                let Some(Question::Looked(life)) = self.subjects[nth].inspection.take() else {
                    unreachable!("checked in possible")
                };
                // A stale answer is followed by another question.
                self.subjects[nth].reasons += 1;
                if life.is_none() && self.subjects[nth].goes_on() {
                    self.input(Input::Inspected(id(nth), Answer::Disputed))?;
                    return self.check_quiet();
                }
                // Some engines still return the name of what is not alive.
                let names_the_dead = self.bounds.kind != Kind::Docker || self.bounds.packs;
                let record = || names_the_dead.then(|| Container::new(id(nth), "n0", 0));
                let truth = life.as_ref().map(|life| self.container(nth, life)).or_else(record);
                self.input(Input::Inspected(id(nth), Answer::Truth(truth)))?;
                self.check_progress(nth, life.as_ref())?;
            }
            Action::Fail(nth) => {
                self.bounds.failures -= 1;
                self.subjects[nth].inspection = None;
                let ended =
                    |subject: &Subject| subject.lives.iter().filter(|life| life.announced_end).count();
                let before = ended(&self.subjects[nth]);
                let error = EngineError::new(crate::ErrorKind::Failed, "scripted failure");
                self.input(Input::Inspected(id(nth), Answer::Unknown(Arc::new(error))))?;
                // Where a life is over, its end is announced instead.
                let is_announced = ended(&self.subjects[nth]) > before;
                // Or it is over for good.
                let is_done = is_announced || self.is_over_for_good(nth);
                if !is_done && !self.reconciler.deadlines.is_pending(&Deadline::Retry(id(nth))) {
                    return Err("a failed inspection is not retried".into());
                }
            }
            Action::End(nth) | Action::EndInSilence(nth) => {
                self.bounds.ends -= 1;
                let subject = &mut self.subjects[nth];
                let nth_life = subject.watched.expect("checked in possible");
                subject.witnessed.push(nth_life);
                let life = Arc::new(self.container(nth, &self.subjects[nth].lives[nth_life]));
                let is_silent = matches!(action, Action::EndInSilence(_));
                self.input(Input::Ended { life, is_silent })?;
                let is_live = self.reconciler.is_live() && !is_silent;
                if !is_live && !self.subjects[nth].lives[nth_life].announced_end {
                    return Err("the witness reports an end, and it is not announced at once".into());
                }
            }
            Action::EndLate(nth, nth_life) => {
                self.bounds.ends -= 1;
                let subject = &mut self.subjects[nth];
                // The engine may have brought it back.
                if !subject.lives[nth_life].announced_end {
                    subject.witnessed.push(nth_life);
                }
                let life = Arc::new(self.container(nth, &self.subjects[nth].lives[nth_life]));
                self.input(Input::Ended { life, is_silent: true })?;
            }
            Action::Lie(nth) => {
                self.bounds.lies -= 1;
                let at = self.tick();
                let Life { pid, began, name, .. } = *self.alive_mut(nth);
                self.report(nth, Reported::Exited { pid, at });
                // Once the life is over, nothing shows that this is not the start of another one.
                let started = Reported::Started { pid, began, at: self.tick(), name };
                self.subjects[nth].reasons += 1;
                self.input(Input::Disputed(self.event(nth, &started)))?;
            }
            Action::ExitDue(nth) | Action::DriftDue(nth) => {
                self.hasty |= self.subjects[nth].late > 0;
                self.due(match action {
                    Action::ExitDue(_) => Deadline::Exit(id(nth)),
                    _ => Deadline::Drift(id(nth)),
                })?;
            }
            Action::RetryDue(nth) => {
                self.subjects[nth].reasons += 1;
                self.due(Deadline::Retry(id(nth)))?;
            }
        }
        self.check_quiet()
    }

    /// Reports what started and exited since the last look at a list; an ID has one life.
    pub(super) fn poll(&mut self) {
        let at = self.tick();
        for subject in &mut self.subjects {
            let now = subject.alive().map(|life| life.pid);
            match (std::mem::replace(&mut subject.polled, now), now, subject.lives.last()) {
                (Some(pid), None, _) => subject.queue.push_back(Reported::Exited { pid, at }),
                (None, Some(_), Some(&Life { pid, began, name, .. })) => {
                    subject.queue.push_back(Reported::Started { pid, began, at, name });
                }
                _ => {}
            }
        }
    }

    /// Returns the life that is over, as the engine still shows it.
    fn look_behind(&mut self, nth: usize) -> Option<Life> {
        self.bounds.lags -= 1;
        let subject = &self.subjects[nth];
        let is_unseen = self.bounds.kind == Kind::Polling && subject.is_unseen();
        let is_over_by_witness = subject.is_over_by_witness();
        self.misled |= !self.is_over_for_good(nth) && !is_over_by_witness;
        if is_over_by_witness {
            // The engine contradicts the witness.
        } else if !self.bounds.final_ids || !(subject.has_exit_event() || is_unseen) {
            self.wrong = Wrong::Perhaps;
        }
        subject.as_before_its_end()
    }

    /// Whether the reconciler knows that a container is over, and that this is final.
    pub(super) fn is_over_for_good(&self, nth: usize) -> bool {
        let subject = &self.subjects[nth];
        let is_announced = subject.lives.iter().any(|life| life.announced_end);
        self.bounds.final_ids && (is_announced || !subject.ended.is_empty())
    }

    pub(super) fn input(&mut self, input: Input) -> Result<(), String> {
        let fold = self.reconciler.portfolio().clone();
        self.reconciler.handle_input(input, self.now());
        self.check_step(fold)
    }

    /// Lets a pending deadline become due.
    pub(super) fn due(&mut self, deadline: Deadline) -> Result<(), String> {
        let fold = self.reconciler.portfolio().clone();
        if !self.reconciler.deadlines.cancel(deadline.clone()) {
            return Err(format!("{deadline:?} is not pending"));
        }
        self.reconciler.due(deadline, self.now());
        self.check_step(fold)
    }

    pub(super) fn report(&mut self, nth: usize, reported: Reported) {
        let subject = &mut self.subjects[nth];
        if self.bounds_at_first.replays > 0 {
            subject.recent.push_back(reported.clone());
            if subject.recent.len() > REPLAYED {
                subject.recent.pop_front();
            }
        }
        if self.connected && self.bounds.kind != Kind::Polling {
            subject.queue.push_back(reported);
        }
    }

    pub(super) fn expect_list(&self) -> Result<(), String> {
        match self.list {
            Some(Question::Asked) => Ok(()),
            _ => Err("no list is requested".into()),
        }
    }

    pub(super) fn alive_mut(&mut self, nth: usize) -> &mut Life {
        self.subjects[nth].lives.last_mut().expect("checked in possible")
    }

    pub(super) fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}
