//! What the runtime keeps of a sandbox or a container.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use whalewatcher_api::cri::v1::{ContainerState, PodSandboxState};

use super::{
    info::Info,
    spec::{Alive, Pod},
};

/// A sandbox or a container.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: Arc<str>,
    /// Of a container: the ID of its sandbox.
    pub(super) sandbox: Option<Arc<str>>,
    pub(super) name: String,
    pub(super) attempt: u32,
    pub(super) pod: Pod,
    pub(super) image: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) from_kubelet: bool,
    pub(super) infra_container: bool,
    pub(super) created: Timestamp,
    pub(super) phase: Phase,
    /// What has happened but is not visible yet.
    pub(super) under_way: Option<UnderWay>,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Ended>,
    /// As the runtime reports it; 0 before the start and after the end.
    pub(super) pid: u32,
    pub(super) out_of_memory: bool,
    /// Reported in place of the true state.
    pub(super) raw_state: Option<i32>,
    pub(super) info: Info,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A sandbox that is not visible yet.
    Hidden,
    Created,
    Running,
    Exited,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) at: Timestamp,
    pub(super) code: i32,
}

/// A change that containerd has reported and the CRI has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnderWay {
    Start { pid: u32, at: Timestamp },
    End(Ended),
}

impl Record {
    pub(super) fn is_sandbox(&self) -> bool {
        self.sandbox.is_none()
    }

    /// The ID of the sandbox that it is, or belongs to.
    pub(super) fn sandbox_id(&self) -> &Arc<str> {
        self.sandbox.as_ref().unwrap_or(&self.id)
    }

    pub(super) fn is_reported(&self) -> bool {
        self.phase != Phase::Hidden
    }

    /// The number of its state.
    pub(super) fn state(&self) -> i32 {
        let state = match (self.is_sandbox(), self.phase) {
            (true, Phase::Running) => PodSandboxState::SandboxReady.into(),
            (true, _) => PodSandboxState::SandboxNotready.into(),
            (false, Phase::Running) => ContainerState::ContainerRunning.into(),
            (false, Phase::Exited) => ContainerState::ContainerExited.into(),
            (false, Phase::Created | Phase::Hidden) => ContainerState::ContainerCreated.into(),
        };
        self.raw_state.unwrap_or(state)
    }

    fn is_alive(&self) -> bool {
        let alive: i32 = if self.is_sandbox() {
            PodSandboxState::SandboxReady.into()
        } else {
            ContainerState::ContainerRunning.into()
        };
        self.is_reported() && self.state() == alive && self.pid != 0
    }

    pub(super) fn alive(&self) -> Option<Alive> {
        self.is_alive().then(|| Alive {
            id: self.id.to_string(),
            sandbox: self.sandbox.as_ref().map(ToString::to_string),
            name: if self.is_sandbox() { self.id.to_string() } else { self.name.clone() },
            pod: self.pod.clone(),
            image: self.image.clone(),
            attempt: self.attempt,
            created: self.created,
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            pid: self.pid,
            since: if self.is_sandbox() { self.created } else { self.started.unwrap_or(self.created) },
        })
    }
}
