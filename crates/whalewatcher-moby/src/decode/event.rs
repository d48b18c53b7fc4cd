//! Decodes a line of the event stream.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{Container, ContainerId, EngineError, Health, Image, Labels};

use crate::decode::json;
use crate::decode::labels::{Text, Texts};
use crate::decode::libpod::PODMAN_POD_ID_LABEL;
use crate::decode::list::without_slash;
use crate::decode::partial_event::{PartialEvent, read_partial};
use crate::http::error;
use crate::http::lines::Line;

pub(crate) const WHAT: &str = "GET /events";

/// The actions that may change the portfolio. Engines that filter by them compare them exactly, and ignore
/// those that they do not know.
pub(crate) const ACTIONS: [&str; 15] = [
    "start",
    "restore",
    "die",
    "died",
    "pause",
    "unpause",
    "rename",
    "update",
    "oom",
    HEALTH,
    CONNECT,
    DISCONNECT,
    "checkpoint",
    "destroy",
    "remove",
];

/// The action of a change of health. dockerd appends the health, behind a colon.
pub(crate) const HEALTH: &str = "health_status";

/// The actions of networks.
pub(crate) const CONNECT: &str = "connect";
pub(crate) const DISCONNECT: &str = "disconnect";

/// The attributes of an event that are not labels.
const NOT_LABELS: [&str; 8] =
    ["name", "image", "exitCode", "containerExitCode", "execDuration", "signal", "oldName", "podId"];

/// An event that matters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) event: EngineEvent,
    /// Whether the container is better inspected a moment later: it may be about to exit, or the result of a
    /// health probe may not be there yet.
    pub(crate) may_wait: bool,
}

impl From<EngineEvent> for Decoded {
    fn from(event: EngineEvent) -> Self {
        Self { event, may_wait: false }
    }
}

/// An event, borrowed from its line, because little of most events is kept.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "Type", default, borrow)]
    kind: Option<Text<'a>>,
    #[serde(rename = "Action", default, borrow)]
    action: Option<Text<'a>>,
    #[serde(rename = "Actor", default, borrow)]
    actor: Option<Actor<'a>>,
    /// The action, in API versions before `Action`.
    #[serde(default, borrow)]
    status: Option<Text<'a>>,
    /// The ID, in API versions before `Actor`.
    #[serde(default, borrow)]
    id: Option<Text<'a>>,
    /// The health, of podman's events (not those of 4.3).
    #[serde(rename = "HealthStatus", default, borrow)]
    health: Option<Text<'a>>,
    #[serde(rename = "timeNano", default)]
    time_nano: Option<i64>,
    #[serde(default)]
    time: Option<i64>,
}

#[derive(Deserialize, Default)]
struct Actor<'a> {
    #[serde(rename = "ID", default, borrow)]
    id: Option<Text<'a>>,
    #[serde(rename = "Attributes", default, borrow)]
    attributes: Texts<Text<'a>>,
}

/// Decodes a line; `None` if the event does not matter or its kind is not known. Times after the horizon are dropped. A
/// malformed event is logged unless it is a replay.
pub(crate) fn decode(
    line: &Line,
    horizon: SystemTime,
    is_replay: bool,
) -> Result<Option<Decoded>, EngineError> {
    let event = match line {
        Line::Whole(bytes) if bytes.trim_ascii().is_empty() => return Ok(None),
        Line::Whole(bytes) => {
            let text = lossy(bytes);
            match json::parse(WHAT, &text) {
                Ok(message) => {
                    let decoded = decode_message(message, horizon, is_replay);
                    if let Cow::Owned(_) = text { decoded.map(without_preview) } else { decoded }
                }
                Err(error) => inspect_instead(read_partial(&text), error, is_replay)?,
            }
        }
        Line::Truncated(bytes) => {
            let error = error::too_large(WHAT, bytes.len());
            inspect_instead(read_partial(&lossy(bytes)), error, is_replay)?
        }
    };
    match (event, line) {
        (None, Line::Whole(bytes)) if json::is_corrupt(bytes) => {
            Err(error::malformed(WHAT, "it is not valid UTF-8"))
        }
        (event, _) => Ok(event),
    }
}

/// Leaves out names and labels, which are damaged: the container is inspected.
fn without_preview(decoded: Decoded) -> Decoded {
    match decoded.event {
        EngineEvent::Started { id, at, pid, .. } => {
            Decoded { event: EngineEvent::Started { id, at, pid, preview: None }, ..decoded }
        }
        event => Decoded { event, ..decoded },
    }
}

