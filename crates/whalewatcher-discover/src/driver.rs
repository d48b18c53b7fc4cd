//! Drives a discovery: looks, probes, and applies what the table decides. One future; only what may block has
//! threads of its own.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use whalewatcher_core::fleet::Members;
use whalewatcher_core::{EngineError, EngineKey, ErrorKind, Fleet, Phase};
#[cfg(target_os = "linux")]
use {crate::location::prefix_of, whalewatcher_host::process::Proc};

use crate::detector::Detected;
use crate::finding::Finding;
use crate::folders::WatchedFolders;
use crate::look::{Looked, Looker};
use crate::lookups::Lookups;
use crate::options::Options;
use crate::probe::probe;
use crate::table::{Change, EntryId, Health, Table};

/// The shortest time between two looks, however often sockets appear.
const PAUSE: Duration = Duration::from_millis(50);

/// The same after a lookup: others end soon.
const SHORT_PAUSE: Duration = Duration::from_millis(5);

/// After how many looks the containers that engines are in are looked up again.
const NESTED_EVERY: u32 = 4;

/// The most probes at once.
const MAX_PROBES: usize = 16;

/// What a discovery has found so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Everything that was seen first has been probed.
    pub(crate) is_settled: bool,
    pub(crate) findings: Arc<[Finding]>,
}

type Probed = (EntryId, Vec<(usize, Result<Detected, EngineError>)>);

pub(crate) struct Driver {
    options: Options,
    members: Arc<Members>,
    state: watch::Sender<State>,
    table: Table,
    /// `None` while a look runs.
    looker: Option<Looker>,
    probes: FuturesUnordered<BoxFuture<'static, Probed>>,
    /// Whether the first look, with all lookups, is over.
    has_looked: bool,
    findings: Vec<(Option<u32>, Finding)>,
    looks: u32,
    lookups: Lookups,
}

impl Driver {
    pub(crate) fn new(options: Options, members: Arc<Members>, state: watch::Sender<State>) -> Self {
        Self {
            table: Table::new(options.grace),
            lookups: Lookups::new(&options),
            looker: Some(Looker::new(&options)),
            options,
            members,
            state,
            probes: FuturesUnordered::new(),
            has_looked: false,
            findings: Vec::new(),
            looks: 0,
        }
    }

    pub(crate) async fn run(mut self) {
        let mut looking: Option<JoinHandle<(Looker, Looked)>> = None;
        let mut due = Instant::now();
        let mut folders = WatchedFolders::default();
        loop {
            if let Some(mut looker) = self.looker.take_if(|_| due <= Instant::now()) {
                // Before the look, so that no socket goes unnoticed in between.
                folders.update(&self.options);
                self.lookups.hand_over(&mut looker);
                looking = Some(spawn_blocking(move || {
                    let looked = looker.look();
                    (looker, looked)
                }));
                due = Instant::now() + self.options.every;
            }
            let next_probe = self.table.next_due().filter(|_| self.probes.len() < MAX_PROBES);
            tokio::select! {
                looked = until_looked(&mut looking) => {
                    looking = None;
                    let Some((looker, looked)) = looked else { return };
                    let Some(fleet) = self.members.fleet() else { return };
                    self.looker = Some(looker);
                    self.observe(&fleet, looked);
                }
                Some((id, answers)) = self.probes.next() => self.probed(id, answers),
                () = self.lookups.answered() => {
                    // What was found is a candidate with the next look.
                    due = due.min(Instant::now() + SHORT_PAUSE);
                }
                () = folders.changed(), if self.looker.is_some() => {
                    due = due.min(Instant::now() + PAUSE);
                    folders.renew();
                }
                () = sleep_until(due), if self.looker.is_some() => {}
                () = until(next_probe) => {}
            }
            self.start_probes();
            self.report();
        }
    }

