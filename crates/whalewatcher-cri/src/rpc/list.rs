//! Lists running containers and ready sandboxes.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use whalewatcher_api::cri::v1::{
    Container as ListedContainer, ContainerFilter, ContainerState, ContainerStateValue,
    ListContainersRequest, ListPodSandboxRequest, PodSandbox as ListedSandbox, PodSandboxFilter,
    PodSandboxState, PodSandboxStateValue,
};
use whalewatcher_core::adapter::{EngineEvent, Listing, ListingEntry};
use whalewatcher_core::{ContainerId, EngineError};

use crate::cache::Cache;
use crate::decode::container::{Kind, Pod, State, of_listed, of_listed_sandbox, sandbox_state, state};
use crate::engine::ENGINE;
use crate::rpc::exits::{Exit, look_up_exits};
use crate::rpc::session::Session;

const CONTAINERS: &str = "RuntimeService.ListContainers";
const SANDBOXES: &str = "RuntimeService.ListPodSandbox";

/// The live containers and sandboxes of a list.
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

/// Lists all that is alive. Lists contain no PIDs, so each entry is partial and the watcher requests its
/// status. Sandboxes come first: their statuses contain the networks of their containers.
pub(crate) async fn list(session: &Session) -> Result<Listing, EngineError> {
    let alive = list_alive(session).await?;
    let cache = session.cache();
    let partial = |container| ListingEntry::Partial { container, started_within: None };
    let containers = alive.containers.iter().map(|listed| {
        let pod = cache.pod(&ContainerId::from(listed.pod_sandbox_id.as_str()));
        of_listed(listed, pod)
    });
    let has_process = |id: &str| !cache.get(&ContainerId::from(id)).is_some_and(|known| known.is_processless);
    let sandboxes = alive.sandboxes.iter().filter(|listed| has_process(&listed.id)).map(of_listed_sandbox);
    Ok(sandboxes.chain(containers).map(partial).collect::<Vec<_>>().into())
}

/// Lists what is alive. Where no events report them, also looks up the exits of lives that are no longer
/// listed, and reports the differences from the previous list.
pub(crate) async fn list_alive(session: &Session) -> Result<Alive, EngineError> {
    session.transport().check_socket()?;
    let mut newest = session.lists().lock().await;
    let alive = alive(session).await?;
    let ids = alive.ids();
    let compared = newest.as_ref().filter(|_| session.lists().are_compared());
    if newest.is_none() || compared.is_some() {
        let missing = session.cache().unlisted_lives(&ids);
        let ends = look_up_exits(session, missing).await;
        let mut cache = session.cache();
        for id in ends.keys() {
            cache.end(id);
        }
        let events = match compared {
            None => ends.into_iter().flat_map(|(id, end)| end.events(id)).collect(),
            Some(before) => difference(before, &ids, SystemTime::now(), ends),
        };
        for event in events {
            if let EngineEvent::Exited { id, .. } = &event {
                cache.end(id);
            }
            session.report(event);
        }
    }
    session.cache().retain(&ids);
    *newest = Some(ids);
    session.lists().notify();
    Ok(alive)
}

/// Returns the events that lead from one list to the next. Only looked-up exits have an exact time.
fn difference(
    before: &HashSet<ContainerId>,
    now: &HashSet<ContainerId>,
    at: SystemTime,
    mut ends: HashMap<ContainerId, Exit>,
) -> Vec<EngineEvent> {
    let gone = before.difference(now).cloned();
    let gone = gone.flat_map(|id| match ends.remove(&id) {
        Some(end) => end.events(id),
        None => vec![EngineEvent::Exited { id, pid: None, at: Some(at), code: None }],
    });
    let new = now.difference(before).cloned();
    let new = new.map(|id| EngineEvent::Touched { id, at: None });
    gone.collect::<Vec<_>>().into_iter().chain(new).collect()
}

/// Requests both lists at once.
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
    Ok(take_in(&mut session.cache(), containers, sandboxes))
}

/// Filters out what is not alive, and records the rest.
fn take_in(cache: &mut Cache, containers: Vec<ListedContainer>, sandboxes: Vec<ListedSandbox>) -> Alive {
    let mut alive = Alive::default();
    let mut ids = HashSet::new();
    let mut fits = |id: &str, state: State| {
        if !ContainerId::is_plain(id) {
            tracing::warn!("the CRI runtime lists a container without a valid ID");
            return None;
        }
        let id = ContainerId::from(id);
        (state == State::Alive && ids.insert(id.clone())).then_some(id)
    };
    for sandbox in sandboxes {
        let Some(id) = fits(&sandbox.id, sandbox_state(sandbox.state)) else { continue };
        cache.record_kind(&id, Kind::Sandbox, None);
        if let Some(pod) = Pod::of(sandbox.metadata.as_ref()) {
            cache.record_pod(&id, pod);
        }
        alive.sandboxes.push(sandbox);
    }
    for container in containers {
        let Some(id) = fits(&container.id, state(container.state)) else { continue };
        let sandbox = ContainerId::is_plain(&container.pod_sandbox_id)
            .then(|| container.pod_sandbox_id.as_str().into());
        cache.record_kind(&id, Kind::Container, sandbox);
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
    fn only_live_containers_are_listed_even_if_filters_are_ignored() {
        let mut cache = Cache::default();
        let containers = [("c1", 1), ("made", 0), ("gone", 2), ("lost", 3), ("odd", 99), ("", 1), ("a/b", 1)];
        let containers = containers.map(|(id, state)| container(id, state)).into();
        let sandboxes = [("s1", 0), ("down", 1), ("odd-too", 7), ("c1", 1)];
        let sandboxes = sandboxes.map(|(id, state)| sandbox(id, state)).into();
        let alive = take_in(&mut cache, containers, sandboxes);
        assert_eq!(alive.ids(), HashSet::from(["c1".into(), "s1".into()]));
        let entry = cache.get(&"c1".into()).unwrap();
        assert_eq!((entry.kind, entry.sandbox.clone()), (Some(Kind::Container), Some("s1".into())));
        assert_eq!(cache.get(&"s1".into()).unwrap().kind, Some(Kind::Sandbox));
        assert!(cache.get(&"gone".into()).is_none());
    }

    #[test]
    fn duplicates_are_listed_once() {
        let twice = vec![container("x", 1), container("x", 1)];
        let alive = take_in(&mut Cache::default(), twice, vec![sandbox("x", 0)]);
        assert_eq!((alive.containers.len(), alive.sandboxes.len()), (0, 1));
    }

    fn ids(ids: &[&str]) -> HashSet<ContainerId> {
        ids.iter().map(|id| ContainerId::from(*id)).collect()
    }

    #[test]
    fn differences_between_lists_are_exits_and_starts() {
        let at = SystemTime::now();
        assert_eq!(difference(&ids(&["a", "b"]), &ids(&["b", "a"]), at, HashMap::new()), []);
        let reported = difference(&ids(&["a", "gone"]), &ids(&["new", "a"]), at, HashMap::new());
        let exited = EngineEvent::Exited { id: "gone".into(), pid: None, at: Some(at), code: None };
        let started = EngineEvent::Touched { id: "new".into(), at: None };
        assert_eq!(reported, [exited, started]);
        let end = Exit { at: None, code: Some(137), is_oom_killed: true };
        let reported = difference(&ids(&["gone"]), &ids(&[]), at, HashMap::from([("gone".into(), end)]));
        let exited = EngineEvent::Exited { id: "gone".into(), pid: None, at: None, code: Some(137) };
        assert_eq!(reported, [EngineEvent::OomKilled { id: "gone".into(), at: None }, exited]);
    }
}
