//! What is remembered of containers and sandboxes on a connection: what kind each is, so that the right question is asked
//! at once, which pod it is in, and how far the telling of its one life has come.
//!
//! A life that begins under an ID is the only one ever of that ID. So what was told to be over never comes back, whatever
//! a status still says of it, and what was told to be alive needs not be told again.

pub(crate) mod lists;
pub(crate) mod tombstones;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use whalewatcher_adapter::Lives;
use whalewatcher_core::{Container, ContainerId, EngineError};

use crate::cache::tombstones::Endings;
use crate::decode::container::{Kind, Pod};

/// For how long one that no list tells of is remembered: the list may be older.
const YOUNG: Duration = Duration::from_secs(60);

/// What is remembered on a connection.
#[derive(Debug)]
pub(crate) struct Memory {
    members: HashMap<ContainerId, Member>,
    /// By the ID of their sandbox.
    pods: HashMap<ContainerId, Pod>,
    /// What is over, as any connection was told.
    endings: Endings,
    /// What was told to be over on this one.
    reported: Endings,
    /// What was alive, as any connection saw.
    lives: Lives,
    /// What the names and labels of all that is alive may take.
    limit: usize,
}

/// One that is alive, or may be.
#[derive(Debug, Default)]
pub(crate) struct Member {
    /// What it is, once the runtime told.
    pub(crate) kind: Option<Kind>,
    /// The sandbox that a container is in.
    pub(crate) sandbox: Option<ContainerId>,
    /// The PID that the runtime told of it.
    pub(crate) pid: Option<u32>,
    /// Whether it has no process, and so is not alive, though the runtime says that it is ready.
    pub(crate) is_processless: bool,
    /// Whether it is the runtime's, though that may not say so yet.
    pub(crate) is_claimed: bool,
    /// When an event told of its start, if one did.
    pub(crate) started: Option<Instant>,
    /// When it was told of first.
    since: Option<Instant>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(Endings::default(), Lives::default(), usize::MAX)
    }
}

impl Memory {
    /// Of nothing but what was told to be over on other connections, and what was alive.
    pub(crate) fn new(endings: Endings, lives: Lives, limit: usize) -> Self {
        let (members, pods, reported) = Default::default();
        Self { members, pods, endings, reported, lives, limit }
    }

    /// What is remembered of it, from now on at the latest.
    pub(crate) fn member(&mut self, id: &ContainerId) -> &mut Member {
        let member = self.members.entry(id.clone()).or_default();
        member.since.get_or_insert_with(Instant::now);
        member
    }

    pub(crate) fn get(&self, id: &ContainerId) -> Option<&Member> {
        self.members.get(id)
    }

    /// The runtime told what it is.
    pub(crate) fn is(&mut self, id: &ContainerId, kind: Kind, sandbox: Option<ContainerId>) -> &mut Member {
        let member = self.member(id);
        member.kind = Some(kind);
        if sandbox.is_some() {
            member.sandbox = sandbox;
        }
        member
    }

    /// It is alive, if there is room for it.
    pub(crate) fn lives(&mut self, container: &Container) -> Result<(), EngineError> {
        self.lives.add(container, self.limit)?;
        let member = self.member(container.id());
        member.pid = Some(container.pid());
        member.is_processless = false;
        Ok(())
    }

    /// What was alive on any connection, is not among these, and was not reported to be over; without what is known to be a
    /// sandbox, whose end has no exit code.
    pub(crate) fn missing(&self, alive: &HashSet<ContainerId>) -> Vec<(ContainerId, u32)> {
        let is_sandbox =
            |id: &ContainerId| self.get(id).is_some_and(|member| member.kind == Some(Kind::Sandbox));
        let mut missing = self.lives.missing(alive);
        missing.retain(|(id, _)| !is_sandbox(id));
        missing
    }

    /// It is not alive.
    pub(crate) fn forget(&mut self, id: &ContainerId) -> Option<Member> {
        self.members.remove(id)
    }

    /// It was told to be over. Returns the PID with which it was alive, on any connection.
    pub(crate) fn end(&mut self, id: &ContainerId) -> Option<u32> {
        self.endings.add(id);
        self.reported.add(id);
        self.pods.remove(id);
        self.lives.end(id)
    }

    /// Whether that was told on this connection. What others were told makes it no less over, but is no news of this one's.
    pub(crate) fn was_reported_to_end(&self, id: &ContainerId) -> bool {
        self.reported.contain(id)
    }

    /// Whether it is over, whatever its status says.
    pub(crate) fn has_ended(&self, id: &ContainerId) -> bool {
        self.endings.contain(id)
    }

    pub(crate) fn pod(&self, sandbox: &ContainerId) -> Option<&Pod> {
        self.pods.get(sandbox)
    }

    /// The runtime told the pod of a sandbox.
    pub(crate) fn learn(&mut self, sandbox: &ContainerId, pod: Pod) {
        if !self.has_ended(sandbox) {
            self.pods.insert(sandbox.clone(), pod);
        }
    }

    /// A list told all that are alive: others are forgotten, but for those that came only since.
    pub(crate) fn retain(&mut self, listed: &HashSet<ContainerId>) {
        self.members.retain(|id, member| {
            listed.contains(id) || member.since.is_some_and(|since| since.elapsed() < YOUNG)
        });
        self.lives.retain(|id| self.members.contains_key(id));
        let sandboxes: HashSet<_> =
            self.members.values().filter_map(|member| member.sandbox.as_ref()).collect();
        self.pods.retain(|id, _| listed.contains(id) || sandboxes.contains(id));
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
    async fn what_lists_do_not_report_of_is_forgotten_after_a_while_and_its_pod_with_it() {
        let mut memory = Memory::default();
        for name in ["listed", "late"] {
            memory.is(&id(name), Kind::Container, Some(id(&format!("{name}-pod"))));
            memory.learn(&id(&format!("{name}-pod")), pod());
        }
        let listed = HashSet::from([id("listed")]);
        memory.retain(&listed);
        assert!(memory.get(&id("late")).is_some() && memory.pod(&id("late-pod")).is_some());
        tokio::time::advance(YOUNG).await;
        memory.retain(&listed);
        assert!(memory.get(&id("late")).is_none() && memory.pod(&id("late-pod")).is_none());
        assert!(memory.get(&id("listed")).is_some() && memory.pod(&id("listed-pod")).is_some());
        memory.retain(&HashSet::new());
        assert!(memory.members.is_empty() && memory.pods.is_empty());
    }

    #[test]
    fn what_is_over_has_no_pod_any_more_and_is_over_on_the_next_connection_too() {
        let endings = Endings::default();
        let mut memory = Memory::new(endings.clone(), Lives::default(), 0);
        memory.learn(&id("s"), pod());
        memory.end(&id("s"));
        memory.learn(&id("s"), pod());
        assert!(memory.has_ended(&id("s")) && memory.pod(&id("s")).is_none());
        let next = Memory::new(endings, Lives::default(), 0);
        assert!(next.has_ended(&id("s")) && !next.has_ended(&id("other")));
        assert!(memory.was_reported_to_end(&id("s")) && !next.was_reported_to_end(&id("s")));
    }

    #[test]
    fn a_containers_sandbox_is_not_forgotten_where_it_is_not_reported_again() {
        let mut memory = Memory::default();
        memory.is(&id("c"), Kind::Container, Some(id("s")));
        let member = memory.is(&id("c"), Kind::Container, None);
        assert_eq!(member.sandbox, Some(id("s")));
        assert!(memory.forget(&id("c")).is_some() && memory.forget(&id("c")).is_none());
    }
}
