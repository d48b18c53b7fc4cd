//! Mutated messages pass through all decoders: none panics, and the results are valid.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;
use whalewatcher_api::cri::v1::{
    Container as ListedContainer, ContainerEventResponse, ContainerMetadata, ContainerStatus,
    ContainerStatusResponse, ImageSpec, PodIp, PodSandbox, PodSandboxMetadata, PodSandboxNetworkStatus,
    PodSandboxStatus, VersionResponse,
};
use whalewatcher_core::ContainerId;
use whalewatcher_core::adapter::EngineEvent;

use crate::cache::Cache;
use crate::decode::container::{Pod, of_listed, of_listed_sandbox, of_sandbox_status, of_status};
use crate::decode::info::Info;
use crate::decode::runtime::Runtime;
use crate::source::cri_events::event::{SubscriptionTime, take};

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

fn mutated<M: Message + Default>(message: &M, mutations: &[Mutation]) -> Option<M> {
    M::decode(mutate(message.encode_to_vec(), mutations).as_slice()).ok()
}

fn metadata() -> Option<PodSandboxMetadata> {
    Some(PodSandboxMetadata { name: "shop".into(), uid: "u-1".into(), namespace: "eu".into(), attempt: 1 })
}

fn network() -> Option<PodSandboxNetworkStatus> {
    let additional_ips = vec![PodIp { ip: "fd00::1".into() }];
    Some(PodSandboxNetworkStatus { ip: "10.1.2.3".into(), additional_ips })
}

fn status() -> ContainerStatus {
    ContainerStatus {
        id: "4b1ab74f".into(),
        metadata: Some(ContainerMetadata { name: "web".into(), attempt: 2 }),
        state: 1,
        created_at: 1_769_860_800_000_000_000,
        started_at: 1_769_860_801_000_000_000,
        finished_at: 1_769_860_802_000_000_000,
        exit_code: 137,
        labels: [("app".to_owned(), "x".to_owned())].into(),
        annotations: [("note".to_owned(), "n".to_owned())].into(),
        image: Some(ImageSpec { image: "docker.io/library/busybox:1".into(), ..ImageSpec::default() }),
        image_ref: "sha256:3fbc".into(),
        reason: "OOMKilled".into(),
        ..ContainerStatus::default()
    }
}

fn event(kind: i32) -> ContainerEventResponse {
    ContainerEventResponse {
        container_id: "4b1ab74f".into(),
        container_event_type: kind,
        created_at: 1_769_860_803_000_000_000,
        pod_sandbox_status: Some(PodSandboxStatus {
            id: "5a5a5a5a".into(),
            metadata: metadata(),
            created_at: 1_769_860_799_000_000_000,
            network: network(),
            ..PodSandboxStatus::default()
        }),
        containers_statuses: vec![ContainerStatus { state: kind.min(2), ..status() }],
    }
}

/// Each event concerns a container with a valid ID, and no end is before its beginning.
fn is_sane(events: &[EngineEvent]) -> bool {
    let sane = |id: &ContainerId| ContainerId::is_plain(id.as_str());
    let times: Vec<_> = events.iter().filter_map(EngineEvent::at).collect();
    times.is_sorted()
        && events.iter().all(|event| match event {
            EngineEvent::Started { id, pid: None, preview, .. } => {
                sane(id) && preview.as_ref().is_none_or(|preview| preview.id() == id && preview.pid() == 0)
            }
            EngineEvent::Exited { id, pid, .. } => sane(id) && *pid != Some(0),
            EngineEvent::Changed { id, .. } | EngineEvent::OomKilled { id, .. } => sane(id),
            _ => false,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_events_are_valid_or_refused(mutations in mutations(), replayed: bool) {
        let mut cache = Cache::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_804);
        for kind in [1, 2, 3] {
            if let Some(event) = mutated(&event(kind), &mutations) {
                let reported = take(&event, &mut cache, SubscriptionTime::now(), replayed, now);
                prop_assert!(is_sane(&reported), "{reported:?}");
            }
        }
    }

    #[test]
    fn mutated_lists_and_statuses_are_valid_or_refused(mutations in mutations()) {
        let pod = Pod::of(metadata().as_ref());
        let info = r#"{"sandboxID":"5a5a5a5a","pid":4711,"runtimeSpec":{"linux":{"namespaces":[{"type":"pid"}]}}}"#;
        let answer = ContainerStatusResponse {
            status: Some(status()),
            info: [("info".to_owned(), info.to_owned())].into(),
        };
        if let Some(ContainerStatusResponse { status: Some(status), info }) = mutated(&answer, &mutations) {
            let pid = Info::of(&info).pid;
            prop_assert!(pid != Some(0));
            let container = of_status(&status, pod.as_ref(), pid.unwrap_or_default());
            prop_assert!(!container.to_string().contains(char::is_control));
            prop_assert!(container.started_at().is_none_or(|started_at| started_at > SystemTime::UNIX_EPOCH));
            prop_assert!(container.created_at().is_none_or(|created_at| created_at > SystemTime::UNIX_EPOCH));
            prop_assert!(container.image().is_none_or(|image| !image.name().is_empty()));
            prop_assert!(!container.labels().contains("io.kubernetes.sandbox"));
        }
        let ready =
            PodSandboxStatus { id: "5a5a5a5a".into(), network: network(), ..PodSandboxStatus::default() };
        if let Some(ready) = mutated(&ready, &mutations) {
            let networks = of_sandbox_status(&ready, 7).networks().len();
            prop_assert!(networks <= 1);
        }
        let mutated_text = String::from_utf8_lossy(&mutate(info.into(), &mutations)).into_owned();
        prop_assert!(Info::of(&[("info".to_owned(), mutated_text)].into()).pid != Some(0));
        let listed = ListedContainer {
            id: "4b1ab74f".into(),
            pod_sandbox_id: "5a5a5a5a".into(),
            labels: status().labels,
            ..ListedContainer::default()
        };
        if let Some(listed) = mutated(&listed, &mutations) {
            prop_assert_eq!(of_listed(&listed, None).pid(), 0);
        }
        let sandbox = PodSandbox { id: "5a5a5a5a".into(), metadata: metadata(), ..PodSandbox::default() };
        if let Some(sandbox) = mutated(&sandbox, &mutations) {
            let sandbox = of_listed_sandbox(&sandbox);
            prop_assert_eq!(sandbox.labels().get("io.kubernetes.sandbox"), Some(""));
        }
    }

    #[test]
    fn only_versions_from_2_0_share_their_events(version in ".{0,12}") {
        let reported = VersionResponse {
            runtime_name: "containerd".into(),
            runtime_version: version.clone(),
            ..VersionResponse::default()
        };
        if Runtime::from(reported).shares_events() {
            let number = version.trim().trim_start_matches(['v', 'V']);
            let major: u32 = number.split('.').next().unwrap().parse().unwrap();
            prop_assert!(major >= 2, "{version}");
        }
    }
}
