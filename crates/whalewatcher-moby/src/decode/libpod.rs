//! Decodes the list of podman's own API, which contains PIDs, pods and start times.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::value::RawValue;
use whalewatcher_core::adapter::ListingEntry;
use whalewatcher_core::{Container, ContainerId, EngineError, Health, Network};

use crate::decode::common::{image_of, moment};
use crate::decode::entries::{Read, decode_entries, with_id_only};
use crate::decode::labels::{self, Text, Texts};
use crate::decode::list::OwnName;
use crate::decode::{json, network};
use crate::http::budget::Body;
use crate::limits::MAX_NETWORKS;

/// The label that contains the name of a container's pod in podman.
pub const PODMAN_POD_NAME_LABEL: &str = "io.github.thediveo/podman/podname";
/// The label that contains the ID of a container's pod in podman.
pub const PODMAN_POD_ID_LABEL: &str = "io.github.thediveo/podman/podid";
/// The label, with an empty value, of the container that holds the namespaces of its pod in podman.
pub const PODMAN_INFRA_LABEL: &str = "io.github.thediveo/podman/infra";

/// The precision of the start times in a list.
const SECOND: Duration = Duration::from_secs(1);

/// The states in which a container has no process of its own. In `initialized` it has one that waits to become it.
const NOT_ALIVE: [&str; 6] = ["configured", "created", "exited", "initialized", "removing", "stopped"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed<'a> {
    id: Arc<str>,
    #[serde(default)]
    names: OwnName,
    #[serde(default)]
    labels: Texts,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    pid: i64,
    #[serde(default)]
    started_at: i64,
    /// The health.
    #[serde(default, borrow)]
    status: Option<&'a RawValue>,
    #[serde(default, borrow)]
    created: Option<&'a RawValue>,
    #[serde(default, borrow)]
    image: Option<&'a RawValue>,
    #[serde(rename = "ImageID", default, borrow)]
    image_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pod: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pod_name: Option<&'a RawValue>,
    #[serde(default, borrow)]
    is_infra: Option<&'a RawValue>,
    #[serde(default, borrow)]
    networks: Option<&'a RawValue>,
    #[serde(default, borrow)]
    ports: Option<&'a RawValue>,
    /// Not before podman 5.
    #[serde(default, borrow)]
    restarts: Option<&'a RawValue>,
}

/// What the entries of a list are decoded to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// The lives that began before are as the list shows them; it dates them to the second. Others are to be inspected.
    pub(crate) listed_until: Option<SystemTime>,
    /// Whether all entries are only to be compared with what is known.
    pub(crate) is_audit: bool,
    pub(crate) networks: bool,
    /// Later times are dropped.
    pub(crate) horizon: SystemTime,
}

/// Whether a life that began then, or in the second after, is as a list shows it.
pub(crate) fn is_listed(began: Option<SystemTime>, listed_until: Option<SystemTime>) -> bool {
    let ended = began.and_then(|began| to_the_second(began).checked_add(SECOND));
    ended.zip(listed_until).is_some_and(|(ended, until)| ended <= until)
}

/// Returns a time as lists contain it.
pub(crate) fn to_the_second(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// Decodes a list. A malformed entry does not hide the others: if its ID can be read, the container is
/// inspected. So are all containers of a list that is not valid UTF-8, because what it shows may be damaged
/// anywhere.
pub(crate) fn decode(what: &str, body: &mut Body, form: Form) -> Result<Vec<ListingEntry>, EngineError> {
    let listed_until = form.listed_until.filter(|_| !json::is_corrupt(body));
    let form = Form { listed_until, ..form };
    decode_entries(what, body, |text| {
        let listed: Listed<'_> = serde_json::from_str(text)?;
        if !ContainerId::is_plain(&listed.id) {
            return Ok(Read::InvalidId);
        }
        let texts = listed.labels.0.len();
        Ok(match entry(listed, form) {
            Some(entry) => {
                let texts = texts + entry.container().networks().len();
                Read::Alive(entry, texts)
            }
            None => Read::NotAlive,
        })
    })
}

fn entry(listed: Listed<'_>, form: Form) -> Option<ListingEntry> {
    let pid = u32::try_from(listed.pid).unwrap_or(0);
    let paused = match listed.state.as_deref() {
        // While it is being stopped, it has its process for up to 10 s more.
        Some("running" | "stopping") => false,
        Some("paused") => true,
        Some(state) if NOT_ALIVE.contains(&state) || pid == 0 => return None,
        Some(_) | None => return Some(with_id_only(listed.id)),
    };
    let seconds = u64::try_from(listed.started_at).ok().filter(|seconds| *seconds > 0);
    let began = seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    let began = began.filter(|began| *began <= form.horizon);
    let name = listed.names.0.unwrap_or_else(|| listed.id.clone());
    let text = |raw: &'_ RawValue| json::lenient::<Text<'_>>(raw).map(|text| text.to_string());
    let mut labels = listed.labels;
    add_pod(&mut labels, listed.pod, listed.is_infra);
    if let Some(name) = listed.pod_name.and_then(text).filter(|name| !name.is_empty()) {
        labels.0.push((PODMAN_POD_NAME_LABEL.into(), name.into()));
    }
    let created = listed.created.and_then(text).and_then(|text| moment(&text));
    let container = Container::new(listed.id, name, pid)
        .with_labels(labels::of_container(labels))
        .with_paused(paused)
        .with_created_at(created.filter(|created| *created <= form.horizon))
        .with_image(image_of(listed.image, listed.image_id))
        .with_health(listed.status.and_then(text).and_then(|status| Health::of(&status)))
        .with_restart_count(listed.restarts.and_then(json::lenient::<u32>));
    if form.is_audit || pid == 0 || !is_listed(began, form.listed_until) {
        let started_within = began.and_then(|began| Some(began..=began.checked_add(SECOND)?));
        return Some(ListingEntry::Partial { container, started_within });
    }
    let mut container = container.with_started_at(began);
    if form.networks {
        let names = listed.networks.and_then(json::lenient::<Option<Vec<Text<'_>>>>).flatten();
        let names = names.filter(|names| names.len() <= MAX_NETWORKS).unwrap_or_default();
        container = container
            .with_networks(names.iter().map(|name| Network::new(&**name)))
            .with_ports(listed.ports.map(network::mapped_ports).unwrap_or_default());
    }
    Some(ListingEntry::Whole(container))
}

/// Adds the labels of a container's pod, whose ID lists and inspections contain.
pub(crate) fn add_pod(labels: &mut Texts, pod: Option<&RawValue>, is_infra: Option<&RawValue>) {
    if let Some(pod) = pod.and_then(json::lenient::<Text<'_>>).filter(|pod| !pod.is_empty()) {
        labels.0.push((PODMAN_POD_ID_LABEL.into(), (*pod).into()));
    }
    if is_infra.and_then(json::lenient::<bool>) == Some(true) {
        labels.0.push((PODMAN_INFRA_LABEL.into(), "".into()));
    }
}

#[cfg(test)]
mod tests;
