//! Where an engine runs: the containers that it is in, and its PIDs on this host.

use std::sync::{Arc, Mutex, PoisonError};

use whalewatcher_core::Container;
#[cfg(target_os = "linux")]
use {
    crate::host_pids::HostPids,
    whalewatcher_core::fleet::{FleetMember, FleetPortfolio},
    whalewatcher_host::{owner_in, process::Proc},
};

/// The label with the names of the containers that a container's engine is in, the outermost first, joined by
/// `/`; empty if it is in none.
pub const PREFIX_LABEL: &str = "turtlefinder/container/prefix";

/// Where an engine runs. Clones are the same location.
#[derive(Clone, Debug, Default)]
pub(crate) struct Location(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
struct State {
    prefix: Arc<str>,
    #[cfg(target_os = "linux")]
    pids: Option<Arc<HostPids>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            prefix: "".into(),
            #[cfg(target_os = "linux")]
            pids: None,
        }
    }
}

impl Location {
    /// Returns the names of the containers.
    pub(crate) fn prefix(&self) -> Arc<str> {
        self.state().prefix.clone()
    }

    /// Sets the names of the containers, and returns whether these were others.
    pub(crate) fn set_prefix(&self, prefix: &str) -> bool {
        let mut state = self.state();
        let is_other = *state.prefix != *prefix;
        if is_other {
            state.prefix = prefix.into();
        }
        is_other
    }

    /// Sets how PIDs are found, if the engine has a PID namespace of its own.
    #[cfg(target_os = "linux")]
    pub(crate) fn set_pids(&self, pids: HostPids) {
        self.state().pids = Some(Arc::new(pids));
    }

    /// Takes over what is known of the same engine after it was started again; its containers are known by now.
    pub(crate) fn follow(&self, later: &Self) {
        #[cfg(target_os = "linux")]
        {
            let pids = later.state().pids.clone();
            self.state().pids = pids;
        }
        #[cfg(not(target_os = "linux"))]
        let _ = later;
    }

    /// Adds what follows from the location to containers.
    pub(crate) async fn complete(&self, containers: Vec<Container>) -> Vec<Container> {
        let State { prefix, .. } = self.state().clone();
        let containers = self.with_host_pids(containers).await;
        containers.into_iter().map(|container| labelled(container, &prefix)).collect()
    }

    /// Adds what follows from the location to a container without a process that is known.
    pub(crate) fn complete_preview(&self, container: Container) -> Container {
        let prefix = self.state().prefix.clone();
        labelled(container, &prefix)
    }

    #[cfg(target_os = "linux")]
    async fn with_host_pids(&self, containers: Vec<Container>) -> Vec<Container> {
        let Some(pids) = self.state().pids.clone() else { return containers };
        let wanted: Vec<_> = containers.iter().map(Container::pid).filter(|pid| *pid != 0).collect();
        if wanted.is_empty() {
            return containers;
        }
        // Reads the processes of the host, so in a thread that may block.
        let found = tokio::task::spawn_blocking(move || pids.find(&wanted)).await.unwrap_or_default();
        let with_pid = |container: Container| {
            let pid = found.get(&container.pid()).copied();
            container.with_host_pid(pid)
        };
        containers.into_iter().map(with_pid).collect()
    }

    #[cfg(not(target_os = "linux"))]
    async fn with_host_pids(&self, containers: Vec<Container>) -> Vec<Container> {
        containers
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn labelled(container: Container, prefix: &Arc<str>) -> Container {
    // The container's own label of that name, if it has one, means nothing.
    let labels = container.labels().with(PREFIX_LABEL, prefix);
    container.with_labels(labels)
}

/// Returns the names of the containers that a process is in, as the fleet knows them; `None` if it is in none
/// that is known.
#[cfg(target_os = "linux")]
pub(crate) fn prefix_of(proc: &Proc, pid: u32, alive: &FleetPortfolio) -> Option<String> {
    let portfolios = alive.members().map(FleetMember::portfolio);
    let owner = owner_in(proc, pid, portfolios).ok()??;
    let name = owner.container.name();
    Some(match owner.container.labels().get(PREFIX_LABEL) {
        Some(outer) if !outer.is_empty() => format!("{outer}/{name}"),
        _ => name.to_owned(),
    })
}
