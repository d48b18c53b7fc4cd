//! The specification of pods and containers, and what tests compare with.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// What a pod's sandbox is made from. As from the kubelet, it is labelled with the pod's name, namespace and UID.
///
/// ```
/// use whalewatcher_testkit::cri::PodSpec;
///
/// let web = PodSpec::new("web").namespace("shop").label("app", "web").annotation("team", "blue");
/// # let _ = web;
/// ```
#[derive(Clone, Debug)]
pub struct PodSpec {
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: Option<String>,
    pub(super) attempt: u32,
    pub(super) addresses: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) from_kubelet: bool,
    pub(super) infra_container: bool,
}

impl PodSpec {
    /// A pod of this name in namespace `default`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            id: None,
            name: name.into(),
            namespace: "default".into(),
            uid: None,
            attempt: 0,
            addresses: vec!["10.244.0.7".into(), "fd00:244::7".into()],
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            from_kubelet: true,
            infra_container: true,
        }
    }

    /// The ID of the sandbox. By default it is made up, of 64 hexadecimal digits.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The namespace of the pod.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The UID of the pod. By default it is made up.
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = Some(uid.into());
        self
    }

    /// Its IP addresses; none on the host's network. By default `10.244.0.7` and `fd00:244::7`.
    pub fn addresses<A: Into<String>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.addresses = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// Which sandbox of this pod it is, counted from 0.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// One more label.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// One more annotation.
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// Neither the sandbox nor its containers get the labels that the kubelet gives them, as those that `crictl` makes.
    pub fn without_kubelet(mut self) -> Self {
        self.from_kubelet = false;
        self
    }

    /// The sandbox has no process, and so no PID, as CRI-O makes them by default (`drop_infra_ctr`) where the pod's
    /// containers do not share a PID namespace.
    pub fn without_infra_container(mut self) -> Self {
        self.infra_container = false;
        self
    }
}

impl From<&str> for PodSpec {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// What a container is made from.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) attempt: u32,
    pub(super) image: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl ContainerSpec {
    /// A container of this name within its pod.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            id: None,
            name: name.into(),
            attempt: 0,
            image: "docker.io/library/busybox:latest".into(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// The ID of the container. By default it is made up, of 64 hexadecimal digits.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Which container of this name in this pod it is, counted from 0.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// The image it is made of.
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = image.into();
        self
    }

    /// One more label.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// One more annotation.
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }
}

impl From<&str> for ContainerSpec {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// Whose sandbox or container it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Pod {
    /// The pod's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Its IP addresses; none on the host's network.
    pub addresses: Vec<String>,
}

/// A running container or a ready sandbox, as the runtime reports it: what a watcher must find.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alive {
    /// Of the container or the sandbox.
    pub id: String,
    /// Of a container: the ID of its sandbox. None for a sandbox.
    pub sandbox: Option<String>,
    /// Of a container: its name within the pod. Of a sandbox: its ID.
    pub name: String,
    /// Its pod.
    pub pod: Pod,
    /// The image it is made of.
    pub image: String,
    /// Which container of its name in its pod, or which sandbox of its pod it is, counted from 0.
    pub attempt: u32,
    /// When it was made.
    pub created: Timestamp,
    /// As the runtime reports them.
    pub labels: BTreeMap<String, String>,
    /// As the runtime reports them.
    pub annotations: BTreeMap<String, String>,
    /// Of its process.
    pub pid: u32,
    /// When a container was started, or a sandbox created.
    pub since: Timestamp,
}
