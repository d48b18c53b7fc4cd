//! Decodes the inspection of one container.

use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Deserialize;
use whalewatcher_core::adapter::pack;
use whalewatcher_core::{Container, ContainerId, EngineError};

use crate::decode::json;
use crate::decode::labels::{self, Texts};
use crate::decode::list::without_slash;
use crate::decode::raw_inspection::{Packer, RawInspection};
use crate::http::answer;
use crate::http::error;

/// A label that this adapter adds to privileged containers, with an empty value.
pub const PRIVILEGED_LABEL: &str = "github.com/thediveo/whalewatcher/moby/privileged";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: Arc<str>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    state: Option<State>,
    #[serde(default)]
    config: Option<Config>,
    #[serde(default)]
    host_config: Option<HostConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
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
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    labels: Texts,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    privileged: bool,
}

/// Whether an answer with status 404 means that the engine has no such container. Proxies that let only some requests through,
/// and engines without this endpoint, answer with that status too.
pub(crate) fn is_gone(id: &ContainerId, body: &[u8]) -> bool {
    // Docker: `No such container: ID`; podman: `no container with name or ID "ID" found: no such container`.
    let reason = answer::reason(body);
    reason.to_lowercase().contains("no such container") && reason.contains(id.as_str())
}

/// Decodes the inspection of the container with this ID; `None` if it has no process. A start after the horizon is dropped.
pub(crate) fn decode(
    what: &str,
    id: &ContainerId,
    body: &[u8],
    horizon: SystemTime,
    packer: Option<&Packer>,
) -> Result<Option<Container>, EngineError> {
    let container = decode_lossy(what, id, body, horizon, packer)?;
    if container.is_none() && json::is_corrupt(body) {
        return Err(error::malformed(what, "it is not valid UTF-8"));
    }
    Ok(container)
}

fn decode_lossy(
    what: &str,
    id: &ContainerId,
    body: &[u8],
    horizon: SystemTime,
    packer: Option<&Packer>,
) -> Result<Option<Container>, EngineError> {
    let inspected: Inspected = json::decode(what, body)?;
    // Engines also find containers by name and by the beginning of an ID: such an answer is about another one.
    if *inspected.id != **id {
        return Err(error::malformed(what, "it is about another container"));
    }
    let Some(state) = inspected.state else { return Err(error::malformed(what, "it has no State")) };
    // In podman's state `stopping` a container does not count as running, but has its process for up to 10 s more (seen on
    // 4.3.1). One that waits for its restart counts as running, but has no process.
    let running = state.running || state.status.as_deref() == Some("stopping");
    if !running || state.pid == 0 {
        return Ok(None);
    }
    let Ok(pid) = u32::try_from(state.pid) else {
        return Err(error::malformed(what, format!("{} is no PID", state.pid)));
    };
    let name = inspected.name.as_deref().map(without_slash).filter(|name| !name.is_empty()).unwrap_or(id);
    let mut labels = inspected.config.map(|config| config.labels).unwrap_or_default();
    if inspected.host_config.is_some_and(|config| config.privileged) {
        labels.0.push((PRIVILEGED_LABEL.into(), "".into()));
    }
    let container = Container::new(id.clone(), name, pid)
        .with_labels(labels::of_container(labels))
        .with_paused(state.paused)
        .with_started_at(state.started_at.as_deref().and_then(moment).filter(|started| *started <= horizon));
    let Some(packer) = packer else { return Ok(Some(container)) };
    let text = json::text(what, body)?;
    Ok(Some(container.with_rucksack(pack(id, || packer(RawInspection::new(id, &text))))))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ended {
    id: Arc<str>,
    state: Finish,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Finish {
    started_at: String,
    finished_at: String,
    exit_code: i32,
}

/// When and how a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) at: SystemTime,
    pub(crate) code: Option<i32>,
}

/// Decodes how the life that began then ended; `None` if the container is alive, or the inspection shows another life.
pub(crate) fn decode_end(
    what: &str,
    id: &ContainerId,
    body: &[u8],
    horizon: SystemTime,
    began: SystemTime,
) -> Result<Option<End>, EngineError> {
    if decode(what, id, body, horizon, None)?.is_some() {
        return Ok(None);
    }
    let Ended { id: found, state } = json::decode(what, body)?;
    let finished_at = moment(&state.finished_at).filter(|at| *found == **id && began < *at && *at <= horizon);
    let is_that_life = moment(&state.started_at) == Some(began);
    Ok(finished_at.filter(|_| is_that_life).map(|at| End { at, code: Some(state.exit_code) }))
}

/// Parses a time; `None` for the year 1, which Docker writes for what never happened.
fn moment(text: &str) -> Option<SystemTime> {
    let timestamp: Timestamp = text.parse().ok()?;
    (timestamp > Timestamp::UNIX_EPOCH).then(|| SystemTime::try_from(timestamp).ok())?
}

#[cfg(test)]
mod tests;
