//! What is known of containers and sandboxes on a connection: the kind of each, so that the right call is made first, its
//! pod, and what was reported of its life.
//!
//! CRI never uses an ID again. So a container whose exit was reported never comes back, whatever a status still says, and a
//! start is reported only once.

pub(crate) mod lists;
pub(crate) mod networks;
pub(crate) mod tombstones;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use whalewatcher_adapter::Lives;
use whalewatcher_core::{Container, ContainerId, EngineError};

use crate::cache::networks::Networks;
use crate::cache::tombstones::Tombstones;
use crate::decode::container::{Kind, Pod};

/// How long a container that no list contains is remembered: the list may be older than it.
const YOUNG: Duration = Duration::from_secs(60);

/// The known containers of a connection.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: HashMap<ContainerId, Entry>,
    /// The pods, by the ID of their sandbox.
    pods: HashMap<ContainerId, Pod>,
    pub(crate) networks: Networks,
    /// The containers that are over, as reported on any connection of this client.
    tombstones: Tombstones,
    /// Those of them that were reported on this connection.
    reported: Tombstones,
    /// The lives that were seen on any connection.
    lives: Lives,
    /// The limit for the names, labels and images of all live containers.
    limit: usize,
}

/// A container or sandbox that is or may be alive.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Its kind, once the runtime has reported it.
    pub(crate) kind: Option<Kind>,
    /// The sandbox of a container.
    pub(crate) sandbox: Option<ContainerId>,
    /// The PID that the runtime reported.
    pub(crate) pid: Option<u32>,
    /// Whether it has no process, and so is not alive, though the runtime reports it as ready.
    pub(crate) is_processless: bool,
    /// Whether it belongs to CRI according to containerd, even if the runtime does not report it yet.
    pub(crate) is_owned: bool,
    /// When an event reported its start.
    pub(crate) started: Option<Instant>,
    /// When it was first reported.
    since: Option<Instant>,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(Tombstones::default(), Lives::default(), usize::MAX)
    }
}

impl Cache {
    /// Creates a cache that knows only what is over, and the lives seen, on other connections.
    pub(crate) fn new(tombstones: Tombstones, lives: Lives, limit: usize) -> Self {
        let (entries, pods, networks, reported) = Default::default();
        Self { entries, pods, networks, tombstones, reported, lives, limit }
    }

    /// Returns the entry of a container, which is created if it is missing.
    pub(crate) fn entry(&mut self, id: &ContainerId) -> &mut Entry {
        let entry = self.entries.entry(id.clone()).or_default();
        entry.since.get_or_insert_with(Instant::now);
        entry
    }

