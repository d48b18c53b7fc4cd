//! The event stream: asked for, subscribed, decoded.
//!
//! That nothing is missed is `since`'s doing: the stream is asked for from a moment on, by the engine's own clock, that
//! lies before any list. dockerd sends the headers *before* it registers the listener, but then replays what it
//! remembers since that moment in one go with registering. podman reads its event log from there on.
//!
//! podman 4 sends the headers only together with the first event. So after [`PATIENCE`] the subscription counts as
//! standing there: the request is with the engine and the moment from which on it will tell is fixed. An error that
//! comes after all ends the stream.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_core::Stream;
use futures_util::stream;
use http::Response;
use hyper::body::Incoming;
use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use tokio::time::timeout;
use whalewatcher_core::{Container, EngineError, EngineEvent, Labels};

use crate::answer;
use crate::connection::{Connection, QUERY};
use crate::labels::Texts;
use crate::limits::MAX_EVENT;
use crate::lines::Lines;
use crate::list::without_slash;

/// How long podman is waited for to send its headers.
const PATIENCE: Duration = Duration::from_millis(200);

pub(crate) const WHAT: &str = "GET /events";

/// What may change the picture. Engines compare these words exactly, and ignore those they do not know.
const FILTERS: &str = r#"{"type":["container"],"event":["start","restore","die","died","pause","unpause","rename","update","checkpoint","destroy","remove"]}"#;

/// What an event's attributes hold besides labels.
const NOT_LABELS: [&str; 8] =
    ["name", "image", "exitCode", "containerExitCode", "execDuration", "signal", "oldName", "podId"];

/// Where to ask for what happens from `since` on, up to `until` or without end.
///
/// dockerd takes seconds and nanoseconds. podman would read these into a floating point number, or refuse them in its
/// older versions, but keeps every digit of a written date.
pub(crate) fn path(since: Timestamp, until: Option<Timestamp>, podman: bool) -> String {
    let moment = |moment: Timestamp| {
        let text = if podman {
            moment.to_string()
        } else {
            format!("{}.{:09}", moment.as_second(), moment.subsec_nanosecond())
        };
        utf8_percent_encode(&text, QUERY).to_string()
    };
    let until = until.map(|until| format!("&until={}", moment(until))).unwrap_or_default();
    let filters = utf8_percent_encode(FILTERS, QUERY);
    format!("/events?since={}{until}&filters={filters}", moment(since))
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Incoming>, EngineError>> + Send + 'a>>;

enum Progress<'a> {
    /// Nobody has asked yet.
    Begun(&'a Connection),
    /// The answer's headers are still to come.
    Asked(Answer<'a>),
    Reading(Lines),
    Over,
}

/// The events of a connection; asks when it is first polled.
pub(crate) fn stream(connection: &Connection) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
    stream::unfold(Progress::Begun(connection), |mut progress| async {
        loop {
            progress = match progress {
                Progress::Begun(connection) => match subscribe(connection).await {
                    Ok(progress) => return Some((Ok(EngineEvent::Subscribed), progress)),
                    Err(error) => return Some((Err(error), Progress::Over)),
                },
                Progress::Asked(answer) => match answer.await {
                    Ok(response) => reading(response),
                    Err(error) => return Some((Err(error), Progress::Over)),
                },
                Progress::Reading(mut lines) => match next(&mut lines).await {
                    Ok(Some(event)) => return Some((Ok(event), Progress::Reading(lines))),
                    Ok(None) => return None,
                    Err(error) => return Some((Err(error), Progress::Over)),
                },
                Progress::Over => return None,
            };
        }
    })
}

async fn subscribe(connection: &Connection) -> Result<Progress<'_>, EngineError> {
    let mut answer: Answer<'_> = Box::pin(async {
        let path = path(connection.since(), None, connection.is_podman());
        answer::succeeded(WHAT, connection.get(&path).await?).await
    });
    if !connection.is_podman() {
        return answer.await.map(reading);
    }
    match timeout(PATIENCE, &mut answer).await {
        Ok(response) => response.map(reading),
        Err(_) => Ok(Progress::Asked(answer)),
    }
}

fn reading<'a>(response: Response<Incoming>) -> Progress<'a> {
    Progress::Reading(Lines::new(response.into_body(), MAX_EVENT))
}

