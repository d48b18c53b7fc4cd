//! Mutated messages pass through all decoders: none panics, and the results are valid.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;
use proptest::sample::Index;
use prost::{Message, Name};
use prost_types::{Any, Timestamp};
use whalewatcher_adapter::containerd::{IgnoredNamespaces, Scope, decode, is_identifier, split};
use whalewatcher_api::containerd::events::{ContainerUpdate, TaskExit, TaskOom, TaskStart};
use whalewatcher_api::containerd::services::containers::v1::Container as Record;
use whalewatcher_api::containerd::types::Envelope;
use whalewatcher_api::containerd::v1::types::{Process, Status};
use whalewatcher_core::ContainerId;
use whalewatcher_core::adapter::EngineEvent;

use crate::container::{self, State, state};

#[derive(Clone, Debug)]
enum Mutation {
    Byte(Index, u8),
    Bit(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Truncate(Index),
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let mutation = prop_oneof![
        3 => any::<(Index, u8)>().prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        3 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Mutation::Bit(at, bit)),
        2 => (any::<Index>(), proptest::collection::vec(any::<u8>(), 1..12)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        2 => (any::<Index>(), 1..12_usize).prop_map(|(at, count)| Mutation::Remove(at, count)),
        1 => any::<Index>().prop_map(Mutation::Truncate),
    ];
    proptest::collection::vec(mutation, 0..5)
}

fn mutate(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        let at = |index: &Index| index.index(bytes.len() + 1);
        match mutation {
            Mutation::Byte(index, byte) => {
                let at = at(index);
                bytes.get_mut(at).into_iter().for_each(|old| *old = *byte);
            }
            Mutation::Bit(index, bit) => {
                let at = at(index);
                bytes.get_mut(at).into_iter().for_each(|old| *old ^= 1 << bit);
            }
            Mutation::Insert(index, more) => {
                let at = at(index);
                bytes.splice(at..at, more.iter().copied());
            }
            Mutation::Remove(index, count) => {
                let at = at(index);
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Mutation::Truncate(index) => bytes.truncate(at(index)),
        }
    }
    bytes
}

fn event<T: Message + Name>(message: &T, mutations: &[Mutation]) -> Envelope {
    let value = mutate(message.encode_to_vec(), mutations);
    Envelope {
        timestamp: Some(Timestamp { seconds: 1_769_860_800, nanos: 5 }),
        namespace: "shop".into(),
        topic: "/tasks/start".into(),
        event: Some(Any { type_url: T::full_name(), value }),
    }
}

/// The event concerns a container with a valid ID, and no process has the number 0.
fn is_sane(event: &EngineEvent) -> bool {
    let sane = |id: &ContainerId| {
        let (namespace, own_id) = split(id);
        is_identifier(namespace) && is_identifier(own_id)
    };
    match event {
        EngineEvent::Started { id, pid, .. } | EngineEvent::Exited { id, pid, .. } => {
            sane(id) && *pid != Some(0)
        }
        EngineEvent::Paused { id, .. }
        | EngineEvent::Unpaused { id, .. }
        | EngineEvent::Touched { id, .. }
        | EngineEvent::OomKilled { id, .. }
        | EngineEvent::Changed { id, .. } => sane(id),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_events_are_valid_or_refused(mutations in mutations()) {
        let id = || String::from("4b1ab74f");
        let exited_at = Some(Timestamp { seconds: 1_769_860_801, nanos: 7 });
        let labels = [("nerdctl/name".to_owned(), "web".to_owned())].into();
        let start = TaskStart { container_id: id(), pid: 4711 };
        let exit = TaskExit { container_id: id(), id: id(), pid: 4711, exit_status: 137, exited_at };
        let update = ContainerUpdate { id: id(), labels, ..ContainerUpdate::default() };
        let oom = TaskOom { container_id: id() };
        let events = [
            event(&start, &mutations),
            event(&exit, &mutations),
            event(&update, &mutations),
            event(&oom, &mutations),
        ];
        for envelope in events {
            let whole = mutate(envelope.encode_to_vec(), &mutations);
            for envelope in [Some(envelope), Envelope::decode(whole.as_slice()).ok()].into_iter().flatten() {
                if let Ok(Some(event)) = decode(envelope, &Scope::AllBut(IgnoredNamespaces::default())) {
                    prop_assert!(is_sane(&event), "{event:?}");
                }
            }
        }
    }

    #[test]
    fn mutated_records_and_tasks_are_valid_or_refused(mutations in mutations()) {
        let ports = r#"[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"0.0.0.0"}]"#;
        let labels = [
            ("nerdctl/name", "web"),
            ("com.docker.compose.project", "p"),
            ("nerdctl/networks", r#"["bridge"]"#),
            ("nerdctl/ports", ports),
        ];
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let created_at = Some(Timestamp { seconds: 1_769_860_800, nanos: 5 });
        let image = "docker.io/library/busybox".into();
        let record = Record { id: "4b1ab74f".into(), labels, image, created_at, ..Record::default() };
        let task = Process { id: "4b1ab74f".into(), pid: 4711, status: Status::Running as i32, ..Process::default() };
        let record = Record::decode(mutate(record.encode_to_vec(), &mutations).as_slice());
        let task = Process::decode(mutate(task.encode_to_vec(), &mutations).as_slice());
        if let (Ok(record), Ok(task)) = (record, task) {
            let state = state(&task);
            if matches!(state, State::Running | State::Paused) {
                let container = container::alive("shop", record, &task, state == State::Paused, None);
                prop_assert!(container.pid() != 0 && container.id().starts_with("shop/"));
                prop_assert!(!container.to_string().contains(char::is_control));
                prop_assert!(container.created_at().is_none_or(|created_at| created_at > UNIX_EPOCH));
                prop_assert!(container.image().is_none_or(|image| !image.name().is_empty()));
                prop_assert!(container.ports().iter().all(|port| port.private() != 0 && port.public() != Some(0)));
            }
        }
    }
}
