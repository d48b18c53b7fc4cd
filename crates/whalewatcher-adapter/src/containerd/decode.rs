//! Decodes containerd's events.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::{Message, Name};
use prost_types::{Any, Timestamp};
use whalewatcher_api::containerd::events::{
    ContainerDelete, ContainerUpdate, TaskDelete, TaskExit, TaskOom, TaskPaused, TaskResumed, TaskStart,
};
use whalewatcher_api::containerd::types::Envelope;
use whalewatcher_core::EngineError;
use whalewatcher_core::adapter::EngineEvent;

use crate::containerd::namespace::{Scope, is_identifier};
use crate::excerpt::malformed;

/// The namespace and the topic of our own events, which prove that a subscription stands. No other client
/// uses either, and publishing in a namespace does not create it.
pub(crate) const OWN_NAMESPACE: &str = "whalewatcher";
pub(crate) const OWN_TOPIC: &str = "/whalewatcher/probe";

/// Returns the filters of a subscription: events that may change the portfolio, in the scope's namespaces,
/// and our own events. An event passes if it meets all conditions of one filter.
pub(crate) fn filters(scope: &Scope) -> Vec<String> {
    let deleted = if scope.reports_deleted() { "delete|" } else { "" };
    let topics = format!("^/(tasks/({deleted}start|exit|oom|paused|resumed)|containers/(update|delete))$");
    let containers = format!("topic~=\"{topics}\"{}", scope.filter());
    vec![containers, format!("topic==\"{OWN_TOPIC}\",namespace==\"{OWN_NAMESPACE}\"")]
}

/// Decodes an event; `None` if it is outside the scope, or of a type that changes nothing.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](whalewatcher_core::ErrorKind::Malformed) if its content cannot be decoded.
pub fn decode(envelope: Envelope, scope: &Scope) -> Result<Option<EngineEvent>, EngineError> {
    let Envelope { timestamp, namespace, event: Some(event), .. } = envelope else { return Ok(None) };
    if !scope.contains(&namespace) {
        return Ok(None);
    }
    let at = timestamp.and_then(moment);
    // An event without a valid ID concerns no container.
    let id = |id: &str| is_identifier(id).then(|| scope.id(&namespace, id));
    let reported = if is::<TaskStart>(&event) {
        let TaskStart { container_id, pid } = read(&event)?;
        id(&container_id).map(|id| match process(pid) {
            Some(pid) => EngineEvent::Started { id, at, pid: Some(pid), preview: None },
            None => EngineEvent::Touched { id, at },
        })
    } else if is::<TaskExit>(&event) {
        let exit: TaskExit = read(&event)?;
        // A process that exec started in the container exits under an ID of its own.
        id(&exit.container_id).filter(|_| exit.id == exit.container_id).map(|id| EngineEvent::Exited {
            id,
            pid: process(exit.pid),
            at: exit.exited_at.and_then(moment).or(at),
            code: i32::try_from(exit.exit_status).ok(),
        })
    } else if is::<TaskDelete>(&event) && scope.reports_deleted() {
        let TaskDelete { container_id, pid, exit_status, exited_at, id: process_id } = read(&event)?;
        let is_initial = process_id.is_empty() || process_id == container_id;
        id(&container_id).filter(|_| is_initial).map(|id| EngineEvent::Exited {
            id,
            pid: process(pid),
            at: exited_at.and_then(moment).or(at),
            code: i32::try_from(exit_status).ok(),
        })
    } else if is::<TaskOom>(&event) {
        id(&read::<TaskOom>(&event)?.container_id).map(|id| EngineEvent::OomKilled { id, at })
    } else if is::<TaskPaused>(&event) {
        id(&read::<TaskPaused>(&event)?.container_id).map(|id| EngineEvent::Paused { id, at })
    } else if is::<TaskResumed>(&event) {
        id(&read::<TaskResumed>(&event)?.container_id).map(|id| EngineEvent::Unpaused { id, at })
    } else if is::<ContainerUpdate>(&event) {
        id(&read::<ContainerUpdate>(&event)?.id).map(|id| EngineEvent::Changed { id, at })
    } else if is::<ContainerDelete>(&event) {
        // Its task should be gone already, but only containerd's own tools ensure that.
        id(&read::<ContainerDelete>(&event)?.id).map(|id| EngineEvent::Changed { id, at })
    } else {
        None
    };
    Ok(reported)
}

/// Whether the event has this type. A type URL is the bare name, or the name after a slash.
fn is<T: Name>(event: &Any) -> bool {
    let url = event.type_url.strip_prefix('/').unwrap_or(&event.type_url);
    let package = T::PACKAGE.len();
    url.len() == package + 1 + T::NAME.len()
        && url.starts_with(T::PACKAGE)
        && url.as_bytes()[package] == b'.'
        && url.ends_with(T::NAME)
}

