//! What a fleet announces, checked as it comes, against what was announced before and against the processes themselves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::MutexGuard;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use whalewatcher_core::fleet::{FleetEvent, FleetPortfolio};
use whalewatcher_core::{Container, EngineKey, EventKind, Fleet};
use whalewatcher_host::process::Proc;

use crate::growing::{Adding, Growing};

/// Namespaces whose containers other engines show too, by their IDs alone.
const SHARED: [&str; 2] = ["moby/", "k8s.io/"];

/// How many events are shown to people.
const TAIL: usize = 80;

/// A container, whatever engine shows it, and the PID of its initial process.
pub(crate) type Life = (String, u32);

/// A subscriber that checks all that it receives.
pub(crate) struct Announced(Growing<SoFar>);

/// What was announced so far.
#[derive(Default)]
pub(crate) struct SoFar {
    pub(crate) fold: FleetPortfolio,
    /// All events: `started web`, and `joined docker.com` where they are about no container.
    pub(crate) reported: Vec<String>,
    /// How often the start of each life was announced, but for those that an engine which had left showed again.
    pub(crate) begun: HashMap<Life, usize>,
    /// Which engine shows a container, and with which PID.
    shown: HashMap<String, (EngineKey, u32)>,
    /// Lives that go on though their exit was announced: their engine is to leave.
    let_go: HashMap<EngineKey, HashSet<Life>>,
    /// Lives of engines that left.
    left: HashSet<Life>,
    wrong: Option<String>,
    tail: Vec<String>,
}

impl Announced {
    pub(crate) fn start(fleet: &Fleet) -> Announced {
        let (fold, mut changes) = fleet.subscribe();
        let task = |so_far: Adding<SoFar>| async move {
            while let Some(change) = changes.next().await {
                so_far.add(|so_far| so_far.take(&change));
            }
        };
        Announced(Growing::start(SoFar { fold, ..SoFar::default() }, task))
    }

    pub(crate) fn so_far(&self) -> MutexGuard<'_, SoFar> {
        self.0.so_far()
    }

    /// How many events there were.
    pub(crate) fn len(&self) -> usize {
        self.0.count()
    }

    /// Waits for the next event, but no longer than this.
    pub(crate) async fn next_within(&self, limit: Duration) {
        self.0.next_within(limit).await;
    }

    /// Waits until there were so many events of this kind, or these of this container or engine.
    pub(crate) async fn until_reported(&self, words: &str, times: usize) -> Result<()> {
        self.until(&format!("{words} is reported"), |so_far| so_far.count(words) >= times).await
    }

    /// Waits until the events so far satisfy this.
    pub(crate) async fn until(&self, what: &str, holds: impl FnMut(&SoFar) -> bool) -> Result<()> {
        let holds = self.0.until(holds).await;
        ensure!(holds, "it did not come about that {what}\n{}", self.so_far().tail());
        Ok(())
    }
}