    /// Hands what can be seen to the table, and has members leave.
    fn observe(&mut self, fleet: &Fleet, looked: Looked) {
        let health = |key: &EngineKey| match fleet.watcher(key).map(|watcher| watcher.status().phase) {
            Some(Phase::Idle | Phase::Connecting) => Health::Connecting,
            Some(Phase::Disconnected { error } | Phase::Failed { error }) => match error.kind() {
                ErrorKind::Unreachable => Health::Unreachable,
                ErrorKind::NotThisEngine => Health::Replaced,
                ErrorKind::Disconnected => Health::Connecting,
                _ => Health::Failing,
            },
            // One that the application removed stays away.
            None | Some(Phase::Synchronizing | Phase::Live { .. }) => Health::Connected,
            Some(_) => Health::Failing,
        };
        for member in self.table.observe(Instant::now(), looked.candidates, health) {
            tracing::info!(engine = %member.key, "engine is gone");
            self.members.remove(&member.key);
        }
        self.looks += 1;
        if self.looks.is_multiple_of(NESTED_EVERY) {
            self.update_prefixes(fleet, |_| true);
        }
        self.findings = looked.findings;
        #[cfg(target_os = "linux")]
        self.lookups.add(looked.to_enter);
        self.has_looked |= self.lookups.is_idle();
    }

    fn start_probes(&mut self) {
        if self.probes.len() >= MAX_PROBES {
            return;
        }
        for due in self.table.take_probes(Instant::now()) {
            let (detectors, settings) = (self.options.detectors.clone(), self.options.settings.clone());
            let probing = async move {
                let answers = probe(&detectors, &settings, &due).await;
                (due.entry, answers)
            };
            self.probes.push(probing.boxed());
        }
    }

    fn probed(&mut self, id: EntryId, answers: Vec<(usize, Result<Detected, EngineError>)>) {
        let mut watchers = Vec::new();
        let answers = answers.into_iter().map(|(detector, answer)| {
            let answer = answer.map(|Detected { identity, watcher }| {
                let key = watcher.key();
                watchers.push(watcher);
                (key, identity)
            });
            (detector, answer.map_err(Arc::new))
        });
        let answers = answers.collect();
        let Change { leaving, joining } = self.table.probed(Instant::now(), id, answers);
        for member in leaving {
            self.members.remove(&member.key);
        }
        if let Some(fleet) = self.members.fleet() {
            self.update_prefixes(&fleet, |key| joining.contains(key));
        }
        for watcher in watchers {
            let key = watcher.key();
            if joining.contains(&key) {
                tracing::info!(engine = %key, "found an engine");
                self.members.add(watcher);
            }
        }
    }

    /// Looks up the containers that these engines are in. Their own containers are inspected again if it is
    /// another one, which may have been renamed or is known only now.
    fn update_prefixes(&self, fleet: &Fleet, is_meant: impl Fn(&EngineKey) -> bool) {
        #[cfg(target_os = "linux")]
        for (candidate, member) in self.table.members().filter(|(_, member)| is_meant(&member.key)) {
            let proc = Proc::at(&self.options.proc);
            let prefix = candidate.pid.and_then(|pid| prefix_of(&proc, pid, &fleet.portfolio()));
            let location = candidate.socket.location();
            // It is known until the engine has ended.
            if let Some(prefix) = prefix
                && location.set_prefix(&prefix)
                && let Some(watcher) = fleet.watcher(&member.key)
            {
                for container in watcher.portfolio().containers() {
                    watcher.refresh(container.id());
                }
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (fleet, is_meant);
    }

    /// Publishes what has changed.
    fn report(&self) {
        let watched: Vec<_> = match self.members.fleet() {
            Some(fleet) => {
                let keys = self.table.members().map(|(_, member)| &member.key);
                keys.filter_map(|key| fleet.watcher(key)?.identity()?.pid).collect()
            }
            None => Vec::new(),
        };
        // What is watched by another name is not missing.
        let missing = self.findings.iter().filter(|(pid, _)| pid.is_none_or(|pid| !watched.contains(&pid)));
        let mut findings: Vec<_> = missing.map(|(_, finding)| finding.clone()).collect();
        findings.extend(self.table.findings());
        findings.sort();
        findings.dedup();
        let is_settled = self.has_looked && self.table.is_settled();
        self.state.send_if_modified(|state| {
            let is_same = *state.findings == *findings && (state.is_settled || !is_settled);
            if !is_same {
                state.findings = findings.into();
                state.is_settled |= is_settled;
            }
            !is_same
        });
    }
}

async fn until_looked(looking: &mut Option<JoinHandle<(Looker, Looked)>>) -> Option<(Looker, Looked)> {
    match looking {
        // It fails if the runtime is being shut down.
        Some(looking) => looking.await.ok(),
        None => pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
