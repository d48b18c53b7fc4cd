//! What is alive: running containers and ready sandboxes.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use whalewatcher_api::cri::v1::{
    Container as ListedContainer, ContainerFilter, ContainerState, ContainerStateValue,
    ListContainersRequest, ListPodSandboxRequest, PodSandbox as ListedSandbox, PodSandboxFilter,
    PodSandboxState, PodSandboxStateValue,
};
use whalewatcher_core::adapter::{EngineEvent, Listing, ListingEntry};
use whalewatcher_core::{ContainerId, EngineError};

use crate::cache::Memory;
use crate::decode::container::{Kind, Pod, State, of_listed, of_listed_sandbox, sandbox_state, state};
use crate::engine::ENGINE;
use crate::rpc::exits::{End, ends};
use crate::rpc::session::Session;

const CONTAINERS: &str = "RuntimeService.ListContainers";
const SANDBOXES: &str = "RuntimeService.ListPodSandbox";

/// What is listed as alive.
#[derive(Debug, Default)]
pub(crate) struct Alive {
    containers: Vec<ListedContainer>,
    sandboxes: Vec<ListedSandbox>,
}

impl Alive {
    pub(crate) fn ids(&self) -> HashSet<ContainerId> {
        let containers = self.containers.iter().map(|container| container.id.as_str());
        containers
            .chain(self.sandboxes.iter().map(|sandbox| sandbox.id.as_str()))
            .map(ContainerId::from)
            .collect()
    }
}

/// Lists it all. Status requests are the watcher's to make: a list tells no PIDs.
pub(crate) async fn list(session: &Session) -> Result<Listing, EngineError> {
    let alive = list_alive(session).await?;
    let memory = session.memory();
    let partial = |container| ListingEntry::Partial { container, started_within: None };
    let containers = alive.containers.iter().map(|listed| {
        let pod = memory.pod(&ContainerId::from(listed.pod_sandbox_id.as_str()));
        of_listed(listed, pod)
    });
    let has_process =
        |id: &str| !memory.get(&ContainerId::from(id)).is_some_and(|known| known.is_processless);
    let sandboxes = alive.sandboxes.iter().filter(|listed| has_process(&listed.id)).map(of_listed_sandbox);
    Ok(containers.chain(sandboxes).map(partial).collect::<Vec<_>>().into())
}

/// Lists what is alive. What is not any more is looked up, for the runtime may still know how it ended: if nobody else
/// reports that, or did so while there was no session.
pub(crate) async fn list_alive(session: &Session) -> Result<Alive, EngineError> {
    session.transport().check_socket()?;
    let mut newest = session.lists().lock().await;
    let alive = alive(session).await?;
    let ids = alive.ids();
    let compared = newest.as_ref().filter(|_| session.lists().are_compared());
    if newest.is_none() || compared.is_some() {
        let missing = session.memory().missing(&ids);
        let ends = ends(session, missing).await;
        let mut memory = session.memory();
        for id in ends.keys() {
            memory.end(id);
        }
        let events = match compared {
            None => ends.into_iter().map(|(id, end)| end.event(id)).collect(),
            Some(before) => difference(before, &ids, SystemTime::now(), ends, |id| memory.get(id)?.pid),
        };
        for event in events {
            if let EngineEvent::Exited { id, .. } = &event {
                memory.forget(id);
            }
            session.report(event);
        }
    }
    session.memory().retain(&ids);
    *newest = Some(ids);
    session.lists().notify();
    Ok(alive)
}

/// What came and what went. When exactly, nobody knows, but for what went as its status says.
fn difference(
    before: &HashSet<ContainerId>,
    now: &HashSet<ContainerId>,
    at: SystemTime,
    mut ends: HashMap<ContainerId, End>,
    pid: impl Fn(&ContainerId) -> Option<u32>,
) -> Vec<EngineEvent> {
    let gone = before.difference(now).cloned();
    let gone = gone.map(|id| match ends.remove(&id) {
        Some(end) => end.event(id),
        None => EngineEvent::Exited { pid: pid(&id), id, at: Some(at), code: None },
    });
    let new = now.difference(before).cloned();
    let new = new.map(|id| EngineEvent::Started { id, at: None, pid: None, preview: None });
    gone.collect::<Vec<_>>().into_iter().chain(new).collect()
}

