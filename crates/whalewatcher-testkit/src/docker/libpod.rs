//! The list and the inspection of podman's own API, below `/libpod`. Everything else is as in Docker's API.

use serde_json::{Value, json};

use super::{
    container::{Container, Phase},
    inspect,
};

/// The ID of an image, without the algorithm.
fn image_id(image: &str) -> String {
    inspect::image_id(image).trim_start_matches("sha256:").to_owned()
}

/// The word for the state, where it differs from Docker's.
fn state(container: &Container) -> &str {
    match (&container.forced_status, container.phase) {
        (None, Phase::Restarting) => "exited",
        _ => container.status(),
    }
}

/// Returns the entry of a list.
pub(super) fn entry(container: &Container) -> Value {
    let spec = &container.spec;
    let (pod, infra) = spec.pod.as_ref().map_or(("", false), |(name, infra)| (name, *infra));
    let networks: Vec<_> = container.networks.iter().map(|(name, _)| name).collect();
    let ports = spec.ports.iter().filter_map(|port| {
        let (number, protocol) = port.container.split_once('/')?;
        let number: u16 = number.parse().ok()?;
        let host = port.host?;
        Some(json!({ "host_ip": "", "container_port": number, "host_port": host, "range": 1, "protocol": protocol }))
    });
    json!({
        "AutoRemove": spec.auto_remove,
        "Command": spec.command,
        "Created": container.created.to_string(),
        "CreatedAt": "",
        "Exited": container.phase == Phase::Exited,
        "ExitedAt": container.finished_at.map_or(-62_135_596_800, |time| time.as_second()),
        "ExitCode": container.exit_code,
        "Id": &*container.id,
        "Image": spec.image,
        "ImageID": image_id(&spec.image),
        "IsInfra": infra,
        "Labels": &*container.labels,
        "Mounts": [],
        "Names": [&*container.name],
        "Namespaces": {},
        "Networks": networks,
        "Pid": container.pid,
        "Pod": spec.pod_id(),
        "PodName": pod,
        "Ports": ports.collect::<Vec<_>>(),
        "Size": null,
        "StartedAt": container.started_at.map_or(-62_135_596_800, |time| time.as_second()),
        "State": state(container),
        "Status": container.health.as_deref().unwrap_or_default(),
    })
}

/// Returns the document of an inspection.
pub(super) fn inspect(container: &Container) -> Value {
    let spec = &container.spec;
    let mut document = inspect::inspect(container);
    document["Name"] = json!(&*container.name);
    document["Image"] = json!(image_id(&spec.image));
    document["ImageName"] = json!(spec.image);
    document["Pod"] = json!(spec.pod_id());
    document["IsInfra"] = json!(spec.pod.as_ref().is_some_and(|(_, infra)| *infra));
    document["State"]["Status"] = json!(state(container));
    document["State"]["Running"] = json!(state(container) == "running");
    document
}
