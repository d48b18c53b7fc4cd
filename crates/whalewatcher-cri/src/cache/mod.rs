//! What is known of live containers and sandboxes on a connection: the kind of each, so that the right call
//! is made first, its pod, and when it started.
//!
//! Lists and start events add entries, and events of their end remove them. What is over is not remembered:
//! CRI never uses an ID again, and the watcher knows that.

pub(crate) mod lists;
pub(crate) mod networks;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use whalewatcher_adapter::Lives;
use whalewatcher_core::{Container, ContainerId, EngineError};

use crate::cache::networks::Networks;
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
    /// The lives that were seen on any connection.
    lives: Lives,
    /// The limit for the names, labels and images of all live containers.
    limit: usize,
}

/// A container or sandbox that is or may be alive, or of which only events reported that it began and ended.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Its kind, once the runtime has reported it.
    pub(crate) kind: Option<Kind>,
    /// The sandbox of a container.
    pub(crate) sandbox: Option<ContainerId>,
    /// Whether it has no process, and so is not alive, though the runtime reports it as ready.
    pub(crate) is_processless: bool,
    /// Whether it belongs to CRI according to containerd, even if the runtime does not report it yet.
    pub(crate) is_owned: bool,
    /// Whether an event reported its end before a status showed it as alive.
    pub(crate) is_over: bool,
    /// When an event reported its start.
    pub(crate) started: Option<Instant>,
    /// When it was first reported.
    since: Option<Instant>,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(Lives::default(), usize::MAX)
    }
}

impl Cache {
    /// Creates a cache that knows only the lives seen on other connections.
    pub(crate) fn new(lives: Lives, limit: usize) -> Self {
        let (entries, pods, networks) = Default::default();
        Self { entries, pods, networks, lives, limit }
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

    /// Records what a status shows of a container. Without an entry it is over, and the status is behind.
    pub(crate) fn record_status(&mut self, id: &ContainerId, kind: Kind, sandbox: Option<ContainerId>) {
        if self.entries.contains_key(id) {
            self.record_kind(id, kind, sandbox);
        }
    }

    /// Records that a status shows a container as alive, if there is room for its labels. Without an entry it
    /// is over, and the status is behind.
    pub(crate) fn record_alive(&mut self, container: &Container) -> Result<(), EngineError> {
        let Some(entry) = self.entries.get_mut(container.id()) else { return Ok(()) };
        self.lives.add(container, self.limit)?;
        entry.is_processless = false;
        Ok(())
    }

    /// Records that a container has no process, though the runtime reports it as ready.
    pub(crate) fn record_processless(&mut self, id: &ContainerId) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.is_processless = true;
        }
    }

    /// Returns the lives that were seen on any connection, are not in `alive` and were not reported as over.
    /// Sandboxes are left out, because their end has no exit code.
    pub(crate) fn unlisted_lives(&self, alive: &HashSet<ContainerId>) -> Vec<ContainerId> {
        let is_sandbox =
            |id: &ContainerId| self.get(id).is_some_and(|entry| entry.kind == Some(Kind::Sandbox));
        let missing = self.lives.missing(alive).into_iter();
        missing.map(|(id, _)| id).filter(|id| !is_sandbox(id)).collect()
    }

    /// Removes the entry of a container that is not alive.
    pub(crate) fn forget(&mut self, id: &ContainerId) {
        self.entries.remove(id);
    }

    /// Records that a container is over. Returns whether anything was known of it.
    pub(crate) fn end(&mut self, id: &ContainerId) -> bool {
        self.pods.remove(id);
        let was_alive = self.lives.end(id).is_some();
        self.entries.remove(id).is_some() || was_alive
    }

    /// Records that a container is over, by an event that may precede its status. If no status has shown it
    /// as alive, it keeps its entry until one shows its name.
    #[cfg(feature = "containerd")]
    pub(crate) fn end_early(&mut self, id: &ContainerId) {
        self.pods.remove(id);
        if self.lives.end(id).is_some() {
            self.entries.remove(id);
        } else if let Some(entry) = self.entries.get_mut(id) {
            entry.is_over = true;
        }
    }

    pub(crate) fn pod(&self, sandbox: &ContainerId) -> Option<&Pod> {
        self.pods.get(sandbox)
    }

    /// Records the pod of a sandbox.
    pub(crate) fn record_pod(&mut self, sandbox: &ContainerId, pod: Pod) {
        self.pods.insert(sandbox.clone(), pod);
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
    fn nothing_is_kept_of_what_is_over() {
        let mut cache = Cache::default();
        assert!(!cache.end(&id("unknown")));
        let ends: &[fn(&mut Cache)] = &[
            |cache| assert!(cache.end(&id("s"))),
            #[cfg(feature = "containerd")]
            |cache| cache.end_early(&id("s")),
        ];
        for end in ends {
            cache.record_kind(&id("s"), Kind::Sandbox, None);
            cache.record_pod(&id("s"), pod());
            cache.record_alive(&Container::new("s", "s", 7)).unwrap();
            end(&mut cache);
            // A status that is behind.
            cache.record_status(&id("s"), Kind::Sandbox, None);
            cache.record_processless(&id("s"));
            cache.record_alive(&Container::new("s", "s", 7)).unwrap();
            assert!(cache.entries.is_empty() && cache.pods.is_empty());
            assert_eq!(cache.lives.missing(&HashSet::new()), []);
        }
    }

    #[test]
    fn a_life_from_another_connection_is_known() {
        let lives = Lives::default();
        lives.add(&Container::new("c", "c", 7), usize::MAX).unwrap();
        let mut cache = Cache::new(lives, usize::MAX);
        assert_eq!(cache.unlisted_lives(&HashSet::new()), [id("c")]);
        assert!(cache.end(&id("c")) && !cache.end(&id("c")));
        assert_eq!(cache.unlisted_lives(&HashSet::new()), []);
    }

    #[cfg(feature = "containerd")]
    #[test]
    fn an_early_end_of_what_was_not_seen_alive_keeps_its_entry() {
        let mut cache = Cache::default();
        cache.record_kind(&id("c"), Kind::Container, None);
        cache.end_early(&id("c"));
        assert!(cache.get(&id("c")).unwrap().is_over);
        cache.end_early(&id("unknown"));
        assert!(cache.get(&id("unknown")).is_none());
    }

    #[test]
    fn a_known_sandbox_is_kept() {
        let mut cache = Cache::default();
        cache.record_kind(&id("c"), Kind::Container, Some(id("s")));
        let entry = cache.record_kind(&id("c"), Kind::Container, None);
        assert_eq!(entry.sandbox, Some(id("s")));
        cache.forget(&id("c"));
        assert!(cache.get(&id("c")).is_none());
    }
}
