//! Decodes the inspection of one container.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::value::RawValue;
use whalewatcher_core::adapter::pack;
use whalewatcher_core::{Container, ContainerId, EngineError, Health, PRIVILEGED_LABEL};

use crate::decode::common::{image_of, moment};
use crate::decode::labels::{self, Text, Texts};
use crate::decode::libpod::add_pod;
use crate::decode::list::without_slash;
use crate::decode::raw_inspection::{Packer, RawInspection};
use crate::decode::{Details, json, libpod, network};
use crate::http::answer;
use crate::http::error;

/// What is needed is decoded at once, and all else leniently: raw values may have any type.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected<'a> {
    id: Arc<str>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, borrow)]
    state: Option<State<'a>>,
    #[serde(default, borrow)]
    config: Option<Config<'a>>,
    #[serde(default, borrow)]
    host_config: Option<HostConfig<'a>>,
    /// The ID of the image.
    #[serde(default, borrow)]
    image: Option<&'a RawValue>,
    #[serde(default, borrow)]
    created: Option<&'a RawValue>,
    #[serde(default, borrow)]
    restart_count: Option<&'a RawValue>,
    #[serde(default, borrow)]
    network_settings: Option<&'a RawValue>,
    /// The ID of its pod, by podman's own API.
    #[serde(default, borrow)]
    pod: Option<&'a RawValue>,
    #[serde(default, borrow)]
    is_infra: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State<'a> {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    running: bool,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    pid: i64,
    #[serde(default)]
    started_at: Option<String>,
    #[serde(default, borrow)]
    health: Option<&'a RawValue>,
    #[serde(rename = "OOMKilled", default, borrow)]
    oom_killed: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config<'a> {
    #[serde(default)]
    labels: Texts,
    /// The name of the image.
    #[serde(default, borrow)]
    image: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthState<'a> {
    #[serde(borrow)]
    status: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings<'a> {
    #[serde(default, borrow)]
    networks: Option<&'a RawValue>,
    #[serde(default, borrow)]
    ports: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig<'a> {
    #[serde(default)]
    privileged: bool,
    #[serde(default, borrow)]
    network_mode: Option<&'a RawValue>,
}

/// Whether an answer with status 404 means that the engine has no such container. Proxies that let only some
/// requests through, and engines without this endpoint, answer with that status too.
pub(crate) fn is_gone(id: &ContainerId, body: &[u8]) -> bool {
    // Docker: `No such container: ID`; podman: `no container with name or ID "ID" found: no such container`.
    let reason = answer::reason(body);
    reason.to_lowercase().contains("no such container") && reason.contains(id.as_str())
}

/// Decodes the inspection of the container with this ID. If it has no process: `None`, or, with a packer, the
/// container with a PID of 0 and a rucksack. A start after the horizon is dropped.
pub(crate) fn decode(
    what: &str,
    id: &ContainerId,
    body: &[u8],
    horizon: SystemTime,
    details: Details,
    packer: Option<&Packer>,
) -> Result<Option<Container>, EngineError> {
    let container = decode_lossy(what, id, body, horizon, details, packer)?;
    if container.as_ref().is_none_or(|container| container.pid() == 0) && json::is_corrupt(body) {
        return Err(error::malformed(what, "it is not valid UTF-8"));
    }
    Ok(container)
}

