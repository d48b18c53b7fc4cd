//! Decodes the inspection of one container.

use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Deserialize;
use whalewatcher_core::adapter::pack;
use whalewatcher_core::{Container, ContainerId, EngineError};

use crate::decode::json;
use crate::decode::labels::{self, Texts};
use crate::decode::list::without_slash;
use crate::decode::raw_inspection::{Packer, RawInspection};
use crate::http::answer;
use crate::http::error;

/// A label that this adapter adds to privileged containers, with an empty value.
pub const PRIVILEGED_LABEL: &str = "github.com/thediveo/whalewatcher/moby/privileged";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: Arc<str>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    state: Option<State>,
    #[serde(default)]
    config: Option<Config>,
    #[serde(default)]
    host_config: Option<HostConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    running: bool,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    pid: i64,
    #[serde(default)]
    started_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    labels: Texts,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    privileged: bool,
}

/// Whether an answer with status 404 means that the engine has no such container. Proxies that let only some requests through,
/// and engines without this endpoint, answer with that status too.
pub(crate) fn is_gone(id: &ContainerId, body: &[u8]) -> bool {
    // Docker: `No such container: ID`; podman: `no container with name or ID "ID" found: no such container`.
    let reason = answer::reason(body);
    reason.to_lowercase().contains("no such container") && reason.contains(id.as_str())
}

/// Decodes the inspection of the container with this ID; `None` if it has no process. A start after the horizon is dropped.
pub(crate) fn decode(
    what: &str,
    id: &ContainerId,
    body: &[u8],
    horizon: SystemTime,
    packer: Option<&Packer>,
) -> Result<Option<Container>, EngineError> {
    let container = decode_lossy(what, id, body, horizon, packer)?;
    if container.is_none() && json::is_corrupt(body) {
        return Err(error::malformed(what, "it is not valid UTF-8"));
    }
    Ok(container)
}