/// Asks for both lists, side by side.
async fn alive(session: &Session) -> Result<Alive, EngineError> {
    let containers = async {
        let state = ContainerStateValue { state: ContainerState::ContainerRunning as i32 };
        let filter = Some(ContainerFilter { state: Some(state), ..ContainerFilter::default() });
        let answer =
            session.client(session.limits().list()).list_containers(ListContainersRequest { filter }).await;
        Ok(answer.map_err(|status| ENGINE.status_error(CONTAINERS, status))?.into_inner().containers)
    };
    let sandboxes = async {
        let state = PodSandboxStateValue { state: PodSandboxState::SandboxReady as i32 };
        let filter = Some(PodSandboxFilter { state: Some(state), ..PodSandboxFilter::default() });
        let answer =
            session.client(session.limits().list()).list_pod_sandbox(ListPodSandboxRequest { filter }).await;
        Ok(answer.map_err(|status| ENGINE.status_error(SANDBOXES, status))?.into_inner().items)
    };
    let (containers, sandboxes) = tokio::try_join!(containers, sandboxes)?;
    Ok(take_in(&mut session.memory(), containers, sandboxes))
}

/// Leaves out what is not alive, or was told to be over, and has the rest remembered.
fn take_in(memory: &mut Memory, containers: Vec<ListedContainer>, sandboxes: Vec<ListedSandbox>) -> Alive {
    let mut alive = Alive::default();
    let mut ids = HashSet::new();
    let mut fits = |memory: &Memory, id: &str, state: State| {
        if !ContainerId::is_plain(id) {
            tracing::warn!("the CRI runtime lists something without a proper ID");
            return None;
        }
        let id = ContainerId::from(id);
        (state == State::Alive && !memory.has_ended(&id) && ids.insert(id.clone())).then_some(id)
    };
    for sandbox in sandboxes {
        let Some(id) = fits(memory, &sandbox.id, sandbox_state(sandbox.state)) else { continue };
        memory.is(&id, Kind::Sandbox, None);
        if let Some(pod) = Pod::of(sandbox.metadata.as_ref()) {
            memory.learn(&id, pod);
        }
        alive.sandboxes.push(sandbox);
    }
    for container in containers {
        let Some(id) = fits(memory, &container.id, state(container.state)) else { continue };
        let sandbox = ContainerId::is_plain(&container.pod_sandbox_id)
            .then(|| container.pod_sandbox_id.as_str().into());
        memory.is(&id, Kind::Container, sandbox);
        alive.containers.push(container);
    }
    alive
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str, state: i32) -> ListedContainer {
        ListedContainer { id: id.into(), pod_sandbox_id: "s1".into(), state, ..ListedContainer::default() }
    }

    fn sandbox(id: &str, state: i32) -> ListedSandbox {
        ListedSandbox { id: id.into(), state, ..ListedSandbox::default() }
    }

    #[test]
    fn only_what_is_alive_and_not_over_is_listed_even_if_the_runtime_does_not_look_at_filters() {
        let mut memory = Memory::default();
        memory.end(&"over".into());
        let containers =
            [("c1", 1), ("made", 0), ("gone", 2), ("lost", 3), ("odd", 99), ("over", 1), ("", 1), ("a/b", 1)];
        let containers = containers.map(|(id, state)| container(id, state)).into();
        let sandboxes = [("s1", 0), ("down", 1), ("odd-too", 7), ("c1", 1)];
        let sandboxes = sandboxes.map(|(id, state)| sandbox(id, state)).into();
        let alive = take_in(&mut memory, containers, sandboxes);
        assert_eq!(alive.ids(), HashSet::from(["c1".into(), "s1".into()]));
        let member = memory.get(&"c1".into()).unwrap();
        assert_eq!((member.kind, member.sandbox.clone()), (Some(Kind::Container), Some("s1".into())));
        assert_eq!(memory.get(&"s1".into()).unwrap().kind, Some(Kind::Sandbox));
        assert!(memory.get(&"gone".into()).is_none());
    }

    #[test]
    fn what_is_listed_twice_is_reported_once() {
        let twice = vec![container("x", 1), container("x", 1)];
        let alive = take_in(&mut Memory::default(), twice, vec![sandbox("x", 0)]);
        assert_eq!((alive.containers.len(), alive.sandboxes.len()), (0, 1));
    }

    fn ids(ids: &[&str]) -> HashSet<ContainerId> {
        ids.iter().map(|id| ContainerId::from(*id)).collect()
    }

    #[test]
    fn only_what_came_and_what_went_is_reported() {
        let at = SystemTime::now();
        let pid = |id: &ContainerId| (id.as_str() == "gone").then_some(7);
        assert_eq!(difference(&ids(&["a", "b"]), &ids(&["b", "a"]), at, HashMap::new(), pid), []);
        let reported = difference(&ids(&["a", "gone"]), &ids(&["new", "a"]), at, HashMap::new(), pid);
        let exited = EngineEvent::Exited { id: "gone".into(), pid: Some(7), at: Some(at), code: None };
        let started = EngineEvent::Started { id: "new".into(), at: None, pid: None, preview: None };
        assert_eq!(reported, [exited, started]);
        let end = End { pid: 8, at: None, code: Some(3) };
        let reported = difference(&ids(&["gone"]), &ids(&[]), at, HashMap::from([("gone".into(), end)]), pid);
        assert_eq!(reported, [end.event("gone".into())]);
    }
}