/// The next event that matters.
pub(crate) async fn next(lines: &mut Lines) -> Result<Option<EngineEvent>, EngineError> {
    while let Some(line) = lines.next(WHAT).await? {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if let Some(event) = decode(&line)? {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "Type", default)]
    kind: Option<String>,
    #[serde(rename = "Action", default)]
    action: Option<String>,
    #[serde(rename = "Actor", default)]
    actor: Option<Actor>,
    /// As `Action`, in engines and versions of the API before `Action`.
    #[serde(default)]
    status: Option<String>,
    /// As the actor's.
    #[serde(default)]
    id: Option<Arc<str>>,
    #[serde(rename = "timeNano", default)]
    time_nano: Option<i64>,
    #[serde(default)]
    time: Option<i64>,
}

#[derive(Deserialize, Default)]
struct Actor {
    #[serde(rename = "ID", default)]
    id: Option<Arc<str>>,
    #[serde(rename = "Attributes", default)]
    attributes: Texts,
}

/// What a line tells; `None` if that does not matter or is not known.
pub(crate) fn decode(line: &[u8]) -> Result<Option<EngineEvent>, EngineError> {
    let message: Message = answer::decode(WHAT, line)?;
    if message.kind.is_some_and(|kind| kind != "container") {
        return Ok(None);
    }
    let Actor { id, attributes } = message.actor.unwrap_or_default();
    let id = id.filter(|id| !id.is_empty()).or(message.id).filter(|id| !id.is_empty());
    let Some(action) = message.action.filter(|action| !action.is_empty()).or(message.status) else {
        return Ok(None);
    };
    let Some(id) = id else { return Ok(None) };
    let at = moment(message.time_nano, message.time);
    // Some carry more behind a colon.
    Ok(Some(match action.split(':').next().unwrap_or_default() {
        "start" => {
            let glimpse = glimpse(&id, attributes).map(Box::new);
            EngineEvent::Started { id: id.into(), at, glimpse }
        }
        // podman: from a checkpoint.
        "restore" => EngineEvent::Started { id: id.into(), at, glimpse: None },
        "die" | "died" => {
            let code = attributes.get("exitCode").or_else(|| attributes.get("containerExitCode"));
            EngineEvent::Exited {
                id: id.into(),
                pid: None,
                at,
                code: code.and_then(|code| code.parse().ok()),
            }
        }
        "pause" => EngineEvent::Paused { id: id.into(), at },
        "unpause" => EngineEvent::Unpaused { id: id.into(), at },
        "rename" | "update" | "checkpoint" | "destroy" | "remove" => {
            EngineEvent::Changed { id: id.into(), at }
        }
        _ => return Ok(None),
    }))
}

/// What a start tells of the container: labels are among the attributes.
fn glimpse(id: &Arc<str>, attributes: Texts) -> Option<Container> {
    let name: Arc<str> = without_slash(attributes.get("name")?).into();
    let labels = attributes.0.into_iter().filter(|(key, _)| !NOT_LABELS.contains(&&**key));
    Some(Container::new(id.clone(), name, 0).with_labels(Labels::from_iter(labels)))
}

