//! Decodes the list of containers.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use whalewatcher_adapter::Excerpt;
use whalewatcher_core::adapter::ListingEntry;
use whalewatcher_core::{Container, ContainerId, EngineError, Health};

use crate::decode::labels::{self, Text, Texts};
use crate::decode::uptime::started_within;
use crate::decode::{Details, json, network};
use crate::http::budget::{Body, Share};
use crate::http::error;
use crate::limits::{ENTRY, LABEL};

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

/// What is read of a malformed entry.
#[derive(Deserialize)]
struct MalformedEntry {
    #[serde(rename = "Id")]
    id: String,
}

/// How many malformed entries of a list are logged individually.
const LOGGED: usize = 10;

/// Decodes a list that was made at that time. A malformed entry does not hide the others: if its ID can be read, the container
/// is inspected. A container in an unknown state is skipped: podman has `initialized` and others beyond Docker's, and there may
/// be more in the future.
///
/// Entries have `details` only where they are certainly those of an inspection: an audit compares them.
///
/// The entries take their share of the memory budget, one by one.
pub(crate) fn decode(
    what: &str,
    body: &mut Body,
    now: Option<SystemTime>,
    details: Option<Details>,
) -> Result<Vec<ListingEntry>, EngineError> {
    let (bytes, share) = body.share();
    let is_corrupt = json::is_corrupt(bytes);
    let text = json::text(what, bytes)?;
    let mut entries =
        Entries { what, now, details, is_corrupt, share, entries: Vec::new(), count: Count::default() };
    let mut json = serde_json::Deserializer::from_str(&text);
    let full = json.deserialize_seq(&mut entries).and_then(|full| json.end().map(|()| full));
    if let Some(full) = full.map_err(|error| error::malformed(what, error))? {
        return Err(full);
    }
    let Entries { entries, count: Count { all, malformed, skipped, without_id }, .. } = entries;
    // Without any ID it is no list of containers.
    if skipped > 0 && (is_corrupt || without_id == all) {
        let why = if is_corrupt { "it is not valid UTF-8" } else { "it is no list of containers with IDs" };
        return Err(error::malformed(what, why));
    }
    if skipped > 0 {
        tracing::warn!(skipped, "skipped containers with an invalid ID");
    }
    if malformed > LOGGED {
        tracing::warn!(malformed, "inspecting containers whose listing entries are malformed");
    }
    Ok(entries)
}

/// The entries of a list that are decoded so far.
struct Entries<'a> {
    what: &'a str,
    now: Option<SystemTime>,
    details: Option<Details>,
    is_corrupt: bool,
    share: &'a mut Share,
    entries: Vec<ListingEntry>,
    count: Count,
}

#[derive(Default)]
struct Count {
    all: usize,
    malformed: usize,
    /// Entries without a valid ID, and those that are not valid UTF-8.
    skipped: usize,
    /// Of the skipped ones, those without any ID.
    without_id: usize,
}

impl<'de> Visitor<'de> for &mut Entries<'_> {
    /// The error if the budget is exhausted.
    type Value = Option<EngineError>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of containers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut full = None;
        // One by one, because there may be many.
        while let Some(entry) = entries.next_element::<&RawValue>()? {
            if full.is_none() {
                full = self.take(entry.get()).err();
            }
        }
        Ok(full)
    }
}

impl Entries<'_> {
    fn take(&mut self, text: &str) -> Result<(), EngineError> {
        self.count.all += 1;
        match serde_json::from_str::<Listed<'_>>(text) {
            Ok(listed) if ContainerId::is_plain(&listed.id) => {
                let labels = listed.labels.0.len();
                match entry(listed, self.now, self.details) {
                    Some(entry) => {
                        let networks = entry.container().networks().len();
                        self.add(entry, ENTRY + text.len() + LABEL * (labels + networks))?;
                    }
                    None => self.count.skipped += usize::from(self.is_corrupt),
                }
            }
            Ok(_) => self.count.skipped += 1,
            Err(error) => match serde_json::from_str::<MalformedEntry>(text) {
                Ok(MalformedEntry { id }) if ContainerId::is_plain(&id) => {
                    self.count.malformed += 1;
                    if self.count.malformed <= LOGGED {
                        let error = Excerpt(&error.to_string()).to_string();
                        tracing::warn!(id, error, "malformed listing entry; inspecting the container");
                    }
                    self.add(with_id_only(id.into()), ENTRY)?;
                }
                Ok(_) => self.count.skipped += 1,
                Err(_) => {
                    self.count.without_id += 1;
                    self.count.skipped += 1;
                }
            },
        }
        Ok(())
    }

    fn add(&mut self, entry: ListingEntry, bytes: usize) -> Result<(), EngineError> {
        self.share.take(self.what, bytes)?;
        self.entries.push(entry);
        Ok(())
    }
}

/// The entry of a container of which only the ID is known.
fn with_id_only(id: Arc<str>) -> ListingEntry {
    ListingEntry::Partial { container: Container::new(id.clone(), id, 0), started_within: None }
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

/// The own name among the names of a container. Docker also lists names that others gave it by linking to it: these have a
/// second slash.
#[derive(Default)]
struct OwnName(Option<Arc<str>>);

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
