//! Decodes lists and statuses of containers and sandboxes.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use whalewatcher_api::cri::v1::{
    Container as ListedContainer, ContainerState, ContainerStatus, PodSandbox as ListedSandbox,
    PodSandboxMetadata, PodSandboxState, PodSandboxStatus,
};
use whalewatcher_core::{
    Container, Labels, POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL, SANDBOX_LABEL,
};

use crate::decode::details::{image, is_oom_killed, network};
use crate::decode::time::{end, moment};

/// The exit code that some runtimes report if they do not know it.
const UNKNOWN_CODE: i32 = -1;

/// The label for the name of a container within its pod.
pub const CONTAINER_NAME_LABEL: &str = "io.kubernetes.container.name";

/// The prefix of labels that are made of annotations; the annotation's key follows.
pub const ANNOTATION_LABEL_PREFIX: &str = "io.kubernetes.annotation/";

/// The runtime's data about a container or sandbox, for packers of rucksacks: one that is alive, or one whose
/// life ended before it was inspected.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Details<'a> {
    /// A container.
    #[non_exhaustive]
    Container {
        /// Its status.
        status: &'a ContainerStatus,
        /// The additional data of a verbose status, specific to the runtime; mostly JSON under the key `info`.
        info: &'a HashMap<String, String>,
    },
    /// A pod's sandbox.
    #[non_exhaustive]
    Sandbox {
        /// Its status.
        status: &'a PodSandboxStatus,
        /// The additional data of a verbose status, specific to the runtime; mostly JSON under the key `info`.
        info: &'a HashMap<String, String>,
    },
}

/// Packs a rucksack for a container or sandbox.
pub(crate) type Packer = Arc<dyn Fn(Details<'_>) -> Option<Arc<dyn Any + Send + Sync>> + Send + Sync>;

/// Whether it is a container or a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Container,
    Sandbox,
}

/// The state of a container or sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Created, but not started.
    Created,
    Alive,
    /// Exited, or in an unknown state.
    NotAlive,
}

/// Decodes the state of a container.
pub(crate) fn state(state: i32) -> State {
    match ContainerState::try_from(state) {
        Ok(ContainerState::ContainerCreated) => State::Created,
        Ok(ContainerState::ContainerRunning) => State::Alive,
        _ => State::NotAlive,
    }
}

/// Decodes the state of a sandbox.
pub(crate) fn sandbox_state(state: i32) -> State {
    match PodSandboxState::try_from(state) {
        Ok(PodSandboxState::SandboxReady) => State::Alive,
        _ => State::NotAlive,
    }
}

/// Returns when a container that is not alive ended, and its exit code.
pub(crate) fn finished(status: &ContainerStatus) -> (Option<SystemTime>, Option<i32>) {
    let code = Some(status.exit_code).filter(|code| *code != UNKNOWN_CODE);
    (end(moment(status.finished_at), moment(status.started_at)), code)
}

/// The pod of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    name: Arc<str>,
    namespace: Arc<str>,
    uid: Arc<str>,
}

impl Pod {
    pub(crate) fn of(metadata: Option<&PodSandboxMetadata>) -> Option<Self> {
        metadata.map(|reported| Self {
            name: reported.name.as_str().into(),
            namespace: reported.namespace.as_str().into(),
            uid: reported.uid.as_str().into(),
        })
    }

    fn labels(&self) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
        let reported = [
            (POD_NAME_LABEL, &self.name),
            (POD_NAMESPACE_LABEL, &self.namespace),
            (POD_UID_LABEL, &self.uid),
        ];
        reported.map(|(key, value)| (key.into(), value.clone())).into_iter()
    }
}

/// Returns whether a container's own labels name its pod, as those that the kubelet sets do.
pub(crate) fn reports_pod(labels: &HashMap<String, String>) -> bool {
    [POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL].iter().all(|key| labels.contains_key(*key))
}

/// Returns a container from its status, which lacks its network; a PID of 0 is unknown.
pub(crate) fn of_status(status: &ContainerStatus, pod: Option<&Pod>, pid: u32) -> Container {
    let name = status.metadata.as_ref().map(|metadata| metadata.name.as_str());
    let labels = container_labels(&status.labels, &status.annotations, name, pod);
    named(&status.id, name, pid)
        .with_labels(labels)
        .with_image(image(status))
        .with_oom_killed(is_oom_killed(status))
        .with_restart_count(status.metadata.as_ref().map(|metadata| metadata.attempt))
        .with_created_at(moment(status.created_at))
        .with_started_at(moment(status.started_at))
}

