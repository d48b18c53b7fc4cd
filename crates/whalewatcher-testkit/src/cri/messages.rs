//! The runtime's messages about sandboxes and containers.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use whalewatcher_api::cri::v1 as api;

use super::record::{Phase, Record};

/// The digest of every image.
const DIGEST: &str = "sha256:3fbc632167424a6d997e74f52b878d7cc478225cffac6bc977eedfe51c7f4e79";

pub(super) fn listed_container(record: &Record) -> api::Container {
    api::Container {
        id: record.id.to_string(),
        pod_sandbox_id: record.sandbox_id().to_string(),
        metadata: Some(container_metadata(record)),
        // The kubelet creates containers with the image's ID.
        image: Some(api::ImageSpec { image: DIGEST.into(), ..api::ImageSpec::default() }),
        image_ref: DIGEST.into(),
        state: record.state(),
        created_at: nanoseconds(record.created),
        labels: map(&record.labels),
        annotations: map(&record.annotations),
        ..api::Container::default()
    }
}

pub(super) fn listed_sandbox(record: &Record) -> api::PodSandbox {
    api::PodSandbox {
        id: record.id.to_string(),
        metadata: Some(sandbox_metadata(record)),
        state: record.state(),
        created_at: nanoseconds(record.created),
        labels: map(&record.labels),
        annotations: map(&record.annotations),
        runtime_handler: String::new(),
    }
}

pub(super) fn container_status(record: &Record) -> api::ContainerStatus {
    // Before the start and before the end the times are 0, and not left out.
    let started = record.started.filter(|_| record.phase != Phase::Created);
    let reason = match record.ended {
        None => "",
        Some(_) if record.out_of_memory => "OOMKilled",
        Some(ended) if ended.code == 0 => "Completed",
        Some(_) => "Error",
    };
    api::ContainerStatus {
        id: record.id.to_string(),
        metadata: Some(container_metadata(record)),
        state: record.state(),
        created_at: nanoseconds(record.created),
        started_at: started.map_or(0, nanoseconds),
        finished_at: record.ended.map_or(0, |ended| nanoseconds(ended.at)),
        exit_code: record.ended.map_or(0, |ended| ended.code),
        image: Some(image(record)),
        image_ref: DIGEST.into(),
        reason: reason.into(),
        labels: map(&record.labels),
        annotations: map(&record.annotations),
        ..api::ContainerStatus::default()
    }
}

pub(super) fn sandbox_status(record: &Record) -> api::PodSandboxStatus {
    let mode = match record.pod.addresses[..] {
        [] => api::NamespaceMode::Node,
        _ => api::NamespaceMode::Pod,
    };
    let options = api::NamespaceOption { network: mode.into(), ..Default::default() };
    api::PodSandboxStatus {
        id: record.id.to_string(),
        metadata: Some(sandbox_metadata(record)),
        state: record.state(),
        created_at: nanoseconds(record.created),
        network: Some(network(record)),
        linux: Some(api::LinuxPodSandboxStatus {
            namespaces: Some(api::Namespace { options: Some(options) }),
        }),
        labels: map(&record.labels),
        annotations: map(&record.annotations),
        runtime_handler: String::new(),
    }
}

/// A sandbox that is not ready has no network any more.
fn network(record: &Record) -> api::PodSandboxNetworkStatus {
    let mut addresses = record.pod.addresses.iter().filter(|_| record.phase == Phase::Running).cloned();
    let ip = addresses.next().unwrap_or_default();
    api::PodSandboxNetworkStatus { ip, additional_ips: addresses.map(|ip| api::PodIp { ip }).collect() }
}

pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(if time.as_second() < 0 { i64::MIN } else { i64::MAX })
}

fn container_metadata(record: &Record) -> api::ContainerMetadata {
    api::ContainerMetadata { name: record.name.clone(), attempt: record.attempt }
}

fn sandbox_metadata(record: &Record) -> api::PodSandboxMetadata {
    let pod = record.pod.clone();
    api::PodSandboxMetadata {
        name: pod.name,
        uid: pod.uid,
        namespace: pod.namespace,
        attempt: record.attempt,
    }
}

fn image(record: &Record) -> api::ImageSpec {
    api::ImageSpec { image: record.image.clone(), ..api::ImageSpec::default() }
}

fn map(entries: &BTreeMap<String, String>) -> HashMap<String, String> {
    entries.clone().into_iter().collect()
}
