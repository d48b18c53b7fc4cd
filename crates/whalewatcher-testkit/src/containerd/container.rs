//! Containers: their specification, the engine's record, and what tests compare with.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;

use super::{filters::Fields, oci};

/// The label by which nerdctl names its containers.
const NERDCTL_NAME: &str = "nerdctl/name";

/// What a container is made from.
///
/// ```
/// use whalewatcher_testkit::containerd::ContainerSpec;
///
/// let web = ContainerSpec::new("staging/4b1ab74f").nerdctl_name("shop-web-1").project("shop", "web");
/// # let _ = web;
/// ```
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    pub(super) key: Key,
    pub(super) image: String,
    pub(super) runtime: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) spec_size: usize,
}

impl ContainerSpec {
    /// A container of this key, which is `NAMESPACE/ID`, or just the ID in namespace `default`.
    pub fn new(key: impl AsRef<str>) -> Self {
        Self {
            key: Key::new(key.as_ref()),
            image: "docker.io/library/busybox:latest".into(),
            runtime: "io.containerd.runc.v2".into(),
            labels: BTreeMap::new(),
            spec_size: oci::DOCKER_SIZE,
        }
    }

    /// The image it is made of.
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = image.into();
        self
    }

    /// The runtime that runs it, `io.containerd.runc.v2` by default.
    pub fn runtime(mut self, runtime: impl Into<String>) -> Self {
        self.runtime = runtime.into();
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

    /// Names it as nerdctl does, by labels.
    pub fn nerdctl_name(self, name: impl Into<String>) -> Self {
        let namespace = self.key.namespace.to_string();
        self.label(NERDCTL_NAME, name).label("nerdctl/namespace", namespace)
    }

    /// Makes it a service of a compose project: the labels that `nerdctl compose` would give it.
    pub fn project(self, project: impl Into<String>, service: impl Into<String>) -> Self {
        self.label("com.docker.compose.project", project).label("com.docker.compose.service", service)
    }

    /// How many bytes its OCI spec has in JSON, 9,400 by default as of Docker's containers; at least some
    /// hundred.
    pub fn spec_size(mut self, bytes: usize) -> Self {
        self.spec_size = bytes;
        self
    }
}

impl From<&str> for ContainerSpec {
    fn from(key: &str) -> Self {
        Self::new(key)
    }
}

impl From<String> for ContainerSpec {
    fn from(key: String) -> Self {
        Self::new(key)
    }
}

/// The key of a container: IDs are unique only within their namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) namespace: Arc<str>,
    pub(super) id: Arc<str>,
}

impl Key {
    pub(super) fn new(key: &str) -> Self {
        let (namespace, id) = key.split_once('/').unwrap_or(("default", key));
        Self { namespace: namespace.into(), id: id.into() }
    }

    /// The same namespace's prefix for something else.
    fn with(&self, what: &str) -> String {
        if &*self.namespace == "default" { what.into() } else { format!("{}/{what}", self.namespace) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with(&self.id))
    }
}

/// A container as the engine keeps it; it lives or not by its task.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) key: Key,
    pub(super) image: String,
    pub(super) runtime: String,
    pub(super) labels: BTreeMap<String, String>,
    /// JSON.
    pub(super) spec: Arc<[u8]>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) task: Option<Task>,
}

/// The process of a container, before, while and after it runs, until it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) pid: u32,
    pub(super) status: Status,
    /// With the exit code.
    pub(super) exited: Option<(Timestamp, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Created,
    Running,
    Pausing,
    Paused,
    Stopped,
}

impl Status {
    pub(super) fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Pausing | Self::Paused)
    }
}

/// A container that is alive: what a watcher should know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alive {
    /// `NAMESPACE/ID`, or just the ID in namespace `default`.
    pub key: String,
    /// The namespace.
    pub namespace: String,
    /// The ID within the namespace.
    pub id: String,
    /// `NAMESPACE/NAME`, or just the name in namespace `default`; nerdctl's name if it has one, else the ID.
    pub name: String,
    /// The image it is made of.
    pub image: String,
    /// When it was made.
    pub created: Timestamp,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// Of its first process.
    pub pid: u32,
    /// Whether it is paused, or about to be.
    pub paused: bool,
}

impl Container {
    pub(super) fn alive(&self) -> Option<Alive> {
        let task = self.task.filter(|task| task.status.is_alive())?;
        let name = self.labels.get(NERDCTL_NAME).map_or(&*self.key.id, String::as_str);
        Some(Alive {
            key: self.key.to_string(),
            namespace: self.key.namespace.to_string(),
            id: self.key.id.to_string(),
            name: self.key.with(name),
            image: self.image.clone(),
            created: self.created,
            labels: self.labels.clone(),
            pid: task.pid,
            paused: task.status != Status::Running,
        })
    }
}

impl Fields for Container {
    fn field(&self, path: &[String]) -> Option<String> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let value = match path[..] {
            ["id"] => self.key.id.to_string(),
            ["image"] => self.image.clone(),
            ["runtime", "name"] => self.runtime.clone(),
            ["labels", ref label @ ..] => return self.labels.get(&label.join(".")).cloned(),
            _ => return None,
        };
        Some(value).filter(|value| !value.is_empty())
    }
}
