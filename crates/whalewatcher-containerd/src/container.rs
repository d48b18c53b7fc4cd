//! Decodes containerd's record of a container and its task.

use std::any::Any;
use std::sync::Arc;

use whalewatcher_adapter::containerd::{moment, qualified};
use whalewatcher_api::containerd::services::containers::v1::Container as Record;
use whalewatcher_api::containerd::v1::types::{Process, Status};
use whalewatcher_core::adapter::pack;
use whalewatcher_core::{Container, ContainerId, Image, Labels};

use crate::nerdctl;

/// containerd's data about a container, for packers of rucksacks: one that is alive or, with a PID of 0,
/// whose life ended before it was inspected and whose task still exists.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Details<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// containerd's record, with the whole specification.
    pub container: &'a Record,
    /// Its initial process.
    pub task: &'a Process,
}

/// Packs a rucksack for a container.
pub(crate) type Packer = Arc<dyn Fn(Details<'_>) -> Option<Arc<dyn Any + Send + Sync>> + Send + Sync>;

/// The state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Paused,
    /// Not started yet, or stopped.
    NotAlive,
    /// Unknown to containerd, which reports this if the task's shim does not answer within 2 s; or a state
    /// without a PID.
    Unknown,
}

pub(crate) fn state(task: &Process) -> State {
    match Status::try_from(task.status) {
        Ok(Status::Unknown) => State::Unknown,
        // A live task has a PID.
        Ok(Status::Running | Status::Paused | Status::Pausing) if task.pid == 0 => State::Unknown,
        Ok(Status::Running) => State::Running,
        Ok(Status::Paused | Status::Pausing) => State::Paused,
        _ => State::NotAlive,
    }
}

/// Returns a container with its rucksack.
pub(crate) fn alive(
    namespace: &str,
    record: Record,
    task: &Process,
    paused: bool,
    packer: Option<&Packer>,
) -> Container {
    let rucksack = packer.and_then(|packer| {
        let id = ContainerId::from(qualified(namespace, &record.id));
        pack(&id, || packer(Details { namespace, container: &record, task }))
    });
    named(namespace, record, task.pid).with_paused(paused).with_rucksack(rucksack)
}

