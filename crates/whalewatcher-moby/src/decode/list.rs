//! Decodes Docker's list of containers.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use whalewatcher_core::adapter::ListingEntry;
use whalewatcher_core::{Container, ContainerId, EngineError, Health};

use crate::decode::entries::{Read, decode_entries, with_id_only};
use crate::decode::labels::{self, Text, Texts};
use crate::decode::uptime::started_within;
use crate::decode::{Details, json, network};
use crate::http::budget::Body;

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
    status: Option<String>,
    #[serde(default, borrow)]
    ports: Option<&'a RawValue>,
    #[serde(default, borrow)]
    network_settings: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings<'a> {
    #[serde(default, borrow)]
    networks: Option<&'a RawValue>,
}

/// Decodes a list that was made at that time. A container in an unknown state is skipped: podman has
/// `initialized` and others beyond Docker's, and there may be more in the future.
///
/// Entries have `details` only where they are certainly those of an inspection: an audit compares them.
pub(crate) fn decode(
    what: &str,
    body: &mut Body,
    now: Option<SystemTime>,
    details: Option<Details>,
) -> Result<Vec<ListingEntry>, EngineError> {
    decode_entries(what, body, |text| {
        let listed: Listed<'_> = serde_json::from_str(text)?;
        if !ContainerId::is_plain(&listed.id) {
            return Ok(Read::InvalidId);
        }
        let labels = listed.labels.0.len();
        Ok(match entry(listed, now, details) {
            Some(entry) => {
                let texts = labels + entry.container().networks().len();
                Read::Alive(entry, texts)
            }
            None => Read::NotAlive,
        })
    })
}

fn entry(listed: Listed<'_>, now: Option<SystemTime>, details: Option<Details>) -> Option<ListingEntry> {
    let paused = match listed.state.as_deref() {
        Some("running" | "stopping") => false,
        Some("paused") => true,
        Some(_) => return None,
        None => return Some(with_id_only(listed.id)),
    };
    let name = listed.names.0.unwrap_or_else(|| listed.id.clone());
    let labels = labels::of_container(listed.labels);
    let started_within = now.and_then(|now| started_within(listed.status.as_deref()?, now));
    let mut container = Container::new(listed.id, name, 0).with_labels(labels).with_paused(paused);
    if let Some(details) = details {
        container = container.with_health(listed.status.as_deref().and_then(health));
        if details.networks {
            let settings = listed.network_settings.and_then(json::lenient::<NetworkSettings<'_>>);
            let networks = settings.and_then(|settings| network::networks(settings.networks?).complete());
            container = networks.into_iter().fold(container, Container::with_networks);
            let ports = listed.ports.and_then(|ports| network::listed_ports(ports).complete());
            container = ports.into_iter().fold(container, Container::with_ports);
        }
    }
    Some(ListingEntry::Partial { container, started_within })
}

/// Returns the health by a status such as `Up 3 seconds (healthy)`. That of a paused container lacks it.
fn health(status: &str) -> Option<Health> {
    let (_, health) = status.strip_suffix(')')?.rsplit_once('(')?;
    Health::of(health.strip_prefix("health: ").unwrap_or(health))
}

/// The own name among the names of a container. Docker also lists names that others gave it by linking to it:
/// these have a second slash.
#[derive(Default)]
pub(super) struct OwnName(pub(super) Option<Arc<str>>);

impl<'de> Deserialize<'de> for OwnName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = OwnName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names, or null")
            }

            fn visit_unit<E>(self) -> Result<OwnName, E> {
                Ok(OwnName(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<OwnName, A::Error> {
                let (mut first, mut own) = (None, None);
                while let Some(name) = names.next_element::<Text<'de>>()? {
                    if own.is_none() && !without_slash(&name).contains('/') {
                        own = Some(Arc::from(without_slash(&name)));
                    } else if first.is_none() {
                        first = Some(Arc::from(without_slash(&name)));
                    }
                }
                Ok(OwnName(own.or(first)))
            }
        }

        deserializer.deserialize_any(Names)
    }
}

/// Returns a container's name as users know it.
pub(crate) fn without_slash(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

#[cfg(test)]
mod tests;