    pub(crate) fn get(&self, id: &ContainerId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// Records the kind of a container, and its sandbox if that is known.
    pub(crate) fn record_kind(
        &mut self,
        id: &ContainerId,
        kind: Kind,
        sandbox: Option<ContainerId>,
    ) -> &mut Entry {
        let entry = self.entry(id);
        entry.kind = Some(kind);
        if sandbox.is_some() {
            entry.sandbox = sandbox;
        }
        entry
    }

    /// Records that a container is alive, if there is room for its labels.
    pub(crate) fn record_alive(&mut self, container: &Container) -> Result<(), EngineError> {
        self.lives.add(container, self.limit)?;
        let entry = self.entry(container.id());
        entry.pid = Some(container.pid());
        entry.is_processless = false;
        Ok(())
    }

    /// Returns the lives that were seen on any connection, are not in `alive` and were not reported as over. Sandboxes are
    /// left out, because their end has no exit code.
    pub(crate) fn unlisted_lives(&self, alive: &HashSet<ContainerId>) -> Vec<(ContainerId, u32)> {
        let is_sandbox =
            |id: &ContainerId| self.get(id).is_some_and(|entry| entry.kind == Some(Kind::Sandbox));
        let mut missing = self.lives.missing(alive);
        missing.retain(|(id, _)| !is_sandbox(id));
        missing
    }

    /// Removes the entry of a container that is not alive.
    pub(crate) fn forget(&mut self, id: &ContainerId) -> Option<Entry> {
        self.entries.remove(id)
    }

    /// Records that the exit was reported. Returns the PID of the life, if any connection saw it alive.
    pub(crate) fn record_exit(&mut self, id: &ContainerId) -> Option<u32> {
        self.tombstones.add(id);
        self.reported.add(id);
        self.pods.remove(id);
        self.lives.end(id)
    }

    /// Returns whether the exit was reported on this connection. A container whose exit only another watcher reported is over
    /// too, but its exit is still news here.
    pub(crate) fn is_exit_reported(&self, id: &ContainerId) -> bool {
        self.reported.contain(id)
    }

    /// Returns whether it is over, whatever its status says.
    pub(crate) fn has_ended(&self, id: &ContainerId) -> bool {
        self.tombstones.contain(id)
    }

    pub(crate) fn pod(&self, sandbox: &ContainerId) -> Option<&Pod> {
        self.pods.get(sandbox)
    }

    /// Records the pod of a sandbox.
    pub(crate) fn record_pod(&mut self, sandbox: &ContainerId, pod: Pod) {
        if !self.has_ended(sandbox) {
            self.pods.insert(sandbox.clone(), pod);
        }
    }

    /// Removes all that a list does not contain, except entries that are new.
    pub(crate) fn retain(&mut self, listed: &HashSet<ContainerId>) {
        self.entries.retain(|id, entry| {
            listed.contains(id) || entry.since.is_some_and(|since| since.elapsed() < YOUNG)
        });
        self.lives.retain(|id| self.entries.contains_key(id));
        let sandboxes: HashSet<_> =
            self.entries.values().filter_map(|entry| entry.sandbox.as_ref()).collect();
        let is_sandbox = |id: &ContainerId| listed.contains(id) || sandboxes.contains(id);
        self.pods.retain(|id, _| is_sandbox(id));
        self.networks.retain(is_sandbox, |id| self.entries.contains_key(id));
    }
}

#[cfg(test)]
mod tests {
    use whalewatcher_api::cri::v1::PodSandboxMetadata;

    use super::*;

    fn pod() -> Pod {
        Pod::of(Some(&PodSandboxMetadata { name: "p".into(), ..PodSandboxMetadata::default() })).unwrap()
    }

    fn id(id: &str) -> ContainerId {
        id.into()
    }

    #[tokio::test(start_paused = true)]
    async fn unlisted_containers_and_their_pods_expire() {
        let mut cache = Cache::default();
        for name in ["listed", "late"] {
            cache.record_kind(&id(name), Kind::Container, Some(id(&format!("{name}-pod"))));
            cache.record_pod(&id(&format!("{name}-pod")), pod());
        }
        let listed = HashSet::from([id("listed")]);
        cache.retain(&listed);
        assert!(cache.get(&id("late")).is_some() && cache.pod(&id("late-pod")).is_some());
        tokio::time::advance(YOUNG).await;
        cache.retain(&listed);
        assert!(cache.get(&id("late")).is_none() && cache.pod(&id("late-pod")).is_none());
        assert!(cache.get(&id("listed")).is_some() && cache.pod(&id("listed-pod")).is_some());
        cache.retain(&HashSet::new());
        assert!(cache.entries.is_empty() && cache.pods.is_empty());
    }

    #[test]
    fn what_is_over_stays_so_on_the_next_connection() {
        let tombstones = Tombstones::default();
        let mut cache = Cache::new(tombstones.clone(), Lives::default(), 0);
        cache.record_pod(&id("s"), pod());
        cache.record_exit(&id("s"));
        cache.record_pod(&id("s"), pod());
        assert!(cache.has_ended(&id("s")) && cache.pod(&id("s")).is_none());
        let next = Cache::new(tombstones, Lives::default(), 0);
        assert!(next.has_ended(&id("s")) && !next.has_ended(&id("other")));
        assert!(cache.is_exit_reported(&id("s")) && !next.is_exit_reported(&id("s")));
    }

    #[test]
    fn a_known_sandbox_is_kept() {
        let mut cache = Cache::default();
        cache.record_kind(&id("c"), Kind::Container, Some(id("s")));
        let entry = cache.record_kind(&id("c"), Kind::Container, None);
        assert_eq!(entry.sandbox, Some(id("s")));
        assert!(cache.forget(&id("c")).is_some() && cache.forget(&id("c")).is_none());
    }
}