impl SoFar {
    fn take(&mut self, change: &FleetEvent) {
        self.fold.apply(change);
        let FleetEvent { key, event, .. } = change;
        let about = event.container().map_or(key.engine_type(), |container| container.name());
        self.reported.push(format!("{} {about}", event.kind.name()));
        let pid = event.container().map(|container| format!(" PID {}", container.pid()));
        let mut engine = key.endpoint().rsplitn(3, '/');
        let engine = [engine.next(), engine.next()].map(Option::unwrap_or_default).join(" of ");
        let line = format!("{} {} at {engine}: {event}", self.fold.revision(), key.engine_type());
        self.tail.push(line + &pid.unwrap_or_default());
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..TAIL);
        }
        if let Err(why) = self.check(key, &event.kind) {
            self.wrong.get_or_insert_with(|| format!("{key}: {event}: {why}\n{}", tail_of(&self.tail)));
        }
    }

    fn check(&mut self, key: &EngineKey, kind: &EventKind) -> Result<(), String> {
        if matches!(kind, EventKind::Left) {
            let still = self.shown.iter().find(|(_, (by, _))| by == key);
            self.left.extend(self.let_go.remove(key).unwrap_or_default());
            return still.map_or(Ok(()), |still| Err(format!("{still:?} was not announced as exited")));
        }
        if let Some(gone) = self.let_go.get(key).filter(|gone| !gone.is_empty())
            && !matches!(kind, EventKind::Exited { .. })
        {
            return Err(format!(
                "exited was announced of {gone:?}, which goes on, and the engine does not leave"
            ));
        }
        let Some(container) = kind.container() else { return Ok(()) };
        let life = life_of(container);
        let (id, pid) = life.clone();
        let before = self.shown.get(&id).cloned();
        let is_shown = before == Some((key.clone(), pid));
        match kind {
            EventKind::Started(_) => {
                self.shown.insert(id, (key.clone(), pid));
                if !self.left.remove(&life) {
                    *self.begun.entry(life).or_default() += 1;
                }
                if let Some(before) = before {
                    return Err(format!("it is shown already: {before:?}"));
                }
                if owner(container) == Some(false) {
                    return Err("the process is not of that container".to_owned());
                }
            }
            EventKind::Exited { code, .. } => {
                self.shown.remove(&id);
                if !is_shown {
                    return Err(format!("shown was {before:?}"));
                }
                if owner(container) == Some(true) {
                    self.let_go.entry(key.clone()).or_default().insert(life);
                    if let Some(code) = code {
                        return Err(format!("it goes on, but has the exit code {code}"));
                    }
                }
            }
            EventKind::Moved { was, from, .. } => {
                self.shown.insert(id, (key.clone(), pid));
                if before != Some((from.clone(), was.pid())) || was.pid() != pid {
                    return Err(format!("shown was {before:?}"));
                }
            }
            _ if !is_shown => return Err(format!("shown was {before:?}")),
            _ => {}
        }
        Ok(())
    }

    /// How many events there were of this kind, or these of this container or engine.
    pub(crate) fn count(&self, words: &str) -> usize {
        let is_it = |reported: &&String| *reported == words || reported.split(' ').next() == Some(words);
        self.reported.iter().filter(is_it).count()
    }

    /// How many events there were of each kind.
    pub(crate) fn counts(&self) -> BTreeMap<&str, usize> {
        let kinds = self.reported.iter().filter_map(|words| words.split(' ').next());
        kinds.map(|kind| (kind, self.count(kind))).collect()
    }

    /// Fails if anything was announced that did not happen.
    pub(crate) fn is_right(&self) -> Result<()> {
        match &self.wrong {
            Some(wrong) => bail!("announced was what did not happen: {wrong}"),
            None => Ok(()),
        }
    }

    /// The last events, for people.
    pub(crate) fn tail(&self) -> String {
        tail_of(&self.tail)
    }
}

fn tail_of(tail: &[String]) -> String {
    let mut text = "  the last events:".to_owned();
    for line in &tail[tail.len().saturating_sub(TAIL)..] {
        let _ = write!(text, "\n    {line}");
    }
    text
}

fn life_of(container: &Container) -> Life {
    let id = container.id().as_str();
    let unscoped = SHARED.iter().find_map(|namespace| id.strip_prefix(namespace)).unwrap_or(id);
    (unscoped.to_owned(), container.pid())
}

/// Whether the initial process belongs to the container, by its control group; `None` if it has ended.
fn owner(container: &Container) -> Option<bool> {
    let process = Proc::default().open(container.pid()).ok()?;
    let group = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).ok()?;
    process.origin().ok()?;
    let id = container.id().as_str();
    let id = id.rsplit_once('/').map_or(id, |(_, id)| id);
    let is_its_own =
        |part: &str| part.strip_suffix(id).is_some_and(|rest| rest.is_empty() || rest.ends_with('-'));
    Some(group.split(['/', ':', '\n']).any(is_its_own))
}
