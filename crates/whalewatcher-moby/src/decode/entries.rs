//! Decodes a list of containers entry by entry, whatever the entries look like.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use whalewatcher_adapter::Excerpt;
use whalewatcher_core::adapter::ListingEntry;
use whalewatcher_core::{Container, ContainerId, EngineError};

use crate::decode::json;
use crate::http::budget::{Body, Share};
use crate::http::error;
use crate::limits::{ENTRY, LABEL};

/// What an entry contains.
pub(crate) enum Read {
    /// A container that is alive or may be, and the number of its texts, such as labels.
    Alive(ListingEntry, usize),
    NotAlive,
    InvalidId,
}

/// What is read of a malformed entry.
#[derive(Deserialize)]
struct MalformedEntry {
    #[serde(rename = "Id")]
    id: String,
}

/// How many malformed entries of a list are logged individually.
const LOGGED: usize = 10;

/// Decodes a list by decoding each entry. A malformed entry does not hide the others: if its ID can be read,
/// the container is inspected.
///
/// The entries take their share of the memory budget, one by one.
pub(crate) fn decode_entries<R>(
    what: &str,
    body: &mut Body,
    read: R,
) -> Result<Vec<ListingEntry>, EngineError>
where
    R: Fn(&str) -> serde_json::Result<Read>,
{
    let (bytes, share) = body.share();
    let is_corrupt = json::is_corrupt(bytes);
    let text = json::text(what, bytes)?;
    let mut entries = Entries { what, read, is_corrupt, share, entries: Vec::new(), count: Count::default() };
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
struct Entries<'a, R> {
    what: &'a str,
    read: R,
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

impl<'de, R: Fn(&str) -> serde_json::Result<Read>> Visitor<'de> for &mut Entries<'_, R> {
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

impl<R: Fn(&str) -> serde_json::Result<Read>> Entries<'_, R> {
    fn take(&mut self, text: &str) -> Result<(), EngineError> {
        self.count.all += 1;
        match (self.read)(text) {
            Ok(Read::Alive(entry, texts)) => self.add(entry, ENTRY + text.len() + LABEL * texts)?,
            Ok(Read::NotAlive) => self.count.skipped += usize::from(self.is_corrupt),
            Ok(Read::InvalidId) => self.count.skipped += 1,
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
pub(crate) fn with_id_only(id: Arc<str>) -> ListingEntry {
    ListingEntry::Partial { container: Container::new(id.clone(), id, 0), started_within: None }
}