/// Returns a container from a list, of which only name and labels are compared. Its image is another one than
/// in its status: containerd lists the ID with which the kubelet created the container.
pub(crate) fn of_listed(listed: &ListedContainer, pod: Option<&Pod>) -> Container {
    let name = listed.metadata.as_ref().map(|metadata| metadata.name.as_str());
    let labels = container_labels(&listed.labels, &listed.annotations, name, pod);
    named(&listed.id, name, 0).with_labels(labels)
}

/// Returns a sandbox from its status; a PID of 0 is unknown.
pub(crate) fn of_sandbox_status(status: &PodSandboxStatus, pid: u32) -> Container {
    let pod = Pod::of(status.metadata.as_ref());
    let labels = sandbox_labels(&status.labels, &status.annotations, pod.as_ref());
    named(&status.id, None, pid)
        .with_labels(labels)
        .with_networks(network(status))
        .with_created_at(moment(status.created_at))
        .with_started_at(moment(status.created_at))
}

/// Returns a sandbox from a list.
pub(crate) fn of_listed_sandbox(listed: &ListedSandbox) -> Container {
    let pod = Pod::of(listed.metadata.as_ref());
    let labels = sandbox_labels(&listed.labels, &listed.annotations, pod.as_ref());
    named(&listed.id, None, 0).with_labels(labels).with_started_at(moment(listed.created_at))
}

/// A container without a name is named by its ID.
fn named(id: &str, name: Option<&str>, pid: u32) -> Container {
    let id: Arc<str> = id.into();
    let name = name.filter(|name| !name.is_empty()).map_or_else(|| id.clone(), Arc::from);
    Container::new(id, name, pid)
}

/// The pod that a container's own labels name takes precedence, because lists contain no other.
fn container_labels(
    own: &HashMap<String, String>,
    annotations: &HashMap<String, String>,
    name: Option<&str>,
    pod: Option<&Pod>,
) -> Labels {
    let pod = pod.filter(|_| !reports_pod(own)).map(Pod::labels).into_iter().flatten();
    let name = name.filter(|name| !name.is_empty()).map(|name| (CONTAINER_NAME_LABEL.into(), name.into()));
    let own = own.iter().filter(|(key, _)| *key != SANDBOX_LABEL);
    Labels::from_iter(own.map(shared).chain(pod).chain(name).chain(annotations.iter().map(annotation)))
}

fn sandbox_labels(
    own: &HashMap<String, String>,
    annotations: &HashMap<String, String>,
    pod: Option<&Pod>,
) -> Labels {
    let sign = std::iter::once((SANDBOX_LABEL.into(), "".into()));
    let pod = pod.map(Pod::labels).into_iter().flatten();
    Labels::from_iter(own.iter().map(shared).chain(pod).chain(sign).chain(annotations.iter().map(annotation)))
}

fn shared((key, value): (&String, &String)) -> (Arc<str>, Arc<str>) {
    (key.as_str().into(), value.as_str().into())
}

fn annotation((key, value): (&String, &String)) -> (Arc<str>, Arc<str>) {
    (format!("{ANNOTATION_LABEL_PREFIX}{key}").into(), value.as_str().into())
}

#[cfg(test)]
mod tests {
    use whalewatcher_api::cri::v1::ContainerMetadata;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn metadata() -> PodSandboxMetadata {
        PodSandboxMetadata { name: "shop".into(), uid: "u-1".into(), namespace: "eu".into(), attempt: 0 }
    }