fn read<T: Message + Name + Default>(event: &Any) -> Result<T, EngineError> {
    T::decode(event.value.as_slice()).map_err(|error| {
        malformed(&format!("an event of type {}", T::full_name()), &error).with_source(error)
    })
}

fn process(pid: u32) -> Option<u32> {
    Some(pid).filter(|pid| *pid != 0)
}

/// The last second that a timestamp can contain: the end of the year 9999.
const LAST: u64 = 253_402_300_799;

/// Converts a timestamp. Go's zero time and times before 1970 are `None`.
#[must_use]
pub fn moment(timestamp: Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(timestamp.seconds).ok().filter(|seconds| (1..=LAST).contains(seconds))?;
    let nanos = u32::try_from(timestamp.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use whalewatcher_api::containerd::events::ContainerCreate;
    use whalewatcher_core::{ContainerId, ErrorKind};

    use super::*;
    use crate::containerd::namespace::IgnoredNamespaces;

    const AT: Timestamp = Timestamp { seconds: 1_769_860_800, nanos: 123_456_789 };

    fn at() -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::new(1_769_860_800, 123_456_789))
    }

    fn by_default() -> Scope {
        Scope::AllBut(IgnoredNamespaces::default())
    }

    fn envelope<T: Message + Name>(namespace: &str, event: &T) -> Envelope {
        let event = Any { type_url: T::full_name(), value: event.encode_to_vec() };
        let (topic, namespace) = ("/tasks/start".into(), namespace.into());
        Envelope { timestamp: Some(AT), namespace, topic, event: Some(event) }
    }

    fn decoded<T: Message + Name>(namespace: &str, event: &T) -> Option<EngineEvent> {
        decode(envelope(namespace, event), &by_default()).unwrap()
    }

    fn exit(id: &str) -> TaskExit {
        TaskExit { container_id: "a".into(), id: id.into(), pid: 7, exit_status: 137, exited_at: None }
    }

    #[test]
    fn a_start_has_the_pid() {
        let start = |pid| TaskStart { container_id: "a".into(), pid };
        let expected =
            |id: &str| EngineEvent::Started { id: id.into(), at: at(), pid: Some(7), preview: None };
        assert_eq!(decoded("default", &start(7)), Some(expected("a")));
        assert_eq!(decoded("shop", &start(7)), Some(expected("shop/a")));
        let touched = EngineEvent::Touched { id: "a".into(), at: at() };
        assert_eq!(decoded("default", &start(0)), Some(touched), "without a PID it is inspected");
    }

    #[test]
    fn only_the_initial_process_exits_with_code_and_time() {
        let exited = |pid, at, code| Some(EngineEvent::Exited { id: "a".into(), pid, at, code });
        assert_eq!(decoded("default", &exit("a")), exited(Some(7), at(), Some(137)));
        assert_eq!(decoded("default", &exit("exec-1")), None);
        assert_eq!(decoded("default", &exit("")), None);
        let own = TaskExit { exited_at: Some(Timestamp { seconds: 5, nanos: 1 }), ..exit("a") };
        let then = UNIX_EPOCH.checked_add(Duration::new(5, 1));
        assert_eq!(decoded("default", &own), exited(Some(7), then, Some(137)));
        let odd = TaskExit { pid: 0, exit_status: u32::MAX, ..exit("a") };
        assert_eq!(decoded("default", &odd), exited(None, at(), None));
    }

    #[test]
    fn each_type_is_decoded() {
        let (container_id, id) = (String::from("a"), ContainerId::from("n/a"));
        let event = decoded("n", &TaskPaused { container_id: container_id.clone() });
        assert_eq!(event, Some(EngineEvent::Paused { id: id.clone(), at: at() }));
        let event = decoded("n", &TaskResumed { container_id: container_id.clone() });
        assert_eq!(event, Some(EngineEvent::Unpaused { id: id.clone(), at: at() }));
        let update = ContainerUpdate { id: container_id.clone(), ..ContainerUpdate::default() };
        assert_eq!(decoded("n", &update), Some(EngineEvent::Changed { id: id.clone(), at: at() }));
        let event = decoded("n", &ContainerDelete { id: container_id.clone() });
        assert_eq!(event, Some(EngineEvent::Changed { id: id.clone(), at: at() }));
        let event = decoded("n", &TaskOom { container_id: container_id.clone() });
        assert_eq!(event, Some(EngineEvent::OomKilled { id, at: at() }));
        assert_eq!(decoded("n", &TaskOom::default()), None);
        assert_eq!(decoded("n", &TaskDelete { container_id, ..TaskDelete::default() }), None);
        assert_eq!(decoded("n", &ContainerCreate { id: "a".into(), ..ContainerCreate::default() }), None);
    }

    #[test]
    fn in_a_single_namespace_a_deleted_task_is_an_exit() {
        let scope = Scope::only("k8s.io").unwrap();
        let deleted = |id: &str| TaskDelete {
            container_id: "a".into(),
            pid: 7,
            exit_status: 137,
            exited_at: Some(Timestamp { seconds: 5, nanos: 1 }),
            id: id.into(),
        };
        let then = UNIX_EPOCH.checked_add(Duration::new(5, 1));
        let over = EngineEvent::Exited { id: "a".into(), pid: Some(7), at: then, code: Some(137) };
        for (process, expected) in [("", Some(&over)), ("a", Some(&over)), ("exec", None)] {
            let reported = decode(envelope("k8s.io", &deleted(process)), &scope).unwrap();
            assert_eq!(reported.as_ref(), expected, "{process:?}");
        }
        assert_eq!(decoded("default", &deleted("")), None, "it may have a successor");
    }

    #[test]
    fn a_type_url_may_begin_with_a_slash() {
        let start = TaskStart { container_id: "a".into(), pid: 7 };
        for (url, known) in [
            ("containerd.events.TaskStart", true),
            ("/containerd.events.TaskStart", true),
            ("types.containerd.io/containerd.events.TaskStart", false),
            ("containerd.events.TaskStarted", false),
            ("containerd.events/TaskStart", false),
            ("containerd.eventsüTaskStart", false),
            ("TaskStart", false),
            ("", false),
        ] {
            let mut envelope = envelope("default", &start);
            envelope.event.as_mut().unwrap().type_url = url.into();
            assert_eq!(decode(envelope, &by_default()).unwrap().is_some(), known, "{url}");
        }
    }

    #[test]
    fn invalid_ids_and_ignored_namespaces_are_skipped() {
        let start = |id: &str| TaskStart { container_id: id.into(), pid: 7 };
        for (namespace, id) in [
            ("moby", "a"),
            ("k8s.io", "a"),
            ("", "a"),
            ("a/b", "a"),
            ("default", ""),
            ("default", "a/b"),
            ("n", "a\n"),
        ] {
            assert_eq!(decoded(namespace, &start(id)), None, "{namespace:?} {id:?}");
        }
        let ignoring_none = Scope::AllBut(IgnoredNamespaces::new(Vec::new()).unwrap());
        assert!(decode(envelope("moby", &start("a")), &ignoring_none).unwrap().is_some());
        let empty = Envelope { event: None, ..envelope("default", &start("a")) };
        assert_eq!(decode(empty, &by_default()).unwrap(), None);
    }

    #[test]
    fn malformed_events_are_errors() {
        let mut envelope = envelope("default", &TaskStart { container_id: "a".into(), pid: 7 });
        envelope.event.as_mut().unwrap().value = vec![0x0a, 0xff];
        let error = decode(envelope, &by_default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        let text = error.to_string();
        assert!(
            text.starts_with("an event of type containerd.events.TaskStart cannot be understood"),
            "{text}"
        );
    }

    #[test]
    fn invalid_times_are_none() {
        for (seconds, nanos, expected) in [
            (1, 5, UNIX_EPOCH.checked_add(Duration::new(1, 5))),
            (0, 5, None),
            (-62_135_596_800, 0, None),
            (1, -1, None),
            (1, 1_000_000_000, None),
            (i64::MAX, 0, None),
            (253_402_300_800, 0, None),
        ] {
            assert_eq!(moment(Timestamp { seconds, nanos }), expected, "{seconds} {nanos}");
        }
        let start = TaskStart { container_id: "a".into(), pid: 7 };
        let timeless = Envelope { timestamp: None, ..envelope("default", &start) };
        let event = decode(timeless, &by_default()).unwrap().unwrap();
        assert_eq!(event.at(), None);
    }

    #[test]
    fn containerd_filters_the_namespaces() {
        let topics = "topic~=\"^/(tasks/(start|exit|oom|paused|resumed)|containers/(update|delete))$\"";
        let own = "topic==\"/whalewatcher/probe\",namespace==\"whalewatcher\"";
        let filtered = format!("{topics},namespace!=\"moby\",namespace!=\"k8s.io\"");
        assert_eq!(filters(&by_default()), [filtered.as_str(), own]);
        assert_eq!(filters(&Scope::AllBut(IgnoredNamespaces::new(Vec::new()).unwrap())), [topics, own]);
        let topics = topics.replace("start|", "delete|start|");
        let only = format!("{topics},namespace==\"k8s.io\"");
        assert_eq!(filters(&Scope::only("k8s.io").unwrap()), [only.as_str(), own]);
    }
}