fn moment(nanos: Option<i64>, seconds: Option<i64>) -> Option<SystemTime> {
    let positive = |number: &i64| *number > 0;
    let nanos = nanos.filter(positive).map(|nanos| Duration::from_nanos(nanos.unsigned_abs()));
    let seconds = seconds.filter(positive).map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    UNIX_EPOCH.checked_add(nanos.or(seconds)?)
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::{ContainerId, ErrorKind};

    use super::*;

    fn decoded(line: &str) -> Option<EngineEvent> {
        decode(line.as_bytes()).unwrap()
    }

    fn a() -> ContainerId {
        ContainerId::from("a")
    }

    const AT: Duration = Duration::new(1_769_860_800, 123_456_789);

    fn event(action: &str, attributes: &str) -> String {
        format!(
            r#"{{"status":"{action}","id":"a","from":"busybox","Type":"container","Action":"{action}",
                "Actor":{{"ID":"a","Attributes":{attributes}}},"scope":"local","time":1769860800,
                "timeNano":1769860800123456789}}"#
        )
    }

    #[test]
    fn a_start_tells_name_and_labels() {
        let attributes = r#"{"name":"web","image":"busybox","com.docker.compose.project":"shop","tier":"1"}"#;
        let Some(EngineEvent::Started { id, at, glimpse: Some(glimpse) }) =
            decoded(&event("start", attributes))
        else {
            panic!("a start with a glimpse");
        };
        assert_eq!((id, at), (a(), Some(UNIX_EPOCH + AT)));
        assert_eq!(glimpse.to_string(), "container 'web'/a from project 'shop' with PID 0");
        assert_eq!(glimpse.labels().len(), 2);
        let Some(EngineEvent::Started { glimpse, .. }) = decoded(&event("start", r#"{"name":"/web"}"#))
        else {
            panic!("a start")
        };
        assert_eq!(glimpse.unwrap().name(), "web");
    }

    #[test]
    fn an_exit_tells_its_code_in_dockers_words_and_in_podmans() {
        let at = Some(UNIX_EPOCH + AT);
        for (action, attributes, code) in [
            ("die", r#"{"name":"web","exitCode":"137","execDuration":"7"}"#, Some(137)),
            ("died", r#"{"containerExitCode":"3"}"#, Some(3)),
            ("die", r#"{"exitCode":"0","containerExitCode":"0"}"#, Some(0)),
            ("die", r#"{"exitCode":"many"}"#, None),
            ("die", "null", None),
        ] {
            let expected = EngineEvent::Exited { id: a(), pid: None, at, code };
            assert_eq!(decoded(&event(action, attributes)), Some(expected), "{action} {attributes}");
        }
    }

    #[test]
    fn each_action_is_what_it_means() {
        let at = Some(UNIX_EPOCH + AT);
        assert_eq!(decoded(&event("pause", "{}")), Some(EngineEvent::Paused { id: a(), at }));
        assert_eq!(decoded(&event("unpause", "{}")), Some(EngineEvent::Unpaused { id: a(), at }));
        assert_eq!(
            decoded(&event("restore", "{}")),
            Some(EngineEvent::Started { id: a(), at, glimpse: None })
        );
        for action in ["rename", "update", "destroy", "remove", "checkpoint", "update: more"] {
            assert_eq!(decoded(&event(action, "{}")), Some(EngineEvent::Changed { id: a(), at }), "{action}");
        }
        for action in [
            "create",
            "attach",
            "kill",
            "stop",
            "restart",
            "resize",
            "top",
            "oom",
            "exec_create: /bin/sh -c true",
            "exec_start: die",
            "exec_die",
            "health_status: healthy",
            "cleanup",
            "init",
            "abduct",
            "",
        ] {
            assert_eq!(decoded(&event(action, "{}")), None, "{action}");
        }
    }

    #[test]
    fn what_is_of_another_kind_or_of_nobody_does_not_matter() {
        for line in [
            r#"{"Type":"network","Action":"destroy","Actor":{"ID":"a","Attributes":{}}}"#,
            r#"{"Type":"alien","Action":"start","Actor":{"ID":"a"}}"#,
            r#"{"Type":"container","Action":"start","Actor":{"ID":"","Attributes":{"name":"x"}}}"#,
            r#"{"Type":"container","Action":"start","Actor":null}"#,
            r#"{"Type":"container","Actor":{"ID":"a"}}"#,
            "{}",
        ] {
            assert_eq!(decoded(line), None, "{line}");
        }
    }

    #[test]
    fn the_old_form_of_events_is_understood() {
        let at = Some(UNIX_EPOCH + Duration::from_secs(7));
        let line = r#"{"status":"pause","id":"a","from":"busybox","time":7}"#;
        assert_eq!(decoded(line), Some(EngineEvent::Paused { id: a(), at }));
        for (line, seconds) in [
            (r#"{"status":"pause","id":"a","timeNano":-1}"#, None),
            (r#"{"status":"pause","id":"a","timeNano":0,"time":0}"#, None),
            (r#"{"status":"pause","id":"a","timeNano":0,"time":7}"#, Some(7)),
            (r#"{"status":"pause","Action":"","id":"a","Actor":{"ID":""}}"#, None),
            (r#"{"Action":"pause","Actor":{"ID":"a"}}"#, None),
            (r#"{"Action":"pause","id":"b","Actor":{"ID":"a"}}"#, None),
        ] {
            let at = seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(decoded(line), Some(EngineEvent::Paused { id: a(), at }), "{line}");
        }
    }

    #[test]
    fn what_is_not_an_event_is_refused() {
        for line in ["null", "<html>", "{\"Type\":", "\u{1b}[2J"] {
            assert_eq!(decode(line.as_bytes()).unwrap_err().kind(), ErrorKind::Garbled, "{line}");
        }
    }

    #[test]
    fn since_is_told_to_the_nanosecond_in_each_engines_way() {
        let since = Timestamp::new(1_769_860_800, 7).unwrap();
        assert!(
            path(since, None, false).starts_with("/events?since=1769860800.000000007&filters=%7B%22type%22")
        );
        assert!(path(since, Some(since), true).starts_with("/events?since=2026-01-31T12%3A00%3A00.000000007Z&until=2026-01-31T12%3A00%3A00.000000007Z&filters="));
    }
}