/// Returns a container from its record alone. A PID of 0 means that it is not alive.
pub(crate) fn named(namespace: &str, record: Record, pid: u32) -> Container {
    let id = qualified(namespace, &record.id);
    let name = match record.labels.get(nerdctl::NAME).filter(|name| !name.is_empty()) {
        Some(name) => qualified(namespace, name),
        None => id.clone(),
    };
    Container::new(id, name, pid)
        .with_image(Some(record.image).filter(|image| !image.is_empty()).map(Image::new))
        .with_created_at(record.created_at.and_then(moment))
        .with_networks(nerdctl::networks(&record.labels))
        .with_ports(nerdctl::ports(&record.labels))
        .with_labels(Labels::from_iter(record.labels))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use prost_types::Timestamp;
    use whalewatcher_core::Network;

    use super::*;

    fn record(id: &str, labels: &[(&str, &str)]) -> Record {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Record { id: id.into(), labels, ..Record::default() }
    }

    fn task(status: i32, pid: u32) -> Process {
        Process { status, pid, ..Process::default() }
    }

    #[test]
    fn names_report_the_namespace_and_nerdctls_name_where_there_is_one() {
        for (namespace, labels, text) in [
            ("default", &[][..], "container 'abc' with PID 7"),
            ("shop", &[], "container 'shop/abc' with PID 7"),
            ("default", &[("nerdctl/name", "web")], "container 'web'/abc with PID 7"),
            ("shop", &[("nerdctl/name", "web")], "container 'shop/web'/shop/abc with PID 7"),
            ("shop", &[("nerdctl/name", "")], "container 'shop/abc' with PID 7"),
            (
                "shop",
                &[("nerdctl/name", "a\u{1b}[2J"), ("com.docker.compose.project", "p")],
                r"container 'shop/a\u{1b}[2J'/shop/abc from project 'p' with PID 7",
            ),
        ] {
            let container = named(namespace, record("abc", labels), 7);
            assert_eq!((container.to_string().as_str(), container.labels().len()), (text, labels.len()));
        }
    }

    #[test]
    fn only_what_runs_or_is_paused_and_has_a_process_is_alive() {
        for (status, pid, expected) in [
            (Status::Running as i32, 7, State::Running),
            (Status::Paused as i32, 7, State::Paused),
            (Status::Pausing as i32, 7, State::Paused),
            (Status::Created as i32, 7, State::NotAlive),
            (Status::Stopped as i32, 7, State::NotAlive),
            (Status::Running as i32, 0, State::Unknown),
            (Status::Paused as i32, 0, State::Unknown),
            (Status::Unknown as i32, 0, State::Unknown),
            (4711, 7, State::NotAlive),
            (-1, 7, State::NotAlive),
        ] {
            assert_eq!(state(&task(status, pid)), expected, "{status} {pid}");
        }
    }

    #[test]
    fn image_and_creation_are_those_of_the_record() {
        let then = UNIX_EPOCH + Duration::new(1_769_860_800, 5);
        let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
        for (image, created_at, expected) in [
            (
                "docker.io/library/busybox:1",
                at(1_769_860_800, 5),
                (Some("docker.io/library/busybox:1"), Some(then)),
            ),
            ("", None, (None, None)),
            ("a\u{1b}[2J", at(-62_135_596_800, 0), (Some("a\u{1b}[2J"), None)),
            ("x", at(i64::MAX, -1), (Some("x"), None)),
        ] {
            let record = Record { image: image.into(), created_at, ..record("a", &[]) };
            let container = named("default", record, 7);
            assert_eq!((container.image().map(Image::name), container.created_at()), expected);
            assert!(container.image().is_none_or(|image| image.id().is_none()));
        }
    }

    #[test]
    fn networks_and_ports_are_those_of_nerdctls_labels() {
        let ports = r#"[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"127.0.0.1"}]"#;
        let labels = [("nerdctl/networks", r#"["shop","bridge"]"#), ("nerdctl/ports", ports)];
        let container = named("default", record("a", &labels), 7);
        assert!(container.networks().iter().map(Network::name).eq(["bridge", "shop"]));
        assert_eq!(container.ports()[0].to_string(), "127.0.0.1:8080->80/tcp");
        let odd = named("default", record("a", &[("nerdctl/networks", "{"), ("nerdctl/ports", "7")]), 7);
        assert_eq!((odd.pid(), odd.labels().len(), odd.networks(), odd.ports()), (7, 2, &[][..], &[][..]));
    }

    #[test]
    fn a_label_of_megabytes_is_kept() {
        let huge = "x".repeat(5_000_000);
        let container = named("default", record("a", &[("huge", &huge)]), 1);
        assert_eq!(container.labels().get("huge"), Some(huge.as_str()));
    }

    #[test]
    fn a_packer_sees_the_record_and_the_task() {
        let packer: Packer = Arc::new(|details| {
            let image = details.container.image.clone();
            Some(Arc::new((details.namespace.to_owned(), image, details.task.pid)))
        });
        let record = Record { image: "busybox".into(), ..record("a", &[]) };
        let task = task(Status::Paused as i32, 7);
        let container = alive("shop", record, &task, true, Some(&packer));
        let packed = container.rucksack::<(String, String, u32)>().unwrap();
        assert_eq!(packed, &("shop".to_owned(), "busybox".to_owned(), 7));
        assert!(container.paused());
    }

    #[test]
    fn a_packer_that_panics_costs_the_rucksack_only() {
        let packer: Packer = Arc::new(|_| panic!("scripted panic"));
        let task = task(Status::Running as i32, 7);
        let container = alive("shop", record("a", &[]), &task, false, Some(&packer));
        assert_eq!((container.pid(), container.rucksack::<String>()), (7, None));
    }
}