    fn status(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> ContainerStatus {
        ContainerStatus {
            id: "c1".into(),
            metadata: Some(ContainerMetadata { name: "web".into(), attempt: 3 }),
            started_at: 1_500_000_000,
            labels: map(labels),
            annotations: map(annotations),
            ..ContainerStatus::default()
        }
    }

    fn text(labels: &Labels) -> String {
        labels.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }

    #[test]
    fn a_containers_labels_contain_pod_name_and_annotations() {
        let pod = Pod::of(Some(&metadata()));
        let container = of_status(&status(&[("app", "x")], &[("note", "n")]), pod.as_ref(), 7);
        assert_eq!(container.to_string(), "container 'web'/c1 with PID 7");
        assert_eq!(container.started_at(), moment(1_500_000_000));
        assert_eq!(
            text(container.labels()),
            "app=x\nio.kubernetes.annotation/note=n\nio.kubernetes.container.name=web\n\
             io.kubernetes.pod.name=shop\nio.kubernetes.pod.namespace=eu\nio.kubernetes.pod.uid=u-1\n"
        );
    }

    #[test]
    fn labels_of_the_kubelet_name_the_pod() {
        let kubelet = [
            ("io.kubernetes.pod.name", "own"),
            ("io.kubernetes.pod.namespace", "ns"),
            ("io.kubernetes.pod.uid", "u"),
        ];
        assert!(reports_pod(&map(&kubelet)) && !reports_pod(&map(&kubelet[..2])));
        let pod = Pod::of(Some(&metadata()));
        for pod in [None, pod.as_ref()] {
            let container = of_status(&status(&kubelet, &[]), pod, 7);
            assert_eq!(container.labels().get("io.kubernetes.pod.name"), Some("own"));
        }
    }

    #[test]
    fn list_and_status_have_the_same_labels() {
        let status = status(&[("app", "x")], &[("note", "n")]);
        let listed = ListedContainer {
            id: status.id.clone(),
            metadata: status.metadata.clone(),
            labels: status.labels.clone(),
            annotations: status.annotations.clone(),
            ..ListedContainer::default()
        };
        let pod = Pod::of(Some(&metadata()));
        let (one, other) = (of_status(&status, pod.as_ref(), 0), of_listed(&listed, pod.as_ref()));
        assert_eq!((one.labels(), one.name()), (other.labels(), other.name()));
        let status = PodSandboxStatus {
            id: "s1".into(),
            metadata: Some(metadata()),
            created_at: 5,
            labels: map(&[("app", "x")]),
            annotations: map(&[("note", "n")]),
            ..PodSandboxStatus::default()
        };
        let listed = ListedSandbox {
            id: status.id.clone(),
            metadata: status.metadata.clone(),
            created_at: 5,
            labels: status.labels.clone(),
            annotations: status.annotations.clone(),
            ..ListedSandbox::default()
        };
        let (one, other) = (of_sandbox_status(&status, 0), of_listed_sandbox(&listed));
        assert_eq!((one.labels(), one.name()), (other.labels(), other.name()));
    }

    #[test]
    fn a_sandbox_is_named_by_its_id_and_marked() {
        let status = PodSandboxStatus {
            id: "s1".into(),
            metadata: Some(metadata()),
            created_at: 2_000_000_000,
            labels: map(&[("io.kubernetes.pod.name", "other"), ("io.kubernetes.sandbox", "no")]),
            annotations: map(&[("a", "b")]),
            ..PodSandboxStatus::default()
        };
        let sandbox = of_sandbox_status(&status, 9);
        assert_eq!(sandbox.to_string(), "container 's1' with PID 9");
        assert_eq!(sandbox.started_at(), moment(2_000_000_000));
        assert_eq!(
            text(sandbox.labels()),
            "io.kubernetes.annotation/a=b\nio.kubernetes.pod.name=shop\nio.kubernetes.pod.namespace=eu\n\
             io.kubernetes.pod.uid=u-1\nio.kubernetes.sandbox=\n"
        );
    }

    #[test]
    fn a_container_cannot_pose_as_a_sandbox() {
        let odd = ContainerStatus { metadata: None, ..status(&[("io.kubernetes.sandbox", "")], &[]) };
        let container = of_status(&odd, None, 7);
        assert_eq!((container.name(), container.labels().len()), ("c1", 0));
        let huge = "x".repeat(5_000_000);
        let container = of_status(&status(&[("huge", &huge)], &[]), None, 1);
        assert_eq!(container.labels().get("huge"), Some(huge.as_str()));
    }

    #[test]
    fn only_running_containers_and_ready_sandboxes_are_alive() {
        let reported = [0, 1, 2, 3, 4711, -1].map(state);
        let over = State::NotAlive;
        assert_eq!(reported, [State::Created, State::Alive, over, over, over, over]);
        assert_eq!([0, 1, 2, -1].map(sandbox_state), [State::Alive, over, over, over]);
    }
}
