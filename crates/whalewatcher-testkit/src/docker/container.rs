//! What a test says about a container, what the engine keeps of it, and what a test is told.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use jiff::Timestamp;

/// What a container is made from.
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
    /// A container of this name, of image `busybox:latest`, that runs `sleep infinity`.
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
        }
    }

    /// The image it is made of, as the user named it.
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = image.into();
        self
    }

    /// The program and its arguments.
    pub fn command<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.command = words.into_iter().map(Into::into).collect();
        self
    }

    /// One more label.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// More labels.
    pub fn labels<K: Into<String>, V: Into<String>>(
        mut self,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.labels.extend(labels.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// Makes it a service of a compose project: the labels that `docker compose` would give it.
    pub fn project(self, project: impl Into<String>, service: impl Into<String>) -> Self {
        self.label("com.docker.compose.project", project)
            .label("com.docker.compose.service", service)
            .label("com.docker.compose.container-number", "1")
            .label("com.docker.compose.oneoff", "False")
            .label("com.docker.compose.version", "2.40.3")
    }

    /// Whether it runs privileged.
    pub fn privileged(mut self, privileged: bool) -> Self {
        self.privileged = privileged;
        self
    }

    /// Whether it is removed as soon as it has exited (`docker run --rm`).
    pub fn auto_remove(mut self, auto_remove: bool) -> Self {
        self.auto_remove = auto_remove;
        self
    }

    /// Whether it is started again after an exit.
    pub fn restart(mut self, policy: RestartPolicy) -> Self {
        self.restart = policy;
        self
    }

    /// Its network mode, such as `bridge`, `host` or `none` (the default).
    pub fn network_mode(mut self, mode: impl Into<String>) -> Self {
        self.network_mode = mode.into();
        self
    }

    /// Adds a variable to its environment.
    pub fn env(mut self, key: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.env.push(format!("{}={}", key.as_ref(), value.as_ref()));
        self
    }

    /// Exposes a TCP port, and publishes it at a port of the host, if one is given.
    pub fn port(mut self, port: u16, host: impl Into<Option<u16>>) -> Self {
        self.ports.push(Port { container: format!("{port}/tcp"), host: host.into() });
        self
    }

    /// Binds a path of the host into it, writable or not.
    pub fn mount(
        mut self,
        source: impl Into<String>,
        destination: impl Into<String>,
        writable: bool,
    ) -> Self {
        self.mounts.push(Mount { source: source.into(), destination: destination.into(), writable });
        self
    }

    /// Connects it to one more network, with this address while it is alive. The one of its
    /// [mode](Self::network_mode) has none.
    pub fn network(mut self, name: impl Into<String>, address: Ipv4Addr) -> Self {
        self.networks.push((name.into(), address));
        self
    }

    /// Whether it has a health check: its health is then `starting` after each start.
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

/// When a container is started again by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Whenever it exits.
    Always,
    /// Whenever it exits, but not after somebody has stopped it and the engine has been restarted.
    UnlessStopped,
    /// When it exits with a code other than 0.
    OnFailure,
}

impl RestartPolicy {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
            Self::OnFailure => "on-failure",
        }
    }

    /// Whether a container that ended by itself with this code is started again.
    pub(super) fn after_exit(self, code: i32) -> bool {
        match self {
            Self::No => false,
            Self::Always | Self::UnlessStopped => true,
            Self::OnFailure => code != 0,
        }
    }
}

/// What can be changed of a container while it exists. What is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Memory limit in bytes, 0 for none.
    pub memory: Option<i64>,
    /// CPU limit in billionths of a CPU, 0 for none.
    pub nano_cpus: Option<i64>,
    /// Another restart policy.
    pub restart: Option<RestartPolicy>,
    /// Another set of labels, which Docker itself does not allow (yet), but other engines may.
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
    /// Of its initial process, as the engine tells it; of no real process.
    pub pid: u32,
    /// As given at its making.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Whether it is paused.
    pub paused: bool,
    /// By the engine's clock.
    pub started_at: Timestamp,
}

/// What the engine keeps of a container.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) id: Arc<str>,
    /// Counts the containers made, to list the newest first.
    pub(super) serial: u64,
    pub(super) name: Arc<str>,
    pub(super) spec: Arc<ContainerSpec>,
    pub(super) labels: Arc<BTreeMap<String, String>>,
    pub(super) restart: RestartPolicy,
    pub(super) memory: i64,
    pub(super) nano_cpus: i64,
    pub(super) phase: Phase,
    /// 0 without a process.
    pub(super) pid: u32,
    pub(super) created: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) exit_code: i32,
    pub(super) restarts: u32,
    pub(super) stopped_by_hand: bool,
    pub(super) health: Option<Arc<str>>,
    /// A status that a test has put in place of the true one.
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

    /// The one word for its state in lists and inspections.
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

    /// Docker's `Running` flag, which is true for restarting containers too though they have no process.
    pub(super) fn counts_as_running(&self) -> bool {
        matches!(self.status(), "running" | "paused" | "restarting")
    }

    /// What a test is told, if it is alive.
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
