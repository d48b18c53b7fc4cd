//! Makes records of what a fleet reports.

use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use whalewatcher_core::{Container, EngineIdentity, Event, EventKind, FleetEvent, FleetPortfolio, Watcher};

use super::host::engine_id;
use super::ledger::Ledger;
use crate::records::{ContainerRecord, EnginePhase, EngineRecord, ExitRecord, Versioned as _};

/// The largest value of a container, in bytes. One that is larger is published without labels, networks and ports.
const MAX_VALUE: usize = 256 * 1024;

/// The labels that are published unless others are configured: those of compose, of pods and of images.
/// Others often hold secrets.
const LABELS: [&str; 6] = [
    "com.docker.compose.",
    "io.kubernetes.",
    "io.podman.",
    "org.opencontainers.image.",
    "turtlefinder/",
    "whalewatcher.",
];

/// Decides which labels are published, by their names.
pub(crate) type Labels = Arc<dyn Fn(&str) -> bool + Send + Sync>;

pub(crate) fn default_labels() -> Labels {
    Arc::new(|name| LABELS.iter().any(|prefix| name.starts_with(prefix)))
}

/// Enters the state of a fleet.
pub(crate) fn enter_portfolio(ledger: &mut Ledger, labels: &Labels, now: &FleetPortfolio) {
    for member in now.members() {
        let engine = engine_id(member.key().engine_type(), member.key().endpoint());
        let record = engine_record(&**member.watcher(), None, EnginePhase::Connecting, SystemTime::now());
        ledger.add_engine(&engine, record.clone());
        for container in member.portfolio().containers() {
            ledger.set_container(&engine, container.id().as_str(), value(labels, container));
        }
        if member.is_live() {
            ledger.set_engine(&engine, EngineRecord { phase: EnginePhase::Live, ..record });
        } else if let Some(error) = member.error() {
            let error = Some(error.to_string());
            ledger.set_engine(&engine, EngineRecord { phase: EnginePhase::Disconnected, error, ..record });
        }
    }
}

/// Enters an event of a fleet.
pub(crate) fn enter_event(ledger: &mut Ledger, labels: &Labels, event: &FleetEvent) {
    let FleetEvent { key, watcher, event, .. } = event;
    let engine = engine_id(key.engine_type(), key.endpoint());
    let Event { time, kind, engine: identity, .. } = event;
    let record = |phase| engine_record(&**watcher, identity.as_deref(), phase, *time);
    match kind {
        EventKind::Joined => ledger.add_engine(&engine, record(EnginePhase::Connecting)),
        EventKind::Left => ledger.remove_engine(&engine),
        EventKind::Synced { unresolved, .. } => {
            ledger.set_engine(&engine, EngineRecord { unresolved: *unresolved, ..record(EnginePhase::Live) });
        }
        EventKind::Disconnected { error } => {
            let error = Some(error.to_string());
            ledger.set_engine(&engine, EngineRecord { error, ..record(EnginePhase::Disconnected) });
        }
        EventKind::Exited { container, code } => {
            let exit = ExitRecord {
                id: container.id().clone(),
                pid: container.pid(),
                started_at: container.started_at().map(timestamp),
                time: timestamp(*time),
                exit_code: *code,
                oom_killed: container.oom_killed(),
            };
            ledger.remove_container(&engine, container.id().as_str(), Some(exit.to_json()));
        }
        EventKind::Moved { container, was, from } => {
            let former = engine_id(from.engine_type(), from.endpoint());
            let (from, to) = ((&*former, was.id().as_str()), (&*engine, container.id().as_str()));
            ledger.move_container(from, to, value(labels, container));
        }
        // What was missed follows.
        EventKind::Lagged { .. } => {}
        kind => {
            if let Some(container) = kind.container() {
                ledger.set_container(&engine, container.id().as_str(), value(labels, container));
            }
        }
    }
}

fn engine_record(
    watcher: &dyn Watcher,
    identity: Option<&EngineIdentity>,
    phase: EnginePhase,
    since: SystemTime,
) -> EngineRecord {
    let engine = match identity {
        Some(identity) => identity.clone(),
        None => watcher.identity().map_or_else(
            || EngineIdentity::new(watcher.engine_type(), watcher.endpoint()),
            |identity| (*identity).clone(),
        ),
    };
    EngineRecord {
        engine,
        phase,
        since: timestamp(since),
        error: None,
        layer: watcher.layer(),
        unresolved: 0,
    }
}

fn value(labels: &Labels, container: &Container) -> Vec<u8> {
    let published = container.labels().iter().filter(|(name, _)| labels(name));
    let published = whalewatcher_core::Labels::from_iter(
        published.map(|(name, value)| (name.to_string(), value.to_string())),
    );
    let container = container.clone().with_labels(published);
    let value = ContainerRecord { container: container.clone() }.to_json();
    if value.len() <= MAX_VALUE {
        return value;
    }
    let container = container
        .with_labels(whalewatcher_core::Labels::default())
        .with_networks(Vec::new())
        .with_ports(Vec::new());
    ContainerRecord { container }.to_json()
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}
