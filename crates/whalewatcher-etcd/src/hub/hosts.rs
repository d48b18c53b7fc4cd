//! What is known of hosts, for people.

use std::time::SystemTime;

use whalewatcher_core::{EngineIdentity, Host};

use crate::mirror::{Link, MirroredEngine, MirroredHost, system_time};

/// A host that publishes its engines, or did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HostStatus {
    /// Its ID and name.
    pub host: Host,
    /// Its address, where its agent knows it.
    pub address: Option<String>,
    /// Whether an agent publishes now.
    pub is_published: bool,
    /// The agent's version, while it publishes.
    pub agent_version: Option<String>,
    /// Since when the agent publishes, by the host's clock; of a host without an agent, when this hub saw its
    /// agent go, by the clock of this host. `None` if that was before.
    pub since: Option<SystemTime>,
    /// The newest time in what was published, by the host's clocks. An agent writes one at least once an hour.
    pub last_word: Option<SystemTime>,
    /// Its engines.
    pub engines: Vec<HostEngine>,
}

impl HostStatus {
    /// Creates a host that publishes nothing, and of which nothing else is known.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self {
            host,
            address: None,
            is_published: false,
            agent_version: None,
            since: None,
            last_word: None,
            engines: Vec::new(),
        }
    }
}

/// An engine of a host.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HostEngine {
    /// The engine; its endpoint is that on its host.
    pub engine: EngineIdentity,
    /// Why it is not up to date; `None` if it is.
    pub error: Option<String>,
    /// How many containers are published.
    pub containers: usize,
}

impl HostEngine {
    /// Creates an engine that is up to date and has no containers.
    #[must_use]
    pub fn new(engine: EngineIdentity) -> Self {
        Self { engine, error: None, containers: 0 }
    }
}

pub(super) fn status(id: &str, host: &MirroredHost) -> HostStatus {
    let claim = host.claim.as_ref().and_then(|claimed| claimed.claim.as_ref());
    let about = host.about.as_ref().and_then(|about| about.value.as_ref());
    let address = claim.and_then(|claim| claim.address.clone());
    HostStatus {
        address: address.or_else(|| about.and_then(|about| about.address.clone())),
        is_published: host.claim.is_some(),
        agent_version: claim.map(|claim| claim.version.clone()),
        since: if host.claim.is_some() {
            claim.map(|claim| system_time(claim.since))
        } else {
            host.unclaimed_since
        },
        last_word: host.last_word(),
        engines: host.engines.values().filter_map(|engine| of_engine(id, host, engine)).collect(),
        ..HostStatus::new(Host::new(id, host.name(id)))
    }
}

fn of_engine(id: &str, host: &MirroredHost, engine: &MirroredEngine) -> Option<HostEngine> {
    let record = engine.known.as_ref().filter(|_| engine.is_published())?;
    let error = match host.link(id, engine) {
        Link::Live => None,
        Link::Down(error) => Some(error.to_string()),
    };
    Some(HostEngine { error, containers: engine.containers.len(), ..HostEngine::new(record.engine.clone()) })
}
