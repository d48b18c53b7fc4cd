//! The parameter `filters` of lists and event streams, and the times `since` and `until`, as the engine reads them:
//! values of one key are alternatives, keys must all match, labels must all match.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{container::Container, events::Event};

/// A parsed `filters` parameter.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters(BTreeMap<String, Vec<String>>);

/// Docker accepts two forms: `{"type":{"container":true}}` and the older `{"type":["container"]}`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Flags(BTreeMap<String, bool>),
    List(Vec<String>),
}

impl Filters {
    /// Parses the parameter; `Err` has the message for the client.
    pub(super) fn parse(json: Option<&str>) -> Result<Self, String> {
        let Some(json) = json.filter(|json| !json.is_empty()) else { return Ok(Self::default()) };
        let keys: BTreeMap<String, Values> =
            serde_json::from_str(json).map_err(|error| format!("invalid filter: {error}"))?;
        let values = |values| match values {
            Values::Flags(flags) => flags.into_iter().filter(|(_, on)| *on).map(|(value, _)| value).collect(),
            Values::List(values) => values,
        };
        Ok(Self(keys.into_iter().map(|(key, found)| (key, values(found))).collect()))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether there is no filter with this key, or one of its values matches.
    fn any(&self, key: &str, fits: impl Fn(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().any(|value| fits(value))
    }

    /// Whether every label of the filter, `key` or `key=value`, is there.
    fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.values("label").iter().all(|wanted| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        })
    }

    /// Whether a list has this container; whether that is running is not checked here.
    pub(super) fn match_container(&self, container: &Container) -> bool {
        self.any("status", |status| container.status() == status)
            && self.any("id", |id| container.id.starts_with(id))
            && self.labels(&container.labels)
    }

    /// Whether an event stream has this event.
    pub(super) fn match_event(&self, event: &Event) -> bool {
        let attribute = |key: &str| event.attributes.get(key).map_or("", String::as_str);
        // If the filter has one of these three, dockerd compares all actions by their beginning, because the actions
        // of execs and health checks have details behind a colon.
        let by_beginning = self
            .values("event")
            .iter()
            .any(|action| matches!(action.as_str(), "exec_create" | "exec_start" | "health_status"));
        self.any("type", |kind| event.kind == kind)
            && self.any("event", |action| {
                event.action == action || (by_beginning && event.action.starts_with(action))
            })
            && self.any("container", |key| event.actor.starts_with(key) || attribute("name").starts_with(key))
            && self.labels(&event.attributes)
    }
}

/// Parses a time: seconds since 1970 with at most nine decimal places, or RFC 3339. `Err` has the message for the
/// client; no value and 0 are `None`, as in dockerd.
pub(super) fn parse_time(text: Option<&str>) -> Result<Option<Timestamp>, String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let complaint = || format!("invalid time: {text}");
    let time = if text.contains('T') {
        text.parse().map_err(|_| complaint())?
    } else {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if fraction.len() > 9 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(complaint());
        }
        let seconds = seconds.parse().map_err(|_| complaint())?;
        let nanoseconds = format!("{fraction:0<9}").parse().map_err(|_| complaint())?;
        Timestamp::UNIX_EPOCH
            .checked_add(SignedDuration::new(seconds, nanoseconds))
            .map_err(|_| complaint())?
    };
    Ok(Some(time).filter(|time| *time != Timestamp::UNIX_EPOCH))
}
