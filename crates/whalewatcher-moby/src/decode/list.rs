//! Decodes the list of containers.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use whalewatcher_adapter::Excerpt;
use whalewatcher_core::adapter::ListingEntry;
use whalewatcher_core::{Container, ContainerId, EngineError};

use crate::decode::json;
use crate::decode::labels::{self, Text, Texts};
use crate::decode::uptime::started_within;
use crate::http::budget::{Body, Share};
use crate::http::error;
use crate::limits::{ENTRY, LABEL};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: Arc<str>,
    #[serde(default)]
    names: OwnName,
    #[serde(default)]
    labels: Texts,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    status: Option<String>,
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
/// The entries take their share of the memory budget, one by one.
pub(crate) fn decode(
    what: &str,
    body: &mut Body,
    now: Option<SystemTime>,
) -> Result<Vec<ListingEntry>, EngineError> {
    let (bytes, share) = body.share();
    let is_corrupt = json::is_corrupt(bytes);
    let text = json::text(what, bytes)?;
    let mut entries = Entries { what, now, is_corrupt, share, entries: Vec::new(), count: Count::default() };
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
        match serde_json::from_str::<Listed>(text) {
            Ok(listed) if ContainerId::is_plain(&listed.id) => {
                let labels = listed.labels.0.len();
                match entry(listed, self.now) {
                    Some(entry) => self.add(entry, ENTRY + text.len() + LABEL * labels)?,
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

fn entry(listed: Listed, now: Option<SystemTime>) -> Option<ListingEntry> {
    let paused = match listed.state.as_deref() {
        Some("running" | "stopping") => false,
        Some("paused") => true,
        Some(_) => return None,
        None => return Some(with_id_only(listed.id)),
    };
    let name = listed.names.0.unwrap_or_else(|| listed.id.clone());
    let labels = labels::of_container(listed.labels);
    let started_within = now.and_then(|now| started_within(listed.status.as_deref()?, now));
    let container = Container::new(listed.id, name, 0).with_labels(labels).with_paused(paused);
    Some(ListingEntry::Partial { container, started_within })
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
mod tests {
    use whalewatcher_core::ErrorKind;

    use super::*;
    use crate::http::budget::Budget;

    fn decode(body: &[u8]) -> Result<Vec<ListingEntry>, EngineError> {
        super::decode("list", &mut Body::of(body), None)
    }

    fn decode_within(memory_limit: usize, body: &[u8]) -> Result<Vec<ListingEntry>, EngineError> {
        let mut answer = Body::new(&Budget::new(memory_limit));
        answer.add("list", body, body.len())?;
        super::decode("list", &mut answer, None)
    }

    fn decoded(body: &str) -> Vec<String> {
        let entries = decode(body.as_bytes()).unwrap();
        entries.iter().map(|entry| entry.container().to_string()).collect()
    }

    #[test]
    fn live_containers_are_listed_and_others_skipped() {
        let body = r#"[
            {"Id":"a","Names":["/web"],"Labels":{"com.docker.compose.project":"shop"},"State":"running","Size":7},
            {"Id":"b","Names":["/db"],"Labels":null,"State":"paused","Health":{"Status":"odd"}},
            {"Id":"c","Names":["/x"],"Labels":{},"State":"stopping"},
            {"Id":"d","Names":["/y"],"Labels":{},"State":"quantum"},
            {"Id":"e","Names":["/z"],"Labels":{},"State":"exited"},
            {"Id":"f","Names":null,"State":"running"},
            {"Id":"g","State":null},
            {"Id":"h"},
            {"Id":"","State":"running"},
            {"Id":"i","Names":["/web/alias","/linked"],"State":"running"}
        ]"#;
        assert_eq!(
            decoded(body),
            [
                "container 'web'/a from project 'shop' with PID 0",
                "paused container 'db'/b with PID 0",
                "container 'x'/c with PID 0",
                "container 'f' with PID 0",
                "container 'g' with PID 0",
                "container 'h' with PID 0",
                "container 'linked'/i with PID 0",
            ]
        );
        assert!(decoded("[]").is_empty());
    }

    #[test]
    fn a_malformed_entry_hides_no_other() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for (entry, is_listed) in [
            (r#"{"Id":"odd","State":7}"#, true),
            (r#"{"Id":"odd","State":"running","Labels":[]}"#, true),
            (r#"{"Id":"odd","State":"running","Labels":{"a":{}}}"#, true),
            (r#"{"Id":"odd","State":"running","Names":"odd"}"#, true),
            (r#"{"Id":"odd","State":"running","State":"paused"}"#, true),
            (&format!(r#"{{"Id":"odd","State":"running","Names":{deep}}}"#), true),
            (&format!(r#"{{"Id":"odd","State":"running","Mounts":{deep}}}"#), true),
            (r#"{"Id":"odd","Id":"odd","State":"running"}"#, false),
            (r#"{"Id":null,"State":"running"}"#, false),
            (r#"{"Id":7,"State":"running"}"#, false),
            (r#"{"Id":"","State":"running"}"#, false),
            (r#"{"Id":"../odd","State":"running"}"#, false),
            (r#"{"Id":"\u001b[2J","State":"running"}"#, false),
            (&format!(r#"{{"Id":"{}","State":"running"}}"#, "f".repeat(3_000_000)), false),
            (r#"{"State":"running"}"#, false),
            ("null", false),
            ("7", false),
            ("{}", false),
            (&deep, false),
        ] {
            let shown = decoded(&format!(r#"[{entry},{{"Id":"a","Names":["/web"],"State":"running"}}]"#));
            let expected: &[&str] = match is_listed {
                true => &["container 'odd' with PID 0", "container 'web'/a with PID 0"],
                false => &["container 'web'/a with PID 0"],
            };
            assert_eq!(shown, expected, "{entry:.80}");
        }
    }

    #[test]
    fn names_and_labels_are_not_changed() {
        let huge = "x".repeat(10_000_000);
        let many: Vec<_> = (0..100_000).map(|number| format!(r#""l{number}":"v""#)).collect();
        let body = format!(
            r#"[{{"Id":"a","Names":["/\u001b[2J\n\u202e"],"State":"running","Labels":{{"huge":"{huge}",{}}}}}]"#,
            many.join(",")
        );
        let entries = decode(body.as_bytes()).unwrap();
        let container = entries[0].container();
        assert_eq!((container.name(), container.labels().len()), ("\u{1b}[2J\n\u{202e}", 100_001));
        assert_eq!(container.labels().get("huge"), Some(huge.as_str()));
        let corrupt = decode(b"[{\"Id\":\"a\",\"Names\":[\"/\xff\"],\"State\":\"running\"}]").unwrap();
        assert_eq!(corrupt[0].container().name(), "\u{fffd}");
    }

    #[test]
    fn invalid_utf8_never_means_that_a_container_is_gone() {
        for corrupt in [&b"runn\xffng"[..], b"\xff"] {
            let body = [&b"[{\"Id\":\"a\",\"State\":\""[..], corrupt, b"\"}]"].concat();
            assert_eq!(decode(&body).unwrap_err().kind(), ErrorKind::Malformed);
        }
    }

    #[test]
    fn a_body_that_is_no_list_of_containers_is_an_error() {
        let no_ids: &[&[u8]] =
            &[b"[1]", b"[{}]", br#"[{"State":"running"}]"#, br#"[{"Id":null},{"Id":7},[]]"#];
        let corrupt: &[&[u8]] = &[b"[{\"Id\":\"a\xff\"},{\"Id\":\"b\"}]"];
        for body in [&[&b"null"[..], b"{}", b"", b"[{\"Id\":\"a\"", b"[{]"], no_ids, corrupt].concat() {
            let error = decode(body).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn decoded_entries_count_against_the_budget() {
        let ids: Vec<_> = (0..1000).map(|id| format!(r#"{{"Id":"{id}"}}"#)).collect();
        let labels = vec!["\"a\":\"\""; 1000].join(",");
        let labels = format!(r#"{{"Id":"a","State":"running","Labels":{{{labels}}}}}"#);
        for (entries, least) in [(ids.join(","), 1000 * ENTRY), (labels, 1000 * LABEL)] {
            let body = format!("[{entries}]");
            assert!(decode_within(2 * least + 2 * body.len(), body.as_bytes()).is_ok());
            let error = decode_within(least, body.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed);
            assert!(error.to_string().contains("Builder::memory_limit"), "{error}");
        }
    }
}
