//! The parameter `filters`, in both forms that dockerd accepts.

use std::collections::BTreeMap;

use serde::Deserialize;
use whalewatcher_core::Printable;

use super::Refusal;
use crate::args::FilterArgs;
use crate::selection::Selection;

/// The keys of a list that say something about live containers, and dockerd's others: what is not known, or
/// what no live container is.
const SERVED: [&str; 7] = ["ancestor", "health", "id", "label", "name", "network", "status"];
const UNKNOWN: [&str; 7] = ["before", "expose", "is-task", "isolation", "publish", "since", "volume"];
const NEVER: &str = "exited";

/// The states of containers that are not alive.
const DEAD: [&str; 5] = ["created", "restarting", "removing", "exited", "dead"];

/// Values by key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filters(BTreeMap<String, Vec<String>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    Map(BTreeMap<String, bool>),
}

impl Filters {
    /// Reads `{"name":["web"]}` or `{"name":{"web":true}}`.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let all: BTreeMap<String, Values> = serde_json::from_str(text)
            .map_err(|error| Refusal::invalid(format!("invalid filter: {error}")))?;
        let values = all.into_iter().map(|(key, values)| match values {
            Values::List(values) => (key, values),
            Values::Map(values) => (key, values.into_keys().collect()),
        });
        Ok(Self(values.filter(|(_, values)| !values.is_empty()).collect()))
    }

    /// Returns the values of a key; none if it is not filtered by that.
    pub(super) fn get(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Returns whether there is no condition for this key, or one of its values holds.
    pub(super) fn any(&self, key: &str, holds: impl Fn(&str) -> bool) -> bool {
        let values = self.get(key);
        values.is_empty() || values.iter().any(|value| holds(value))
    }

    /// Returns what a list contains; `None` if that is no live container.
    ///
    /// # Errors
    ///
    /// If a key or a value is invalid, or not served.
    pub(super) fn selection(self) -> Result<Option<Selection>, Refusal> {
        let mut filters = Vec::new();
        for (key, values) in self.0 {
            let key = match &*key {
                NEVER => return Ok(None),
                key if SERVED.contains(&key) => key,
                key if UNKNOWN.contains(&key) => {
                    let reason = format!("filter '{key}' is not served: there are {}", SERVED.join(", "));
                    return Err(Refusal::invalid(reason));
                }
                key => return Err(Refusal::invalid(format!("invalid filter '{}'", Printable(key)))),
            };
            let count = values.len();
            let alive = values.into_iter().filter(|value| key != "status" || !DEAD.contains(&&**value));
            let alive: Vec<_> = alive.map(|value| format!("{key}={value}")).collect();
            if alive.is_empty() && count > 0 {
                return Ok(None);
            }
            filters.extend(alive);
        }
        let filters = FilterArgs { filters, ..FilterArgs::default() };
        let invalid = |reason: String| {
            Refusal::invalid(format!("invalid filter '{}'", reason.trim_start_matches("--filter ")))
        };
        Selection::read(&[], &filters).map(Some).map_err(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T>(outcome: Result<T, Refusal>) -> String {
        outcome.err().map(|Refusal(status, reason)| format!("{status}: {reason}")).unwrap_or_default()
    }

    #[test]
    fn both_forms_of_filters_are_read() {
        let list = Filters::parse(r#"{"name":["web","db"],"label":["a=b"],"id":[]}"#);
        let map = Filters::parse(r#"{"name":{"db":true,"web":true},"label":{"a=b":true}}"#);
        let (Ok(mut list), Ok(map)) = (list, map) else { panic!("they are valid") };
        list.0.values_mut().for_each(|values| values.sort());
        assert_eq!(list, map);
        assert!(map.any("name", |name| name == "web") && !map.any("name", |name| name == "x"));
        assert!(map.any("other", |_| false) && map.get("label") == ["a=b"]);
        for malformed in ["", "[]", r#"{"name":"web"}"#, r#"{"name":[1]}"#] {
            assert!(refused(Filters::parse(malformed)).starts_with("400 Bad Request: invalid filter: "));
        }
    }

    #[test]
    fn a_list_is_filtered_as_dockerd_does_or_the_filter_is_refused() {
        let selection = |text| Filters::parse(text).and_then(Filters::selection);
        assert!(matches!(selection("{}"), Ok(Some(all)) if all.is_all()));
        assert!(matches!(selection(r#"{"status":["running","exited"]}"#), Ok(Some(some)) if !some.is_all()));
        for none in [r#"{"status":["exited","dead"]}"#, r#"{"exited":["0"]}"#] {
            assert!(matches!(selection(none), Ok(None)), "{none}");
        }
        for (text, reason) in [
            (r#"{"colour":["red"]}"#, "invalid filter 'colour'"),
            (r#"{"volume":["x"]}"#, "filter 'volume' is not served: there are ancestor, health, "),
            (r#"{"status":["up"]}"#, "invalid filter 'status=up: "),
            (r#"{"name":["("]}"#, "invalid filter 'name=(: not a regular expression"),
        ] {
            let refused = refused(selection(text));
            assert!(refused.starts_with(&format!("400 Bad Request: {reason}")), "{refused}");
        }
    }
}