/// Replaces invalid UTF-8. Checking first is far quicker than replacing.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Decodes an event whose every part is as expected. One that names no container does not matter.
fn decode_message(message: Message<'_>, horizon: SystemTime, is_replay: bool) -> Option<Decoded> {
    let is_of_network = match message.kind.as_deref() {
        None | Some("container") => false,
        Some("network") => true,
        Some(_) => return None,
    };
    let Actor { id, attributes } = message.actor.unwrap_or_default();
    let id = id.filter(|id| !id.is_empty()).or(message.id).filter(|id| !id.is_empty())?;
    let action = message.action.filter(|action| !action.is_empty()).or(message.status)?;
    let (action, detail) =
        action.split_once(':').map_or((&*action, None), |(verb, detail)| (verb, Some(detail)));
    if !ACTIONS.contains(&action) || is_of_network != [CONNECT, DISCONNECT].contains(&action) {
        return None;
    }
    // The actor is the network; in podman's events it is the container.
    let id = match attributes.get("container").filter(|id| is_of_network && !id.is_empty()) {
        Some(id) => id,
        None => &id,
    };
    if !ContainerId::is_plain(id) {
        skip(id, is_replay);
        return None;
    }
    let id: Arc<str> = Arc::from(id);
    let at = moment(message.time_nano, message.time).filter(|at| *at <= horizon);
    let event = match action {
        "start" => {
            let preview = preview(&id, &attributes).map(Box::new);
            EngineEvent::Started { id: id.into(), at, pid: None, preview }
        }
        // podman: from a checkpoint.
        "restore" => EngineEvent::Started { id: id.into(), at, pid: None, preview: None },
        "die" | "died" => {
            let code = attributes.get("exitCode").or_else(|| attributes.get("containerExitCode"));
            EngineEvent::Exited {
                id: id.into(),
                pid: None,
                at,
                code: code.and_then(|code| code.parse().ok()),
            }
        }
        "pause" => EngineEvent::Paused { id: id.into(), at },
        "unpause" => EngineEvent::Unpaused { id: id.into(), at },
        "oom" => EngineEvent::OomKilled { id: id.into(), at },
        HEALTH => match detail.map(str::trim).or(message.health.as_deref()) {
            Some(health) => EngineEvent::Health { id: id.into(), at, health: Health::of(health)? },
            None => EngineEvent::Changed { id: id.into(), at },
        },
        "rename" | "update" | CONNECT | DISCONNECT | "checkpoint" | "destroy" | "remove" => {
            EngineEvent::Changed { id: id.into(), at }
        }
        _ => return None,
    };
    let may_wait = action == DISCONNECT || action == HEALTH && matches!(event, EngineEvent::Changed { .. });
    Some(Decoded { event, may_wait })
}

/// Turns a malformed event into a reason to inspect its container, if it names one.
fn inspect_instead(
    event: PartialEvent,
    error: EngineError,
    is_replay: bool,
) -> Result<Option<Decoded>, EngineError> {
    let PartialEvent { kind, action, actor, id } = event;
    let action = action.as_deref().map(verb);
    let matters = match kind.as_deref() {
        None | Some("container") => action.is_none_or(|action| ACTIONS.contains(&action)),
        Some("network") => action.is_none_or(|action| [CONNECT, DISCONNECT].contains(&action)),
        Some(_) => false,
    };
    if !matters {
        return Ok(None);
    }
    if kind.as_deref() == Some("network") {
        // The container is among the attributes.
        return Err(error);
    }
    match actor.filter(|id| !id.is_empty()).or(id) {
        Some(id) if ContainerId::is_plain(&id) => {
            if !is_replay {
                tracing::warn!(id, %error, "malformed event; inspecting the container");
            }
            Ok(Some(EngineEvent::Touched { id: id.into(), at: None }.into()))
        }
        Some(id) => {
            skip(&id, is_replay);
            Ok(None)
        }
        None => Err(error),
    }
}

fn skip(id: &str, is_replay: bool) {
    if !is_replay {
        tracing::warn!(bytes = id.len(), "skipped an event with an invalid container ID");
    }
}

/// Returns an action without details, which may follow behind a colon.
fn verb(action: &str) -> &str {
    action.split(':').next().unwrap_or_default()
}

/// Returns the preview of a container from the attributes of its start event, which contain its labels.
fn preview(id: &Arc<str>, attributes: &Texts<Text<'_>>) -> Option<Container> {
    let name: Arc<str> = without_slash(attributes.get("name")?).into();
    let labels = attributes.0.iter().map(|(key, value)| (&**key, &**value));
    let pod = attributes.get("podId").filter(|pod| !pod.is_empty()).map(|pod| (PODMAN_POD_ID_LABEL, pod));
    let labels = labels.filter(|(key, _)| !NOT_LABELS.contains(key)).chain(pod);
    let image = attributes.get("image").filter(|image| !image.is_empty()).map(Image::new);
    Some(Container::new(id.clone(), name, 0).with_labels(Labels::from_iter(labels)).with_image(image))
}

fn moment(nanos: Option<i64>, seconds: Option<i64>) -> Option<SystemTime> {
    let positive = |number: &i64| *number > 0;
    let nanos = nanos.filter(positive).map(|nanos| Duration::from_nanos(nanos.unsigned_abs()));
    let seconds = seconds.filter(positive).map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    UNIX_EPOCH.checked_add(nanos.or(seconds)?)
}

#[cfg(test)]
mod tests;