fn decode_lossy(
    what: &str,
    id: &ContainerId,
    body: &[u8],
    horizon: SystemTime,
    details: Details,
    packer: Option<&Packer>,
) -> Result<Option<Container>, EngineError> {
    let text = json::text(what, body)?;
    let inspected: Inspected<'_> = json::parse(what, &text)?;
    // Engines also find containers by name and by the beginning of an ID: such an answer is about another one.
    if *inspected.id != **id {
        return Err(error::malformed(what, "it is about another container"));
    }
    let Some(state) = inspected.state else { return Err(error::malformed(what, "it has no State")) };
    // In podman's state `stopping` a container does not count as running, but has its process for up to 10 s
    // more (seen on 4.3.1). By podman's own API neither does one that is paused. One that waits for its
    // restart counts as running, but has no process.
    let running = state.running || state.paused || state.status.as_deref() == Some("stopping");
    let pid = if running { state.pid } else { 0 };
    if pid == 0 && packer.is_none() {
        return Ok(None);
    }
    let Ok(pid) = u32::try_from(pid) else {
        return Err(error::malformed(what, format!("{pid} is no PID")));
    };
    let name = inspected.name.as_deref().map(without_slash).filter(|name| !name.is_empty()).unwrap_or(id);
    let (mut labels, image) =
        inspected.config.map(|config| (config.labels, config.image)).unwrap_or_default();
    if inspected.host_config.as_ref().is_some_and(|config| config.privileged) {
        labels.0.push((PRIVILEGED_LABEL.into(), "".into()));
    }
    add_pod(&mut labels, inspected.pod, inspected.is_infra);
    let past = |text: &str| moment(text).filter(|at| *at <= horizon);
    let created = inspected.created.and_then(json::lenient::<Text<'_>>);
    let oom_killed = state.oom_killed.filter(|_| details.oom_kills).and_then(json::lenient::<bool>);
    let mut container = Container::new(id.clone(), name, pid)
        .with_labels(labels::of_container(labels))
        .with_paused(state.paused)
        .with_started_at(state.started_at.as_deref().and_then(past))
        .with_created_at(created.as_deref().and_then(past))
        .with_image(image_of(image, inspected.image))
        .with_health(state.health.and_then(health))
        .with_restart_count(inspected.restart_count.and_then(json::lenient::<u32>))
        .with_oom_killed(oom_killed.unwrap_or(false));
    if details.networks {
        let settings = inspected.network_settings.and_then(json::lenient::<NetworkSettings<'_>>);
        let (networks, ports) =
            settings.map(|settings| (settings.networks, settings.ports)).unwrap_or_default();
        container = container
            .with_networks(networks.map(|raw| network::networks(raw).values).unwrap_or_default())
            .with_ports(ports.map(|raw| network::inspected_ports(raw).values).unwrap_or_default());
    }
    if details.network_mode {
        let mode = inspected.host_config.and_then(|config| config.network_mode);
        let mode = mode.and_then(json::lenient::<Text<'_>>).filter(|mode| !mode.is_empty());
        container = container.with_network_mode(mode.as_deref());
    }
    let Some(packer) = packer else { return Ok(Some(container)) };
    Ok(Some(container.with_rucksack(pack(id, || packer(RawInspection::new(id, &text))))))
}

/// Returns the health; `None` without a healthcheck, which Docker writes as `none` or omits, and podman writes as `""`.
fn health(raw: &RawValue) -> Option<Health> {
    Health::of(&json::lenient::<HealthState<'_>>(raw)?.status)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ended<'a> {
    id: Arc<str>,
    #[serde(borrow)]
    state: Finish<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Finish<'a> {
    started_at: String,
    finished_at: String,
    exit_code: i32,
    #[serde(rename = "OOMKilled", default, borrow)]
    oom_killed: Option<&'a RawValue>,
}

/// When and how a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) at: SystemTime,
    pub(crate) code: Option<i32>,
    /// Whether the kernel killed a process of it for lack of memory.
    pub(crate) oom_killed: bool,
}

/// Decodes how the life that began then ended; `None` if the container is alive, or the inspection shows another life.
pub(crate) fn decode_end(
    what: &str,
    id: &ContainerId,
    body: &[u8],
    horizon: SystemTime,
    began: SystemTime,
) -> Result<Option<End>, EngineError> {
    if decode(what, id, body, horizon, Details::default(), None)?.is_some() {
        return Ok(None);
    }
    let text = json::text(what, body)?;
    let Ended { id: found, state } = json::parse(what, &text)?;
    let finished_at = moment(&state.finished_at).filter(|at| *found == **id && began < *at && *at <= horizon);
    // podman's list dates it to the second.
    let is_that_life = moment(&state.started_at)
        .is_some_and(|started| began == started || began == libpod::to_the_second(started));
    let oom_killed = state.oom_killed.and_then(json::lenient).unwrap_or(false);
    Ok(finished_at.filter(|_| is_that_life).map(|at| End { at, code: Some(state.exit_code), oom_killed }))
}

#[cfg(test)]
mod tests;
