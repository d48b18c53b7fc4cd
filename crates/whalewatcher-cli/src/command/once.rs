//! What engines answer within a time limit, for commands that do not follow them.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use whalewatcher_core::{Backoff, Fleet, Phase, Portfolio, Settings, Status, WatchError, Watcher};
use whalewatcher_discover::{Discovery, Finding, FindingKind, discover};
use whalewatcher_etcd::Hub;

use crate::advice::{explain, explain_finding, location, no_engine};
use crate::clusters::Cluster;
use crate::hosts::{Hosts, join};
use crate::warnings::unresolved;

/// The time limit of all engines together.
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// The time limit of finding engines.
const FIND_LIMIT: Duration = Duration::from_secs(6);

/// The time limit of connecting, subscribing, listing and of an inspection. Two of them fit into
/// [`TIME_LIMIT`], so that the message names the step that takes too long.
const STEP_LIMIT: Duration = Duration::from_secs(7);

/// How long unlisted scopes may take to recover.
const UNLISTED_LIMIT: Duration = Duration::from_secs(3);

/// Returns settings with one attempt to connect: waiting for an engine would not show what is alive now.
fn settings() -> Settings {
    let settings = Settings::default().with_limits(STEP_LIMIT, STEP_LIMIT, STEP_LIMIT);
    settings.with_backoff(Backoff::default().with_attempts(1))
}

/// The answer of an engine.
pub(super) struct Answer {
    pub(super) watcher: Arc<dyn Watcher>,
    /// The containers known to be alive; `None` if nothing is known of the engine.
    pub(super) portfolio: Option<Portfolio>,
    /// Why containers may be missing.
    pub(super) warnings: Vec<String>,
    /// The status before the watch was ended.
    pub(super) status: Status,
}

impl Missing {
    /// Waits until all that hosts publish there is known.
    async fn wait_for(&mut self, cluster: &Cluster, hub: &Hub) {
        match timeout(FIND_LIMIT, hub.ready()).await {
            Ok(Ok(())) if hub.hosts().is_empty() => {
                self.notes.push(format!("no host publishes its engines at {}", cluster.url()));
                return;
            }
            Ok(Ok(())) => return,
            Ok(Err(error)) => self.notes.push(format!("etcd at {}: {error}", cluster.url())),
            Err(_) => {
                let seconds = FIND_LIMIT.as_secs();
                self.notes.push(format!("etcd at {} is not read after {seconds} s", cluster.url()));
            }
        }
        self.may_run = true;
    }
}

/// The answers of all engines.
pub(super) struct Answers {
    pub(super) answers: Vec<Answer>,
    pub(super) missing: Missing,
}

/// Engines that were found and are not watched.
#[derive(Default)]
pub(super) struct Missing {
    pub(super) findings: Arc<[Finding]>,
    /// Where, and why.
    pub(super) notes: Vec<String>,
    /// Some may run.
    pub(super) may_run: bool,
}

/// Returns the answers of all engines and ends their watches.
///
/// # Errors
///
/// If no engine was found.
pub(super) async fn answers(fleet: &Arc<Fleet>, hosts: Hosts) -> anyhow::Result<Answers> {
    let all = found_answers(fleet, hosts).await?;
    if all.answers.is_empty() {
        bail!(no_engine(&all.missing.notes));
    }
    Ok(all)
}

/// Returns the answers of all engines, which may be none, and ends their watches.
pub(super) async fn found_answers(fleet: &Arc<Fleet>, hosts: Hosts) -> anyhow::Result<Answers> {
    let deadline = Instant::now() + TIME_LIMIT;
    let mut hubs = Vec::new();
    let (watchers, missing, _discovery) = match hosts {
        Hosts::Named(clients, clusters, _) => {
            let mut watchers = join(fleet, clients, &settings())?;
            let mut missing = Missing::default();
            for cluster in clusters {
                let hub = cluster.join(fleet, &settings());
                missing.wait_for(&cluster, &hub).await;
                hubs.push(hub);
            }
            let is_new = |new: &Arc<dyn Watcher>| !watchers.iter().any(|watcher| watcher.key() == new.key());
            let joined: Vec<_> = fleet.watchers().into_iter().filter(is_new).collect();
            watchers.extend(joined);
            (watchers, missing, None)
        }
        Hosts::Found(found) => {
            let discovery = discover(fleet, found.into_options().with_settings(settings()));
            let missing = find(&discovery).await;
            (fleet.watchers(), missing, Some(discovery))
        }
    };
    let mut answers = join_all(watchers.iter().map(|watcher| answer(watcher, deadline))).await;
    // Merges what the watchers have published until now.
    fleet.ready(Duration::ZERO).await;
    let alive = fleet.portfolio();
    for Answer { watcher, portfolio, .. } in &mut answers {
        // A container that several engines know is shown once.
        let shown = alive.member(&watcher.key()).map(|member| member.portfolio().clone());
        *portfolio = portfolio.take().and(shown);
    }
    fleet.close();
    drop(hubs);
    Ok(Answers { answers, missing })
}

/// Waits until the engines are found, and returns what is missing.
async fn find(discovery: &Discovery) -> Missing {
    let is_settled = timeout(FIND_LIMIT, discovery.settled()).await.is_ok();
    let findings = discovery.findings();
    let mut notes: Vec<_> = findings.iter().map(explain_finding).collect();
    if !is_settled {
        notes.push(format!("some sockets have not answered within {} s", FIND_LIMIT.as_secs()));
    }
    let may_run = findings.iter().any(|finding| finding.kind != FindingKind::NotStarted);
    Missing { findings, notes, may_run: may_run || !is_settled }
}

async fn answer(watcher: &Arc<dyn Watcher>, deadline: Instant) -> Answer {
    let mut warnings = Vec::new();
    let location = location(&**watcher);
    let began = Instant::now();
    let ready = tokio::select! {
        ready = watcher.ready() => Some(ready),
        () = sleep_until(deadline) => None,
        () = still_unlisted(&**watcher) => None,
    };
    let status = match &ready {
        Some(Ok(status)) => status.clone(),
        _ => watcher.status(),
    };
    let is_ready = matches!(ready, Some(Ok(_)));
    match ready {
        Some(Ok(_)) => {
            warnings.extend(unresolved(&status).iter().map(|warning| format!("{location}: {warning}")));
        }
        Some(Err(WatchError::GaveUp { error } | WatchError::Refused { error })) => {
            warnings.push(explain(&**watcher, &error));
        }
        Some(Err(error)) => warnings.push(format!("{location}: {error}")),
        None => {
            warnings.push(match &status.phase {
                Phase::Disconnected { error } | Phase::Failed { error } => explain(&**watcher, error),
                _ => format!("{location} is still {status} after {} s", began.elapsed().as_secs()),
            });
            warnings.extend(unresolved(&status).iter().map(|warning| format!("{location}: {warning}")));
        }
    }
    let portfolio = Some(watcher.portfolio()).filter(|portfolio| is_ready || !portfolio.is_empty());
    Answer { watcher: watcher.clone(), portfolio, warnings, status }
}

/// Resolves [`UNLISTED_LIMIT`] after a scope of the engine could not be listed.
async fn still_unlisted(watcher: &dyn Watcher) {
    let mut status = watcher.follow_status();
    if status.wait_for(|status| !status.unlisted.is_empty()).await.is_some() {
        sleep(UNLISTED_LIMIT).await;
    } else {
        pending::<()>().await;
    }
}
