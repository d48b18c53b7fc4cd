//! Containers: their specification, the engine's record, and what tests see.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use jiff::Timestamp;

use super::inspect::network_id;

/// The specification of a container.
///
/// ```
/// use whalewatcher_testkit::docker::{ContainerSpec, RestartPolicy};
///
/// let web = ContainerSpec::new("shop-web-1")
///     .image("nginx:1.29")
///     .project("shop", "web")
///     .restart(RestartPolicy::Always);
/// # let _ = web;
/// ```
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) command: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) privileged: bool,
    pub(super) auto_remove: bool,
    pub(super) restart: RestartPolicy,
    pub(super) network_mode: String,
    pub(super) health_check: bool,
    /// `KEY=VALUE`.
    pub(super) env: Vec<String>,
    pub(super) ports: Vec<Port>,
    pub(super) mounts: Vec<Mount>,
    /// Names and addresses.
    pub(super) networks: Vec<(String, Ipv4Addr)>,
    /// The name of its pod, and whether it holds that pod's namespaces.
    pub(super) pod: Option<(String, bool)>,
}

/// A port such as `80/tcp`, and the port of the host at which it is published.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) container: String,
    pub(super) host: Option<u16>,
}

/// A folder or file of the host in a container.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    pub(super) source: String,
    pub(super) destination: String,
    pub(super) writable: bool,
}

impl ContainerSpec {
    /// Returns a container with this name and image `busybox:latest` that runs `sleep infinity`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            image: "busybox:latest".into(),
            command: vec!["sleep".into(), "infinity".into()],
            labels: BTreeMap::new(),
            privileged: false,
            auto_remove: false,
            restart: RestartPolicy::No,
            network_mode: "none".into(),
            health_check: false,
            env: Vec::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            networks: Vec::new(),
            pod: None,
        }
    }

    /// Sets the image, as the user named it.
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = image.into();
        self
    }

    /// Sets the program and its arguments.
    pub fn command<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.command = words.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a label.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Adds labels.
    pub fn labels<K: Into<String>, V: Into<String>>(
        mut self,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.labels.extend(labels.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// Makes the container a service of a compose project: adds the labels of `docker compose`.
    pub fn project(self, project: impl Into<String>, service: impl Into<String>) -> Self {
        self.label("com.docker.compose.project", project)
            .label("com.docker.compose.service", service)
            .label("com.docker.compose.container-number", "1")
            .label("com.docker.compose.oneoff", "False")
            .label("com.docker.compose.version", "2.40.3")
    }

    /// Sets whether the container runs privileged.
    pub fn privileged(mut self, privileged: bool) -> Self {
        self.privileged = privileged;
        self
    }

    /// Sets whether the container is removed once it has exited (`docker run --rm`).
    pub fn auto_remove(mut self, auto_remove: bool) -> Self {
        self.auto_remove = auto_remove;
        self
    }

    /// Sets when the container is started again after an exit.
    pub fn restart(mut self, policy: RestartPolicy) -> Self {
        self.restart = policy;
        self
    }

    /// Sets the network mode, such as `bridge`, `host` or `none` (the default).
    pub fn network_mode(mut self, mode: impl Into<String>) -> Self {
        self.network_mode = mode.into();
        self
    }

    /// Adds a variable to the environment.
    pub fn env(mut self, key: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.env.push(format!("{}={}", key.as_ref(), value.as_ref()));
        self
    }

    /// Exposes a TCP port, and publishes it at a port of the host, if one is given.
    pub fn port(mut self, port: u16, host: impl Into<Option<u16>>) -> Self {
        self.ports.push(Port { container: format!("{port}/tcp"), host: host.into() });
        self
    }

    /// Binds a path of the host into the container, writable or not.
    pub fn mount(
        mut self,
        source: impl Into<String>,
        destination: impl Into<String>,
        writable: bool,
    ) -> Self {
        self.mounts.push(Mount { source: source.into(), destination: destination.into(), writable });
        self
    }

    /// Connects the container to one more network, with this address while it is alive. The network of its
    /// [mode](Self::network_mode) has none, and no events.
    pub fn network(mut self, name: impl Into<String>, address: Ipv4Addr) -> Self {
        self.networks.push((name.into(), address));
        self
    }

    /// Puts the container into a pod of podman, as the one that holds the pod's namespaces or not.
    pub fn pod(mut self, name: impl Into<String>, infra: bool) -> Self {
        self.pod = Some((name.into(), infra));
        self
    }

    /// Returns the ID of its pod, empty without one.
    pub(super) fn pod_id(&self) -> String {
        self.pod.as_ref().map_or_else(String::new, |(name, _)| network_id(name))
    }

    /// Sets whether the container has a health check: its health is then `starting` after each start.
    pub fn health_check(mut self, health_check: bool) -> Self {
        self.health_check = health_check;
        self
    }
}

impl From<&str> for ContainerSpec {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for ContainerSpec {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// When a container is started again by the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// After each exit.
    Always,
    /// After each exit, unless it was requested.
    UnlessStopped,
}

impl RestartPolicy {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
        }
    }
}

/// A change of a container. Fields that are `None` stay as they are.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// The labels, which Docker itself does not allow to change, but other engines may.
    pub labels: Option<BTreeMap<String, String>>,
}

/// A container that is alive: it has a process, running or paused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alive {
    /// All 64 hexadecimal digits.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// The PID that the engine reports for the initial process; it is not a real process.
    pub pid: u32,
    /// As given in the specification.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Whether the container is paused.
    pub paused: bool,
    /// By the engine's clock.
    pub started_at: Timestamp,
}

/// The engine's record of a container.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) id: Arc<str>,
    /// The number of the container in order of creation, to list the newest first.
    pub(super) serial: u64,
    pub(super) name: Arc<str>,
    pub(super) spec: Arc<ContainerSpec>,
    pub(super) labels: Arc<BTreeMap<String, String>>,
    pub(super) phase: Phase,
    /// 0 without a process.
    pub(super) pid: u32,
    pub(super) created: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) exit_code: i32,
    pub(super) restarts: u32,
    pub(super) health: Option<Arc<str>>,
    pub(super) oom_killed: bool,
    /// Names and addresses of the networks beside that of its mode.
    pub(super) networks: Arc<Vec<(String, Ipv4Addr)>>,
    /// A status that a test set in place of the true one.
    pub(super) forced_status: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Created,
    Running,
    Paused,
    /// Exited, waiting to be started again by its policy.
    Restarting,
    Exited,
}

impl Container {
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Paused)
    }

    /// The word for the state in lists and inspections.
    pub(super) fn status(&self) -> &str {
        if let Some(forced) = &self.forced_status {
            return forced;
        }
        match self.phase {
            Phase::Created => "created",
            Phase::Running => "running",
            Phase::Paused => "paused",
            Phase::Restarting => "restarting",
            Phase::Exited => "exited",
        }
    }

    /// Docker's flag `Running`, which is true for restarting containers too, though they have no process.
    pub(super) fn counts_as_running(&self) -> bool {
        matches!(self.status(), "running" | "paused" | "restarting")
    }

    /// What tests see of the container, if it is alive.
    pub(super) fn alive(&self) -> Option<Alive> {
        let started_at = self.started_at.filter(|_| self.is_alive())?;
        Some(Alive {
            id: self.id.to_string(),
            name: self.name.to_string(),
            pid: self.pid,
            labels: Arc::clone(&self.labels),
            paused: self.phase == Phase::Paused,
            started_at,
        })
    }
}
