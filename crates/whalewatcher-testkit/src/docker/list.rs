//! `GET /containers/json`: parameters and entries.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    container::{Container, Phase},
    engine::Engine,
    filters::Filters,
    inspect::{image_id, networks},
    libpod,
};

/// The supported filters; dockerd has more.
const KNOWN: [&str; 3] = ["id", "label", "status"];

/// The parameters of a list.
#[derive(Debug)]
pub(super) struct Selection {
    /// Whether to list containers that are not running, too.
    pub(super) all: bool,
    pub(super) limit: Option<usize>,
    pub(super) filters: Filters,
    /// Whether in the form of podman's own API.
    pub(super) libpod: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    id: &'a str,
    names: [String; 1],
    image: &'a str,
    #[serde(rename = "ImageID")]
    image_id: String,
    command: String,
    created: i64,
    ports: Vec<Value>,
    labels: &'a BTreeMap<String, String>,
    state: &'a str,
    status: Cow<'a, str>,
    host_config: HostConfig<'a>,
    network_settings: NetworkSettings,
    mounts: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig<'a> {
    network_mode: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: Value,
}

/// Returns the list as JSON, newest first. `Err` has the message for the client.
pub(super) fn list(engine: &Engine, selection: &Selection) -> Result<Vec<u8>, String> {
    let filters = &selection.filters;
    if let Some(unknown) = filters.keys().find(|key| !KNOWN.contains(key)) {
        return Err(format!("invalid filter '{unknown}'"));
    }
    // podman's own states can be filtered for where a test set them; dockerd knows only these.
    let known = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
    let wrong = |status: &&String| !known.contains(&status.as_str());
    if let Some(wrong) = filters.values("status").iter().find(wrong).filter(|_| !engine.flavour.is_podman()) {
        return Err(format!("invalid filter 'status={wrong}'"));
    }
    let all = selection.all || !filters.values("status").is_empty();
    let (mut found, now) = {
        let state = engine.lock();
        let wanted = |c: &Container| (all || c.counts_as_running()) && filters.match_container(c);
        (state.select(wanted), engine.clock.now())
    };
    found.sort_unstable_by_key(|container| std::cmp::Reverse(container.serial));
    found.truncate(selection.limit.unwrap_or(usize::MAX));
    if selection.libpod {
        let entries: Vec<_> = found.iter().map(|container| libpod::entry(container)).collect();
        return serde_json::to_vec(&entries).map_err(|error| error.to_string());
    }
    let entries: Vec<_> = found.iter().map(|container| entry(container, now)).collect();
    serde_json::to_vec(&entries).map_err(|error| error.to_string())
}

fn entry(container: &Arc<Container>, now: Timestamp) -> Entry<'_> {
    let spec = &container.spec;
    Entry {
        id: &container.id,
        names: [format!("/{}", container.name)],
        image: &spec.image,
        image_id: image_id(&spec.image),
        command: spec.command.join(" "),
        created: container.created.as_second(),
        ports: ports(container),
        labels: &container.labels,
        state: container.status(),
        status: status(container, now),
        host_config: HostConfig { network_mode: &spec.network_mode },
        network_settings: NetworkSettings { networks: networks(container) },
        mounts: [],
    }
}

/// The ports of a live container, with the addresses at which they are published.
fn ports(container: &Container) -> Vec<Value> {
    let ports = container.spec.ports.iter().filter(|_| container.is_alive()).map(|port| {
        let (number, protocol) = port.container.split_once('/').unwrap_or((&port.container, "tcp"));
        let number: u16 = number.parse().unwrap_or_default();
        match port.host {
            Some(host) => {
                json!({ "IP": "0.0.0.0", "PrivatePort": number, "PublicPort": host, "Type": protocol })
            }
            None => json!({ "PrivatePort": number, "Type": protocol }),
        }
    });
    ports.collect()
}

/// The status in words, such as `Up 3 seconds (Paused)`.
fn status(container: &Container, now: Timestamp) -> Cow<'_, str> {
    if let Some(forced) = &container.forced_status {
        return Cow::Borrowed(forced);
    }
    let since =
        |time: Option<Timestamp>| roughly(time.map_or(0, |time| now.duration_since(time).as_secs().max(0)));
    let up = since(container.started_at);
    let code = container.exit_code;
    match (container.phase, &container.health) {
        (Phase::Created, _) => Cow::Borrowed("Created"),
        (Phase::Paused, _) => format!("Up {up} (Paused)").into(),
        (Phase::Running, None) => format!("Up {up}").into(),
        (Phase::Running, Some(health)) if &**health == "starting" => {
            format!("Up {up} (health: starting)").into()
        }
        (Phase::Running, Some(health)) => format!("Up {up} ({health})").into(),
        (Phase::Restarting, _) => format!("Restarting ({code}) {} ago", since(container.finished_at)).into(),
        (Phase::Exited, _) => format!("Exited ({code}) {} ago", since(container.finished_at)).into(),
    }
}

/// Returns a duration in Docker's words.
fn roughly(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".into(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 730 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::roughly;

    #[test]
    fn durations_are_written_in_dockers_words() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (120, "2 minutes"),
            (3600, "About an hour"),
            (3600 * 47, "47 hours"),
            (86400 * 3, "3 days"),
            (86400 * 15, "2 weeks"),
            (86400 * 70, "2 months"),
            (86400 * 800, "2 years"),
        ] {
            assert_eq!(roughly(seconds), words, "{seconds}");
        }
    }
}
