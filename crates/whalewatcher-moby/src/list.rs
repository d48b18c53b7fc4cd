//! The list of what is alive.

use std::sync::Arc;
use std::time::SystemTime;

use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use serde_json::value::RawValue;
use whalewatcher_core::{Container, ContainerId, EngineError, Labels, Sighting};

use crate::answer;
use crate::connection::QUERY;
use crate::failure::{self, Excerpt};
use crate::labels::Texts;
use crate::uptime::started_within;

/// Where to ask. The engine leaves out what is not alive, for it has many more of these.
///
/// Not podman: what it is `stopping` is alive for as long as that takes, and that word cannot be asked for (4.3.1
/// answers status 500).
pub(crate) fn path(podman: bool) -> String {
    if podman {
        return "/containers/json?all=true".into();
    }
    format!("/containers/json?filters={}", utf8_percent_encode(r#"{"status":["running","paused"]}"#, QUERY))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: Arc<str>,
    #[serde(default)]
    names: Option<Vec<Arc<str>>>,
    #[serde(default)]
    labels: Texts,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    status: Option<String>,
}

/// All that is left of an entry that is odd.
#[derive(Deserialize)]
struct Odd {
    #[serde(rename = "Id")]
    id: String,
}

/// The sightings in an answer that was given at that time. One odd entry does not hide the others: if its ID can be read,
/// then an inspection tells more. What is in a state that is not known here is passed over: podman has `initialized` and
/// others beyond Docker's, and there may come more.
pub(crate) fn decode(what: &str, body: &[u8], now: Option<SystemTime>) -> Result<Vec<Sighting>, EngineError> {
    let text = String::from_utf8_lossy(body);
    let entries: Vec<&RawValue> = answer::parse(what, &text)?;
    let (mut sightings, mut foreign, mut lost) = (Vec::new(), 0, 0);
    let damaged = answer::is_damaged(body);
    for entry in &entries {
        match serde_json::from_str::<Listed>(entry.get()) {
            Ok(listed) if ContainerId::is_plain(&listed.id) => match sighting(listed, now) {
                Some(sighting) => sightings.push(sighting),
                None => lost += usize::from(damaged),
            },
            Ok(_) => lost += 1,
            Err(error) => match serde_json::from_str::<Odd>(entry.get()) {
                Ok(Odd { id }) if ContainerId::is_plain(&id) => {
                    tracing::warn!(
                        "container {id} is listed oddly, and inspected: {}",
                        Excerpt(&error.to_string())
                    );
                    sightings.push(unseen(id.into()));
                }
                Ok(_) => lost += 1,
                Err(_) => (foreign, lost) = (foreign + 1, lost + 1),
            },
        }
    }
    // What has no IDs at all is no list of containers.
    if lost > 0 && (damaged || foreign == entries.len()) {
        let why = if damaged { "it was damaged on the way" } else { "it is no list of containers with IDs" };
        return Err(failure::garbled(what, why));
    }
    if lost > 0 {
        tracing::warn!("passed over {lost} containers whose ID cannot be one");
    }
    Ok(sightings)
}

/// One of which nothing else is known.
fn unseen(id: Arc<str>) -> Sighting {
    Sighting::Partial { container: Container::new(id.clone(), id, 0), started_within: None }
}

fn sighting(listed: Listed, now: Option<SystemTime>) -> Option<Sighting> {
    let paused = match listed.state.as_deref() {
        Some("running" | "stopping") => false,
        Some("paused") => true,
        Some(_) => return None,
        None => return Some(unseen(listed.id)),
    };
    let name = own_name(&listed.names.unwrap_or_default()).unwrap_or_else(|| listed.id.clone());
    let labels = Labels::from_iter(listed.labels.0);
    let started_within = now.and_then(|now| started_within(listed.status.as_deref()?, now));
    let container = Container::new(listed.id, name, 0).with_labels(labels).with_paused(paused);
    Some(Sighting::Partial { container, started_within })
}

/// Docker lists names that others gave a container by linking to it too: these have a second slash.
fn own_name(names: &[Arc<str>]) -> Option<Arc<str>> {
    let own = |name: &Arc<str>| !without_slash(name).contains('/');
    let name = names.iter().find(|name| own(name)).or(names.first())?;
    Some(without_slash(name).into())
}

/// A container's name as people know it.
pub(crate) fn without_slash(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::ErrorKind;

    use super::*;

    fn decoded(body: &str) -> Vec<String> {
        let sightings = decode("GET /containers/json", body.as_bytes(), None).unwrap();
        sightings.iter().map(|sighting| sighting.container().to_string()).collect()
    }

    #[test]
    fn what_is_alive_is_sighted_whatever_else_is_listed() {
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
    fn an_odd_entry_hides_no_other() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for (odd, sighted) in [
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
            let shown = decoded(&format!(r#"[{odd},{{"Id":"a","Names":["/web"],"State":"running"}}]"#));
            let expected: &[&str] = match sighted {
                true => &["container 'odd' with PID 0", "container 'web'/a with PID 0"],
                false => &["container 'web'/a with PID 0"],
            };
            assert_eq!(shown, expected, "{odd:.80}");
        }
    }

    #[test]
    fn names_and_labels_are_taken_as_they_are() {
        let huge = "x".repeat(10_000_000);
        let many: Vec<_> = (0..100_000).map(|number| format!(r#""l{number}":"v""#)).collect();
        let body = format!(
            r#"[{{"Id":"a","Names":["/\u001b[2J\n\u202e"],"State":"running","Labels":{{"huge":"{huge}",{}}}}}]"#,
            many.join(",")
        );
        let sightings = decode("list", body.as_bytes(), None).unwrap();
        let container = sightings[0].container();
        assert_eq!((container.name(), container.labels().len()), ("\u{1b}[2J\n\u{202e}", 100_001));
        assert_eq!(container.labels().get("huge"), Some(huge.as_str()));
        let damaged =
            decode("list", b"[{\"Id\":\"a\",\"Names\":[\"/\xff\"],\"State\":\"running\"}]", None).unwrap();
        assert_eq!(damaged[0].container().name(), "\u{fffd}");
    }

    #[test]
    fn damaged_bytes_never_tell_that_a_container_is_gone() {
        for damaged in [&b"runn\xffng"[..], b"\xff"] {
            let body = [&b"[{\"Id\":\"a\",\"State\":\""[..], damaged, b"\"}]"].concat();
            assert_eq!(decode("list", &body, None).unwrap_err().kind(), ErrorKind::Garbled);
        }
    }

    #[test]
    fn what_is_not_a_list_is_refused() {
        let no_ids: &[&[u8]] =
            &[b"[1]", b"[{}]", br#"[{"State":"running"}]"#, br#"[{"Id":null},{"Id":7},[]]"#];
        let damaged: &[&[u8]] = &[b"[{\"Id\":\"a\xff\"},{\"Id\":\"b\"}]"];
        for body in [&[&b"null"[..], b"{}", b"", b"[{\"Id\":\"a\"", b"[{]"], no_ids, damaged].concat() {
            let error = decode("list", body, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Garbled, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn only_podman_is_asked_for_all() {
        let filtered = "/containers/json?filters=%7B%22status%22%3A%5B%22running%22%2C%22paused%22%5D%7D";
        assert_eq!((path(false).as_str(), path(true).as_str()), (filtered, "/containers/json?all=true"));
    }
}