fn decode_lossy(
    what: &str,
    id: &ContainerId,
    body: &[u8],
    horizon: SystemTime,
    packer: Option<&Packer>,
) -> Result<Option<Container>, EngineError> {
    let inspected: Inspected = json::decode(what, body)?;
    // Engines also find containers by name and by the beginning of an ID: such an answer is about another one.
    if *inspected.id != **id {
        return Err(error::malformed(what, "it is about another container"));
    }
    let Some(state) = inspected.state else { return Err(error::malformed(what, "it has no State")) };
    // In podman's state `stopping` a container does not count as running, but has its process for up to 10 s more (seen on
    // 4.3.1). One that waits for its restart counts as running, but has no process.
    let running = state.running || state.status.as_deref() == Some("stopping");
    if !running || state.pid == 0 {
        return Ok(None);
    }
    let Ok(pid) = u32::try_from(state.pid) else {
        return Err(error::malformed(what, format!("{} is no PID", state.pid)));
    };
    let name = inspected.name.as_deref().map(without_slash).filter(|name| !name.is_empty()).unwrap_or(id);
    let mut labels = inspected.config.map(|config| config.labels).unwrap_or_default();
    if inspected.host_config.is_some_and(|config| config.privileged) {
        labels.0.push((PRIVILEGED_LABEL.into(), "".into()));
    }
    let container = Container::new(id.clone(), name, pid)
        .with_labels(labels::of_container(labels))
        .with_paused(state.paused)
        .with_started_at(state.started_at.as_deref().and_then(moment).filter(|started| *started <= horizon));
    let Some(packer) = packer else { return Ok(Some(container)) };
    let text = json::text(what, body)?;
    Ok(Some(container.with_rucksack(pack(id, || packer(RawInspection::new(id, &text))))))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ended {
    id: Arc<str>,
    state: Finish,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Finish {
    started_at: String,
    finished_at: String,
    exit_code: i32,
}

/// When and how a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) at: SystemTime,
    pub(crate) code: Option<i32>,
}

/// Decodes how the life that began then ended; `None` if the container is alive, or the inspection shows another life.
pub(crate) fn decode_end(
    what: &str,
    id: &ContainerId,
    body: &[u8],
    horizon: SystemTime,
    began: SystemTime,
) -> Result<Option<End>, EngineError> {
    if decode(what, id, body, horizon, None)?.is_some() {
        return Ok(None);
    }
    let Ended { id: found, state } = json::decode(what, body)?;
    let finished_at = moment(&state.finished_at).filter(|at| *found == **id && began < *at && *at <= horizon);
    let is_that_life = moment(&state.started_at) == Some(began);
    Ok(finished_at.filter(|_| is_that_life).map(|at| End { at, code: Some(state.exit_code) }))
}

/// Parses a time; `None` for the year 1, which Docker writes for what never happened.
fn moment(text: &str) -> Option<SystemTime> {
    let timestamp: Timestamp = text.parse().ok()?;
    (timestamp > Timestamp::UNIX_EPOCH).then(|| SystemTime::try_from(timestamp).ok())?
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use whalewatcher_core::ErrorKind;

    use super::*;

    fn inspected(body: &str) -> Result<Option<Container>, EngineError> {
        decode("inspection", &ContainerId::from("a"), body.as_bytes(), SystemTime::now(), None)
    }

    fn state(state: &str) -> String {
        format!(r#"{{"Id":"a","Name":"/web","State":{state}}}"#)
    }

    #[test]
    fn all_that_is_needed_is_decoded() {
        let body = r#"{"Id":"a","Name":"/web","Created":"whenever","State":{"Status":"levitating","Running":true,
            "Paused":true,"Restarting":false,"Pid":4711,"StartedAt":"2026-01-31T12:00:00.1+02:00"},
            "Config":{"Labels":{"com.docker.compose.project":"shop"},"Env":null},
            "HostConfig":{"Privileged":true}}"#;
        let container = inspected(body).unwrap().unwrap();
        assert_eq!(container.to_string(), "paused container 'web'/a from project 'shop' with PID 4711");
        let started_at = UNIX_EPOCH + Duration::from_millis(1_769_853_600_100);
        assert_eq!(container.started_at(), Some(started_at));
        assert_eq!(container.labels().get(PRIVILEGED_LABEL), Some(""));
    }

    #[test]
    fn an_end_belongs_to_the_life_in_question() {
        let (began, finished) = ("2026-01-31T12:00:00.1Z", "2026-01-31T12:00:05Z");
        for (started_at, finished_at, more, expected) in [
            (began, finished, "", true),
            (began, finished, r#","Running":true,"Restarting":true"#, true),
            (began, finished, r#","Running":true,"Pid":7"#, false),
            ("2026-01-31T12:00:00.2Z", finished, "", false),
            (began, began, "", false),
            (began, "0001-01-01T00:00:00Z", "", false),
            (began, "2126-01-31T12:00:05Z", "", false),
        ] {
            let body = state(&format!(
                r#"{{"StartedAt":"{started_at}","FinishedAt":"{finished_at}","ExitCode":7{more}}}"#
            ));
            let end = decode_end(
                "inspection",
                &"a".into(),
                body.as_bytes(),
                SystemTime::now(),
                moment(began).unwrap(),
            );
            let expected = expected.then(|| End { at: moment(finished).unwrap(), code: Some(7) });
            assert_eq!(end.unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn few_fields_are_required() {
        let container = inspected(r#"{"Id":"a","State":{"Running":true,"Pid":1},"Config":{"Labels":null}}"#);
        let container = container.unwrap().unwrap();
        assert_eq!(container, Container::new("a", "a", 1));
    }

    #[test]
    fn only_no_such_container_is_gone() {
        let podman =
            r#"{"message":"no container with name or ID \"a1\" found: no such container","response":404}"#;
        for (body, gone) in [
            (r#"{"message":"No such container: a1"}"#, true),
            (podman, true),
            (r#"{"message":"No such container: b"}"#, false),
            (r#"{"message":"page not found"}"#, false),
            ("<html>404 Not Found</html>", false),
            ("", false),
        ] {
            assert_eq!(is_gone(&"a1".into(), body.as_bytes()), gone, "{body}");
        }
    }

    #[test]
    fn a_container_that_podman_is_stopping_is_alive() {
        let body = state(r#"{"Status":"stopping","Running":false,"Pid":7}"#);
        assert_eq!(inspected(&body).unwrap(), Some(Container::new("a", "web", 7)));
        let body = state(r#"{"Status":"stopping","Running":false,"Pid":0}"#);
        assert_eq!(inspected(&body).unwrap(), None);
    }

    #[test]
    fn a_container_without_a_process_is_not_alive() {
        for body in [
            state(r#"{"Running":false,"Pid":0}"#),
            state(r#"{"Running":false,"Pid":7}"#),
            state(r#"{"Running":true,"Restarting":true,"Pid":0}"#),
            state("{}"),
        ] {
            assert_eq!(inspected(&body).unwrap(), None, "{body}");
        }
    }

    #[test]
    fn an_invalid_pid_is_an_error() {
        for pid in ["-1", "4294967296", "9223372036854775808", "1.5", "\"7\"", "null"] {
            let error = inspected(&state(&format!(r#"{{"Running":true,"Pid":{pid}}}"#))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{pid}");
        }
        assert_eq!(inspected(r#"{"Id":"a"}"#).unwrap_err().kind(), ErrorKind::Malformed);
    }

    #[test]
    fn a_malformed_inspection_is_an_error() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let rest = r#""State":{"Running":true,"Pid":7}"#;
        for body in [
            String::new(),
            "null".into(),
            "[]".into(),
            format!(r#"{{{rest}}}"#),
            format!(r#"{{"Id":null,{rest}}}"#),
            format!(r#"{{"Id":"","{rest}}}"#),
            format!(r#"{{"Id":"{}",{rest}}}"#, "a".repeat(3_000_000)),
            format!(r#"{{"Id":"a/b",{rest}}}"#),
            format!(r#"{{"Id":"a","Id":"a",{rest}}}"#),
            format!(r#"{{"Id":"a",{rest},{rest}}}"#),
            format!(r#"{{"Id":"a","Name":7,{rest}}}"#),
            format!(r#"{{"Id":"a","Name":{deep},{rest}}}"#),
            format!(r#"{{"Id":"a",{rest},"Config":7}}"#),
            format!(r#"{{"Id":"a",{rest},"Config":{{"Labels":[]}}}}"#),
            format!(r#"{{"Id":"a",{rest},"Config":{{"Labels":{{"a":7}}}}}}"#),
            format!(r#"{{"Id":"a",{rest},"HostConfig":{{"Privileged":null}}}}"#),
            r#"{"Id":"abc","Name":"a","State":{"Running":true,"Pid":7}}"#.into(),
            state(r#"{"Running":"true","Pid":7}"#),
            state(r#"{"Running":null,"Pid":7}"#),
            state(r#"{"Running":true,"Pid":7,"StartedAt":7}"#),
            state("null"),
        ] {
            assert_eq!(inspected(&body).unwrap_err().kind(), ErrorKind::Malformed, "{body:.80}");
        }
        let unknown =
            format!(r#"{{"Id":"a",{rest},"Mounts":{deep},"Name":null,"Config":null,"HostConfig":null}}"#);
        assert_eq!(inspected(&unknown).unwrap(), Some(Container::new("a", "a", 7)));
    }

    #[test]
    fn invalid_utf8_never_means_that_a_container_is_gone() {
        let of = |body: &[u8]| decode("inspection", &"a".into(), body, SystemTime::now(), None);
        for damaged in [
            &b"{\"Id\":\"a\",\"State\":{\"Runn\xffng\":true,\"Pid\":7}}"[..],
            b"{\"Id\":\"\xff\",\"State\":{\"Running\":true,\"Pid\":7}}",
            b"{\"Id\":\"a\",\"State\":{\"Running\":true,\"P\xffd\":7}}",
        ] {
            assert_eq!(of(damaged).unwrap_err().kind(), ErrorKind::Malformed);
        }
        let named = of(b"{\"Id\":\"a\",\"Name\":\"/\xff\",\"State\":{\"Running\":true,\"Pid\":7}}").unwrap();
        assert_eq!(named, Some(Container::new("a", "\u{fffd}", 7)));
    }

    #[test]
    fn a_start_after_the_horizon_is_dropped() {
        for started in [
            "9999-12-30T22:00:00Z",
            "9999-12-31T23:59:59Z",
            "99999-01-01T00:00:00Z",
            "-009999-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "",
        ] {
            let body = state(&format!(r#"{{"Running":true,"Pid":7,"StartedAt":"{started}"}}"#));
            assert_eq!(inspected(&body).unwrap(), Some(Container::new("a", "web", 7)), "{started}");
        }
    }

    #[test]
    fn a_start_time_is_exact_or_unknown() {
        let nanos = UNIX_EPOCH + Duration::new(1_769_860_800, 123_456_789);
        for (text, expected) in [
            ("2026-01-31T12:00:00.123456789Z", Some(nanos)),
            ("0001-01-01T00:00:00Z", None),
            ("1970-01-01T00:00:00Z", None),
            ("", None),
            ("yesterday", None),
        ] {
            assert_eq!(moment(text), expected, "{text}");
        }
    }

    #[test]
    fn labels_of_any_number_and_size_are_kept() {
        let huge = "x".repeat(10_000_000);
        let many: Vec<_> = (0..100_000).map(|number| format!(r#""l{number}":"v""#)).collect();
        let body = format!(
            r#"{{"Id":"a","State":{{"Running":true,"Pid":1}},"Config":{{"Labels":{{"huge":"{huge}",{}}}}}}}"#,
            many.join(",")
        );
        let container = inspected(&body).unwrap().unwrap();
        assert_eq!(container.labels().len(), 100_001);
        assert_eq!(container.labels().get("huge"), Some(huge.as_str()));
    }

    #[test]
    fn a_rucksack_is_packed_from_the_json() {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Wanted<'a> {
            #[serde(borrow)]
            image: &'a str,
        }
        let packer: Packer = Arc::new(|inspection| {
            let image = inspection.decode::<Wanted<'_>>().map(|wanted| wanted.image.to_owned());
            Some(Arc::new((inspection.id().to_string(), image.map_err(|error| error.kind()))))
        });
        let pack = |body: &[u8]| {
            let id = ContainerId::from("a");
            let container = decode("inspection", &id, body, SystemTime::now(), Some(&packer)).unwrap();
            container.unwrap().rucksack::<(String, Result<String, ErrorKind>)>().cloned().unwrap()
        };
        let alive = r#""State":{"Status":"levitating","Running":true,"Pid":1}"#;
        let body = format!(r#"{{"Id":"a","Image":"busybox",{alive}}}"#);
        assert_eq!(pack(body.as_bytes()), ("a".into(), Ok("busybox".into())));
        let body = format!(r#"{{"Id":"a","Image":7,{alive}}}"#);
        assert_eq!(pack(body.as_bytes()), ("a".into(), Err(ErrorKind::Malformed)));
        let damaged = [br#"{"Id":"a","Image":"#, &b"\"\xff\","[..], alive.as_bytes(), b"}"].concat();
        assert_eq!(pack(&damaged), ("a".into(), Ok("\u{fffd}".into())));
        let packer: Packer = Arc::new(|_| panic!("scripted panic"));
        let container = decode("inspection", &"a".into(), body.as_bytes(), SystemTime::now(), Some(&packer));
        let container = container.unwrap().expect("it is alive");
        assert_eq!(
            (container.pid(), container.rucksack::<String>()),
            (1, None),
            "a panic costs the rucksack only"
        );
    }
}
