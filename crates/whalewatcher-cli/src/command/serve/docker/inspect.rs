//! The inspection of a container: the engine's own answer, or what is known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use whalewatcher_core::fleet::FleetMember;
use whalewatcher_core::{Container, ErrorKind, Printable};

use super::{Docker, Refusal, json_bytes, json_response, shape};
use crate::advice::explain;
use crate::args::InspectSource;
use crate::hosts::inspect_json;
use crate::render::docker::labels;

/// How long an inspection may take, with its turn.
const LIMIT: Duration = Duration::from_secs(10);

/// Answers with the container that has this ID, this name, or the only one whose ID begins so.
pub(super) async fn inspect(docker: &Docker, key: &str) -> Result<Response, Refusal> {
    docker.known()?;
    let (member, container) = find(docker, key)?;
    if docker.inspect == InspectSource::Memory {
        return Ok(json_response(&known(&container)));
    }
    let watcher = &**member.watcher();
    match inspect_json(watcher, container.id().as_str(), LIMIT).await {
        // An engine without Docker's API.
        None => Ok(json_response(&known(&container))),
        Some(Ok(Some(body))) => Ok(json_bytes(body.into())),
        Some(Ok(None)) => Err(missing(key)),
        Some(Err(error)) => {
            let status = match error.kind() {
                ErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::BAD_GATEWAY,
            };
            Err(Refusal(status, explain(watcher, &error)))
        }
    }
}

/// Finds a container as dockerd does: by its ID, else by its name, else by the beginning of its ID.
fn find(docker: &Docker, key: &str) -> Result<(FleetMember, Arc<Container>), Refusal> {
    let (mut found, _) = docker.feed.known_by(std::iter::once(key), 1);
    found.retain(|(member, one)| docker.selection.matches(&**member.watcher(), one));
    let fit = |one: &Container| (one.id().as_str() == key, one.name() == key);
    let best = found.iter().map(|(_, one)| fit(one)).max();
    found.retain(|(_, one)| Some(fit(one)) == best);
    match &*found {
        [only] => Ok(only.clone()),
        [] => Err(missing(key)),
        _ => {
            let reason = format!("{} containers are known by '{}'", found.len(), Printable(key));
            Err(Refusal::invalid(format!("{reason}: name one by its ID")))
        }
    }
}

/// dockerd's words, by which clients recognize it.
fn missing(key: &str) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, format!("No such container: {}", Printable(key)))
}

/// Returns what is known, in the shape of dockerd's answer.
fn known(container: &Container) -> Value {
    let image = container.image();
    let mut ports = BTreeMap::<String, Option<Vec<Value>>>::new();
    for port in container.ports() {
        let places = ports.entry(format!("{}/{}", port.private(), port.protocol())).or_default();
        if let (Some(address), Some(public)) = (port.address(), port.public()) {
            let place = json!({ "HostIp": address.to_string(), "HostPort": public.to_string() });
            places.get_or_insert_default().push(place);
        }
    }
    let mut state = json!({
        "Status": if container.paused() { "paused" } else { "running" },
        "Running": true,
        "Paused": container.paused(),
        "Restarting": false,
        "OOMKilled": container.oom_killed(),
        "Dead": false,
        "Pid": container.pid(),
        "ExitCode": 0,
        "Error": "",
        "StartedAt": shape::moment(container.started_at()),
        "FinishedAt": shape::moment(None),
    });
    if let Some(health) = container.health() {
        state["Health"] = json!({ "Status": health.as_str(), "FailingStreak": 0, "Log": [] });
    }
    json!({
        "Id": container.id().as_str(),
        "Created": shape::moment(container.created_at()),
        "Path": "",
        "Args": [],
        "State": state,
        "Image": image.and_then(|image| image.id()).unwrap_or_default(),
        "Name": format!("/{}", container.name()),
        "RestartCount": container.restart_count().unwrap_or_default(),
        "Mounts": [],
        "HostConfig": {
            "NetworkMode": shape::network_mode(container),
            "Privileged": container.privileged(),
        },
        "Config": {
            "Image": image.map(|image| image.name()).unwrap_or_default(),
            "Labels": labels(container).collect::<BTreeMap<_, _>>(),
        },
        "NetworkSettings": { "Ports": ports, "Networks": shape::networks(container) },
    })
}
