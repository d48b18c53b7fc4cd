//! A small world that tells as an engine does, and checks what the reconciler makes of it.

use std::collections::VecDeque;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::super::*;

/// How an engine tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Lists tell roughly; events tell names, and a moment that is later than the life's beginning.
    Docker,
    /// Lists tell all, without times; events tell PIDs; lives are told apart by PID.
    Containerd,
    /// Lists tell who is alive; events tell all but the PID. An ID has one life, as in CRI, and so with those below.
    Cri,
    /// The same lists, but events tell the PID and a moment at which CRI's own life has not begun yet.
    Hints,
    /// The same lists, looked at now and then, are all that tells of changes.
    Polling,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [Self::Docker, Self::Containerd, Self::Cri, Self::Hints, Self::Polling];

    pub(super) fn has_one_life_per_id(self) -> bool {
        matches!(self, Self::Cri | Self::Hints | Self::Polling)
    }

    /// Whether its events tell PIDs and no names.
    fn reports_pids(self) -> bool {
        matches!(self, Self::Containerd | Self::Hints)
    }

    /// Whether it may tell again on the next connection what it told before.
    fn replays(self) -> bool {
        matches!(self, Self::Docker | Self::Cri)
    }
}

/// How much may happen in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bounds {
    pub(super) kind: Kind,
    pub(super) containers: usize,
    /// Lives of each container.
    pub(super) lives: u8,
    pub(super) pauses: u8,
    pub(super) renames: u8,
    /// Events that are told twice.
    pub(super) doubled: u8,
    pub(super) failures: u8,
    /// Events that are lost.
    pub(super) lost: u8,
    pub(super) audits: u8,
    /// Times at which the engine says that events may have been lost.
    pub(super) gaps: u8,
    pub(super) connections: u8,
    /// How often the engine dies, with all that is alive in it.
    pub(super) crashes: u8,
    /// Lists that do not tell of all.
    pub(super) partial: u8,
    /// Connections on which the engine tells again what happened just before.
    pub(super) replays: u8,
    /// Stop after so many states.
    pub(super) states: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Start(usize),
    /// Another container begins under an ID that was used before.
    Reuse(usize),
    Exit(usize),
    Pause(usize),
    Unpause(usize),
    Rename(usize),
    Deliver(usize),
    DeliverTwice(usize),
    /// Whoever polls looks at the list.
    Poll,
    /// The next event is lost.
    Lose(usize),
    Audit,
    /// The stream reports that events may have been lost.
    Gap,
    /// The exit of a life overtakes its start.
    Swap(usize),
    Connect,
    /// The same, and the engine tells once more what happened last.
    ConnectWithReplay,
    Disconnect,
    /// The engine dies, with all that is alive in it.
    Crash,
    LookForList,
    AnswerList,
    /// The answer does not tell of this container.
    AnswerListWithout(usize),
    /// An audit's list fails.
    FailList,
    /// A list is requested again, for the last one failed or was not complete.
    Relist,
    Ask,
    Look(usize),
    Answer(usize),
    Fail(usize),
    /// A failed inspection is to be repeated.
    RetryDue(usize),
    /// The grace period of an exit event is over.
    ExitDue(usize),
    /// The grace period of what an audit's list showed differently is over.
    DriftDue(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Life {
    pid: u32,
    began: u64,
    /// The time of its start event.
    reported: u64,
    ended: Option<u64>,
    paused: bool,
    name: u8,
    announced: bool,
    announced_end: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Reported {
    Started { pid: u32, began: u64, at: u64, name: u8 },
    Exited { pid: u32, at: u64 },
    Paused(bool, u64),
    Changed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Question<T> {
    Asked,
    Looked(T),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Subject {
    lives: Vec<Life>,
    queue: VecDeque<Reported>,
    /// What happened last, told or not, where the engine may tell it again.
    recent: VecDeque<Reported>,
    inspection: Option<Question<Option<Life>>>,
    /// Exits delivered since the inspection that is under way was asked for, two at most.
    exits: u8,
    /// The lives whose exit was delivered.
    ended: Vec<u32>,
    /// Answers since the list was delivered, two at most.
    answers: u8,
    /// Where changes are polled for: who was alive when anybody last looked at a list, the watcher or who polls.
    polled: Option<u32>,
    /// Events that were on their way when the newest list was delivered.
    late: usize,
    /// Inspections asked for, and what may have led to them.
    asked: u32,
    reasons: u32,
}

impl Subject {
    fn alive(&self) -> Option<&Life> {
        self.lives.last().filter(|life| life.ended.is_none())
    }

    /// Whether polling would tell something.
    fn is_unseen(&self) -> bool {
        self.polled != self.alive().map(|life| life.pid)
    }
}

#[derive(Clone)]
pub(super) struct World {
    bounds: Bounds,
    bounds_at_first: Bounds,
    clock: u64,
    subjects: Vec<Subject>,
    connected: bool,
    list: Option<Question<Vec<(usize, Life)>>>,
    /// Where changes are polled for: whether anybody looked for a list on this connection.
    looked: bool,
    listed: bool,
    /// Whether a gap was reported since the newest list was requested.
    gap: bool,
    wrong: Wrong,
    /// Whether a grace was too short for an event that was on its way.
    hasty: bool,
    /// The one moment at which all happens by the monotonic clock.
    epoch: Instant,
    pub(super) reconciler: Reconciler,
}

impl Deadline {
    /// All that a container may have.
    fn of(id: &ContainerId) -> [Self; 3] {
        [Self::Retry(id.clone()), Self::Exit(id.clone()), Self::Drift(id.clone())]
    }
}

/// How many events of a container are told again.
const REPLAYED: usize = 2;

/// The name of a container that begins under the ID of another.
const ANOTHER: u8 = 100;

/// Whether lost events may have left the picture wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wrong {
    No,
    /// Until an audit that begins from now on.
    Perhaps,
    /// Until the audit that is under way.
    Audited,
}

fn time(at: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(at)
}

fn id(subject: usize) -> ContainerId {
    format!("c{subject}").into()
}

impl World {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            bounds_at_first: bounds,
            clock: 0,
            subjects: vec![Subject::default(); bounds.containers],
            connected: false,
            list: None,
            looked: false,
            listed: false,
            gap: false,
            wrong: Wrong::No,
            hasty: false,
            epoch: Instant::now(),
            reconciler: Reconciler::default(),
        }
    }

    fn container(&self, subject: usize, life: &Life) -> Container {
        let container =
            Container::new(id(subject), format!("n{}", life.name), life.pid).with_paused(life.paused);
        match self.bounds.kind {
            Kind::Containerd => container,
            _ => container.with_started_at(time(life.began)),
        }
    }

    fn event(&self, subject: usize, reported: &Reported) -> EngineEvent {
        let id = id(subject);
        let kind = self.bounds.kind;
        match *reported {
            Reported::Started { pid, began, at, name } => {
                let named = Container::new(id.clone(), format!("n{name}"), 0);
                let preview = match kind {
                    Kind::Docker => Some(named),
                    Kind::Cri => Some(named.with_started_at(time(began))),
                    Kind::Containerd | Kind::Hints | Kind::Polling => None,
                };
                let at = (kind != Kind::Polling).then(|| time(at));
                EngineEvent::Started {
                    id,
                    at,
                    pid: kind.reports_pids().then_some(pid),
                    preview: preview.map(Box::new),
                }
            }
            Reported::Exited { pid, at } => EngineEvent::Exited {
                id,
                pid: kind.reports_pids().then_some(pid),
                at: Some(time(at)),
                code: (kind != Kind::Polling).then_some(pid as i32),
            },
            Reported::Paused(true, at) => EngineEvent::Paused { id, at: Some(time(at)) },
            Reported::Paused(false, at) => EngineEvent::Unpaused { id, at: Some(time(at)) },
            Reported::Changed => EngineEvent::Changed { id, at: None },
        }
    }

    /// All that can happen next.
    pub(super) fn possible(&self) -> Vec<Action> {
        let bounds = &self.bounds;
        let due = self.reconciler.deadlines.all().filter_map(|deadline| match deadline {
            Deadline::Retry(id) => Some(Action::RetryDue(self.nth(id))),
            Deadline::Exit(id) => Some(Action::ExitDue(self.nth(id))),
            Deadline::Drift(id) => Some(Action::DriftDue(self.nth(id))),
            Deadline::Relist => Some(Action::Relist),
            // One is always pending.
            Deadline::Audit => (bounds.audits > 0).then_some(Action::Audit),
        });
        let mut all: Vec<_> = due.collect();
        for (nth, subject) in self.subjects.iter().enumerate() {
            match subject.alive() {
                None if subject.lives.len() < usize::from(bounds.lives) => {
                    all.push(Action::Start(nth));
                    if !subject.lives.is_empty() {
                        all.push(Action::Reuse(nth));
                    }
                }
                None => {}
                Some(life) => {
                    all.push(Action::Exit(nth));
                    if life.paused {
                        all.push(Action::Unpause(nth));
                    } else if bounds.pauses > 0 {
                        all.push(Action::Pause(nth));
                    }
                    if bounds.renames > 0 {
                        all.push(Action::Rename(nth));
                    }
                }
            }
            if let Some(front) = subject.queue.front() {
                all.push(Action::Deliver(nth));
                if bounds.doubled > 0 {
                    all.push(Action::DeliverTwice(nth));
                }
                if bounds.lost > 0 {
                    all.push(Action::Lose(nth));
                }
                if let (true, Reported::Started { pid, .. }, Some(Reported::Exited { pid: exited, .. })) =
                    (bounds.kind.reports_pids(), front, subject.queue.get(1))
                    && pid == exited
                {
                    all.push(Action::Swap(nth));
                }
            }
            match subject.inspection {
                Some(Question::Asked) => all.push(Action::Look(nth)),
                Some(Question::Looked(_)) => all.push(Action::Answer(nth)),
                None => {}
            }
            if subject.inspection.is_some() && bounds.failures > 0 {
                all.push(Action::Fail(nth));
            }
        }
        match self.connected {
            true => {
                all.push(Action::Disconnect);
                if bounds.kind == Kind::Polling && self.looked && self.subjects.iter().any(Subject::is_unseen)
                {
                    all.push(Action::Poll);
                }
                if bounds.crashes > 0 {
                    all.push(Action::Crash);
                }
                if bounds.gaps > 0 {
                    all.push(Action::Gap);
                }
            }
            false if bounds.connections > 0 => {
                all.push(Action::Connect);
                if bounds.replays > 0 && bounds.kind.replays() {
                    all.push(Action::ConnectWithReplay);
                }
            }
            false => {}
        }
        match self.list {
            Some(Question::Asked) => all.push(Action::LookForList),
            Some(Question::Looked(_)) => {
                all.push(Action::AnswerList);
                if bounds.partial > 0 {
                    all.extend((0..self.subjects.len()).map(Action::AnswerListWithout));
                }
            }
            None => {}
        }
        if self.list.is_some() && self.reconciler.is_live() && bounds.failures > 0 {
            all.push(Action::FailList);
        }
        if self.connected
            && matches!(self.reconciler.clone().poll_effect(Room::Any), Some(Effect::Inspect { .. }))
        {
            all.push(Action::Ask);
        }
        all
    }

    fn report(&mut self, nth: usize, reported: Reported) {
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

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

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
                let pid = 1 + nth as u32 * 10 + subject.lives.len() as u32;
                subject.lives.push(Life {
                    pid,
                    began,
                    reported,
                    ended: None,
                    paused: false,
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
                if let Reported::Exited { pid, .. } = reported {
                    subject.exits += u8::from(subject.inspection.is_some() && subject.exits < 2);
                    if !subject.ended.contains(&pid) {
                        subject.ended.push(pid);
                    }
                }
                self.input(Input::Event(self.event(nth, &reported)))?;
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
            Action::LookForList => {
                let alive = self.subjects.iter().enumerate();
                let alive =
                    alive.filter_map(|(nth, subject)| Some((nth, subject.alive()?.clone()))).collect();
                // What differs from the first list is told by whichever comes next.
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
                            container: partial.with_paused(life.paused),
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
                subject.asked += 1;
                subject.exits = 0;
                if subject.inspection.replace(Question::Asked).is_some() {
                    return Err(format!("two inspections of {wanted} at once"));
                }
            }
            Action::Look(nth) => {
                let subject = &mut self.subjects[nth];
                subject.inspection = Some(Question::Looked(subject.alive().cloned()));
            }
            Action::Answer(nth) => {
                let Some(Question::Looked(life)) = self.subjects[nth].inspection.take() else {
                    unreachable!("checked in possible")
                };
                // A stale answer is followed by another question.
                self.subjects[nth].reasons += 1;
                // Of what is not alive some engines still tell the name.
                let names_the_dead = self.bounds.kind != Kind::Docker;
                let record = || names_the_dead.then(|| Container::new(id(nth), "n0", 0));
                let truth = life.as_ref().map(|life| self.container(nth, life)).or_else(record);
                self.input(Input::Inspected(id(nth), Answer::Truth(truth)))?;
                self.check_progress(nth, life.as_ref())?;
            }
            Action::Fail(nth) => {
                self.bounds.failures -= 1;
                self.subjects[nth].inspection = None;
                let error = EngineError::new(crate::ErrorKind::Failed, "scripted failure");
                self.input(Input::Inspected(id(nth), Answer::Unknown(Arc::new(error))))?;
                if !self.reconciler.deadlines.is_pending(&Deadline::Retry(id(nth))) {
                    return Err("a failed inspection is not retried".into());
                }
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

    /// Tells what came and what went since anybody last looked; an ID has one life.
    fn poll(&mut self) {
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

    fn expect_list(&self) -> Result<(), String> {
        match self.list {
            Some(Question::Asked) => Ok(()),
            _ => Err("no list is requested".into()),
        }
    }

    fn nth(&self, wanted: &ContainerId) -> usize {
        (0..self.subjects.len()).find(|nth| id(*nth) == *wanted).expect("a container of this world")
    }

    fn alive_mut(&mut self, nth: usize) -> &mut Life {
        self.subjects[nth].lives.last_mut().expect("checked in possible")
    }

    fn now(&self) -> Now {
        // Deadlines become due at any moment, whatever the monotonic clock says.
        Now { instant: self.epoch, time: time(1000 + self.clock) }
    }

    fn input(&mut self, input: Input) -> Result<(), String> {
        let fold = self.reconciler.portfolio().clone();
        self.reconciler.handle_input(input, self.now());
        self.check_step(fold)
    }

    /// Lets a pending deadline become due.
    fn due(&mut self, deadline: Deadline) -> Result<(), String> {
        let fold = self.reconciler.portfolio().clone();
        if !self.reconciler.deadlines.cancel(deadline.clone()) {
            return Err(format!("{deadline:?} is not pending"));
        }
        self.reconciler.due(deadline, self.now());
        self.check_step(fold)
    }

    /// Checks what was published since the portfolio was as in `fold`, and the reconciler itself.
    fn check_step(&mut self, mut fold: Portfolio) -> Result<(), String> {
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
        if self.reconciler.drifted() > 0 && !is_lossy && !self.hasty {
            return Err("a drift, though no event was lost".into());
        }
        if fold != *self.reconciler.portfolio() {
            return Err(format!("the fold is {fold:?}, the portfolio {:?}", self.reconciler.portfolio()));
        }
        match fold.containers().find(|container| container.pid() == 0) {
            Some(container) => Err(format!("readers see {container}")),
            None => Ok(()),
        }
    }

    /// Whether an event is one that may be published after `fold`, given what really happened.
    fn check(&mut self, fold: &Portfolio, event: &Event) -> Result<(), String> {
        let Some(container) = event.container() else {
            let synced = matches!(event.kind, EventKind::Synced { .. });
            return if synced && !self.listed { Err("not even listed".into()) } else { Ok(()) };
        };
        let known = fold.by_id(container.id());
        let subject = self.subjects.iter_mut().enumerate().find(|(nth, _)| id(*nth) == *container.id());
        let (_, subject) = subject.ok_or("unheard of")?;
        let docker = self.bounds.kind == Kind::Docker;
        let life = subject.lives.iter_mut().find(|life| match container.pid() {
            0 => container.started_at() == Some(time(if docker { life.reported } else { life.began })),
            pid => pid == life.pid,
        });
        let life = life.ok_or("a life that never was")?;
        let same = known.is_some_and(|known| known.life() == container.life());
        match &event.kind {
            EventKind::Started(_) => match (known, life.announced) {
                (Some(_), _) => Err("started while known".into()),
                (_, true) => Err("a life started twice".into()),
                _ => {
                    life.announced = true;
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
                match code {
                    // Where an exit and a start were lost, the next exit is taken for that of the life before.
                    Some(_) if self.bounds.lost < self.bounds_at_first.lost => Ok(()),
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

    /// Whatever is hinted at meanwhile, each answer brings the picture forward: a life that it showed, and whose end is not
    /// known, is there as it was shown, and one that is over is not, or is about to go. And no container holds up `Synced` for
    /// more than two answers.
    fn check_progress(&mut self, nth: usize, looked: Option<&Life>) -> Result<(), String> {
        let reports_pids = self.bounds.kind.reports_pids();
        let subject = &mut self.subjects[nth];
        let shown = self.reconciler.portfolio().by_id(&id(nth));
        match looked {
            None if shown.is_some() && !self.reconciler.deadlines.is_pending(&Deadline::Exit(id(nth))) => {
                return Err("it is not alive, and the answer changes nothing".into());
            }
            None => {}
            Some(looked) => {
                let life = subject.lives.iter().find(|life| life.pid == looked.pid);
                // The end of a later life shows it, too, where its own was lost.
                let is_shown = subject.ended.iter().any(|ended| *ended >= looked.pid);
                let is_over = is_shown || life.is_none_or(|life| life.announced_end);
                // Where PIDs distinguish exits, only the newest is remembered.
                let is_clear = subject.exits < 2 || !reports_pids;
                let truth = self.container(nth, looked);
                if !is_over && is_clear && shown.is_none_or(|shown| **shown != truth) {
                    return Err(format!("the answer is {truth}, and the picture {shown:?}"));
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

    /// Whoever has nothing under way is in the picture as in the world, whatever hangs with others.
    fn check_quiet(&self) -> Result<(), String> {
        let relisting = self.reconciler.deadlines.is_pending(&Deadline::Relist);
        if !self.connected || self.wrong != Wrong::No || self.list.is_some() || relisting {
            return Ok(());
        }
        let mut quiet = 0;
        for (nth, subject) in self.subjects.iter().enumerate() {
            let asking = subject.inspection.is_some() || self.reconciler.inquiry(&id(nth)) == Inquiry::Wanted;
            let unseen = self.bounds.kind == Kind::Polling && subject.is_unseen();
            let waiting =
                Deadline::of(&id(nth)).iter().any(|deadline| self.reconciler.deadlines.is_pending(deadline));
            if asking || unseen || waiting || !subject.queue.is_empty() {
                continue;
            }
            quiet += 1;
            let shown = self.reconciler.portfolio().by_id(&id(nth)).map(|container| (**container).clone());
            let truth = subject.alive().map(|life| self.container(nth, life));
            if shown != truth {
                return Err(format!("the picture is {shown:?}, the world {truth:?}"));
            }
            if subject.asked > subject.reasons {
                return Err(format!("{} inspections for {} reasons", subject.asked, subject.reasons));
            }
        }
        match quiet == self.subjects.len() {
            true if !self.reconciler.is_live() => Err("nothing is under way, and it is not live".into()),
            true if self.gap => Err("nothing is under way, and the gap was not closed".into()),
            _ => Ok(()),
        }
    }

    /// Equal for states from which the same can follow.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.bounds, self.wrong, self.hasty).hash(&mut hasher);
        (&self.subjects, self.connected, &self.list, self.looked, self.listed, self.gap, self.clock)
            .hash(&mut hasher);
        self.reconciler
            .fingerprint(&self.subjects.iter().enumerate().map(|(nth, _)| id(nth)).collect::<Vec<_>>())
            .hash(&mut hasher);
        hasher.finish()
    }
}

impl Reconciler {
    /// Each deadline exists as long as the state that it belongs to, and no longer.
    fn check_deadlines(&self) -> Result<(), String> {
        let mut expected = Vec::new();
        for (id, record) in &self.records {
            let states = [record.inquiry == Inquiry::Deferred, record.gone, record.suspicion.is_some()];
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

    /// Its state as text, in an order that does not depend on how hash maps feel today.
    fn fingerprint(&self, ids: &[ContainerId]) -> String {
        let mut text = String::new();
        let set = |set: &HashSet<ContainerId>| ids.iter().map(|id| set.contains(id)).collect::<Vec<_>>();
        let touched = |all: &Touched| ids.iter().map(|id| Some(all.contains(id))).collect::<Vec<_>>();
        let phase = match &self.phase {
            Phase::Disconnected => (0, vec![]),
            Phase::Listing => (1, vec![]),
            Phase::Confirming { unsettled, complete } => {
                (2 + 2 * u8::from(!complete), ids.iter().map(|id| unsettled.get(id).copied()).collect())
            }
            Phase::Live => (3, vec![]),
        };
        let lists = match &self.lists {
            ListState::Idle => (0, vec![]),
            ListState::Pending { required } => (1 + u8::from(*required), vec![]),
            ListState::Deferred => (3, vec![]),
            ListState::InFlight { required, again, touched: all } => {
                (4 + u8::from(*required) + 2 * u8::from(*again), touched(all))
            }
        };
        let records: Vec<_> = ids.iter().map(|id| (self.records.get(id), self.failures.times(id))).collect();
        let queues = (&self.fresh, &self.retries, &self.remembered, set(&self.unconfirmed));
        let _ = write!(text, "{phase:?} {lists:?} {records:?} {queues:?} {:?}", self.portfolio);
        text
    }
}
