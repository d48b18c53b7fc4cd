//! The list of containers.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::response::Response;
use serde::Serialize;
use whalewatcher_core::{Container, Port, Watcher};

use super::filters::Filters;
use super::shape::{self, Place};
use super::{Docker, Refusal, json_response, parameter};
use crate::render::column::status;
use crate::render::docker::labels;
use crate::starts::started_at;

/// An entry as dockerd has it. There is no command, because engines report that in inspections only.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed<'a> {
    id: &'a str,
    names: [String; 1],
    image: &'a str,
    #[serde(rename = "ImageID")]
    image_id: &'a str,
    command: &'static str,
    created: u64,
    ports: Vec<ListedPort>,
    labels: BTreeMap<&'a str, &'a str>,
    state: &'static str,
    status: String,
    host_config: HostConfig<'a>,
    network_settings: NetworkSettings<'a>,
    mounts: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedPort {
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    private_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_port: Option<u16>,
    #[serde(rename = "Type")]
    protocol: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    network_mode: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings<'a> {
    networks: BTreeMap<&'a str, Place<'a>>,
}

/// Answers with the containers that the query asks for, the newest first. There are live ones only, whether
/// or not `all` is set, and sizes are not known.
pub(super) fn list(docker: &Docker, query: &str) -> Result<Response, Refusal> {
    let filters =
        parameter(query, "filters").map_or_else(|| Ok(Filters::default()), |text| Filters::parse(&text))?;
    let limit = match parameter(query, "limit") {
        Some(limit) => limit.parse::<i64>().map_err(|_| Refusal::invalid("'limit' is no number"))?,
        None => 0,
    };
    let selection = filters.selection()?;
    let now = docker.known()?;
    let shown = now.containers().filter(|(member, one)| {
        let watcher = &**member.watcher();
        docker.selection.matches(watcher, one)
            && selection.as_ref().is_some_and(|selection| selection.matches(watcher, one))
    });
    let mut shown: Vec<_> = shown.collect();
    shown.sort_by_key(|(_, one)| std::cmp::Reverse((one.created_at(), one.started_at())));
    if let Ok(limit @ 1..) = usize::try_from(limit) {
        shown.truncate(limit);
    }
    let at = SystemTime::now();
    Ok(json_response(
        &shown.into_iter().map(|(member, one)| listed(&**member.watcher(), one, at)).collect::<Vec<_>>(),
    ))
}

fn listed<'a>(watcher: &dyn Watcher, container: &'a Container, now: SystemTime) -> Listed<'a> {
    let image = container.image();
    let created = container.created_at().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Listed {
        id: container.id().as_str(),
        names: [format!("/{}", container.name())],
        image: image.map(|image| image.name()).unwrap_or_default(),
        image_id: image.and_then(|image| image.id()).unwrap_or_default(),
        command: "",
        created: created.map(|since| since.as_secs()).unwrap_or_default(),
        ports: container.ports().iter().map(port).collect(),
        labels: labels(container).collect(),
        state: if container.paused() { "paused" } else { "running" },
        status: status(container, started_at(watcher, container), now),
        host_config: HostConfig { network_mode: shape::network_mode(container) },
        network_settings: NetworkSettings { networks: shape::networks(container) },
        mounts: [],
    }
}

fn port(port: &Port) -> ListedPort {
    ListedPort {
        ip: port.address().map(|address| address.to_string()),
        private_port: port.private(),
        public_port: port.public(),
        protocol: port.protocol().as_str(),
    }
}
