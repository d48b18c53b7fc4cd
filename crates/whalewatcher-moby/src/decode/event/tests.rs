use whalewatcher_core::{ErrorKind, Health, Image};

use super::*;

fn decode_whole(line: &[u8]) -> Result<Option<Decoded>, EngineError> {
    decode(&Line::Whole(line.to_vec().into()), UNIX_EPOCH + AT + Duration::from_secs(1), false)
}

fn decode_bytes(line: &[u8]) -> Result<Option<EngineEvent>, EngineError> {
    decode_whole(line).map(|decoded| decoded.map(|decoded| decoded.event))
}

fn decoded(line: &str) -> Option<EngineEvent> {
    decode_bytes(line.as_bytes()).unwrap()
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
fn a_start_has_a_preview_with_name_and_labels() {
    let attributes = r#"{"name":"web","image":"busybox","com.docker.compose.project":"shop","tier":"1"}"#;
    let Some(EngineEvent::Started { id, at, pid: None, preview: Some(preview) }) =
        decoded(&event("start", attributes))
    else {
        panic!("a start with a preview");
    };
    assert_eq!((id, at), (a(), Some(UNIX_EPOCH + AT)));
    assert_eq!(preview.to_string(), "container 'web'/a from project 'shop' with PID 0");
    assert_eq!((preview.labels().len(), preview.image()), (2, Some(&Image::new("busybox"))));
    let Some(EngineEvent::Started { preview, .. }) = decoded(&event("start", r#"{"name":"/web"}"#)) else {
        panic!("a start")
    };
    assert_eq!(preview.unwrap().name(), "web");
}

#[test]
fn an_exit_code_is_decoded_from_docker_and_podman() {
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
fn each_action_is_its_event() {
    let at = Some(UNIX_EPOCH + AT);
    assert_eq!(decoded(&event("pause", "{}")), Some(EngineEvent::Paused { id: a(), at }));
    assert_eq!(decoded(&event("unpause", "{}")), Some(EngineEvent::Unpaused { id: a(), at }));
    assert_eq!(
        decoded(&event("restore", "{}")),
        Some(EngineEvent::Started { id: a(), at, pid: None, preview: None })
    );
    assert_eq!(decoded(&event("oom", "{}")), Some(EngineEvent::OomKilled { id: a(), at }));
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
        "connect",
        "disconnect",
        "exec_create: /bin/sh -c true",
        "exec_start: die",
        "exec_die",
        "health_status: running",
        "health_status: ",
        "cleanup",
        "init",
        "abduct",
        "",
    ] {
        assert_eq!(decoded(&event(action, "{}")), None, "{action}");
    }
}

#[test]
fn health_is_decoded_from_docker_and_podman() {
    let at = Some(UNIX_EPOCH + AT);
    let podman = |more: &str| {
        format!(r#"{{{more},"Type":"container","Action":"health_status","Actor":{{"ID":"a"}}}}"#)
    };
    for (line, at, health) in [
        (event("health_status: starting", "{}"), at, Health::Starting),
        (event("health_status: healthy", "{}"), at, Health::Healthy),
        (event("health_status: unhealthy", "{}"), at, Health::Unhealthy),
        (podman(r#""HealthStatus":"healthy""#), None, Health::Healthy),
    ] {
        let expected = Decoded::from(EngineEvent::Health { id: a(), at, health });
        assert_eq!(decode_whole(line.as_bytes()).unwrap(), Some(expected), "{line}");
    }
    assert_eq!(decoded(&podman(r#""HealthStatus":"odd""#)), None);
    // That of podman 4.3, which comes before the result of the probe.
    let expected = Decoded { event: EngineEvent::Changed { id: a(), at }, may_wait: true };
    assert_eq!(decode_whole(event("health_status", "{}").as_bytes()).unwrap(), Some(expected));
}

#[test]
fn a_change_of_networks_is_one_of_the_container() {
    let network = |action: &str, id: &str, attributes: &str| {
        format!(
            r#"{{"Type":"network","Action":"{action}","Actor":{{"ID":"{id}","Attributes":{attributes}}},"time":7}}"#
        )
    };
    let event = EngineEvent::Changed { id: a(), at: Some(UNIX_EPOCH + Duration::from_secs(7)) };
    for (line, may_wait) in [
        (network("connect", "c0ffee", r#"{"container":"a","name":"shop","type":"bridge"}"#), false),
        (network("disconnect", "c0ffee", r#"{"container":"a","name":"shop"}"#), true),
        // podman's.
        (network("connect", "a", r#"{"name":"shop"}"#), false),
    ] {
        let expected = Decoded { event: event.clone(), may_wait };
        assert_eq!(decode_whole(line.as_bytes()).unwrap(), Some(expected), "{line}");
    }
    for action in ["create", "destroy", "remove", "update", "start", "die"] {
        assert_eq!(decoded(&network(action, "c0ffee", r#"{"container":"a"}"#)), None, "{action}");
    }
    assert_eq!(decoded(&network("connect", "c0ffee", r#"{"container":"a/b"}"#)), None);
    for malformed in ["7", r#"{"container":7}"#, r#"{"container":{}}"#] {
        let line = network("connect", "c0ffee", malformed);
        assert_eq!(decode_bytes(line.as_bytes()).unwrap_err().kind(), ErrorKind::Malformed, "{line}");
        assert_eq!(decoded(&network("create", "c0ffee", malformed)), None);
    }
}

#[test]
fn events_of_other_kinds_or_without_a_container_are_skipped() {
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
fn the_old_form_of_events_is_decoded() {
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
fn empty_lines_are_skipped() {
    for line in ["", "\r", " \t"] {
        assert_eq!(decoded(line), None, "{line:?}");
    }
}

#[test]
fn a_line_that_is_no_event_is_an_error() {
    for line in ["null", "<html>", "{\"Type\":", "\u{1b}[2J"] {
        assert_eq!(decode_bytes(line.as_bytes()).unwrap_err().kind(), ErrorKind::Malformed, "{line}");
    }
}

/// Only a reason to inspect `a`.
fn hint() -> EngineEvent {
    EngineEvent::Touched { id: a(), at: None }
}

#[test]
fn a_malformed_event_that_names_its_container_is_a_hint() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for attributes in [r#"{"tier":1}"#, r#"{"tier":{}}"#, r#""x""#, "[7]", "7", r#"{"a":1e999}"#, &deep] {
        for action in ["start", "die", "pause"] {
            assert_eq!(decoded(&event(action, attributes)), Some(hint()), "{action} {attributes:.50}");
        }
        assert_eq!(decoded(&event("exec_die", attributes)), None, "{attributes:.50}");
    }
    let rest = r#""Type":"container","Action":"die","Actor":{"ID":"a","Attributes":{}}"#;
    for line in [
        format!(r#"{{{rest},"time":"noon"}}"#),
        format!(r#"{{{rest},"timeNano":9223372036854775808}}"#),
        format!(r#"{{{rest},"timeNano":1.5}}"#),
        format!(r#"{{{rest},"Type":"container"}}"#),
        format!(r#"{{{rest},"time":-1e999}}"#),
        format!(r#"{{{rest},"status":{{}}}}"#),
        format!(r#"{{{rest}"#),
        format!("{{{rest}}}}}"),
    ] {
        assert_eq!(decoded(&line), Some(hint()), "{line}");
    }
    let other = r#"{"Type":"network","Action":"die","Actor":{"ID":"a","Attributes":7}}"#;
    assert_eq!(decoded(other), None);
}

#[test]
fn the_beginning_of_an_event_that_is_too_large_is_a_hint() {
    let limit = 1000;
    let long = event("die", &format!(r#"{{"huge":"{}"}}"#, "x".repeat(limit)));
    let truncated = |line: &str| {
        let decoded = decode(&Line::Truncated(line[..limit].to_owned().into()), UNIX_EPOCH, true);
        decoded.map(|decoded| decoded.map(|decoded| decoded.event))
    };
    assert_eq!(truncated(&long).unwrap(), Some(hint()));
    assert_eq!(truncated(&long.replace("container", "network")).unwrap(), None);
    let error = truncated(&"x".repeat(limit)).unwrap_err();
    assert_eq!(error.to_string(), "GET /events: the answer has more than 1000 bytes");
}

#[test]
fn events_with_an_invalid_id_are_skipped() {
    let huge = "f".repeat(5_000_000);
    for id in ["a/b", "..", "a b", "\\u001b[2J", "a\\n", "\u{fffd}", &huge] {
        let named = |text: String| text.replace(r#""a""#, &format!("\"{id}\""));
        assert_eq!(decoded(&named(event("start", r#"{"name":"web"}"#))), None, "{id:.50}");
        assert_eq!(decoded(&named(event("start", "[]"))), None, "malformed in other parts: {id:.50}");
    }
}

#[test]
fn invalid_utf8_names_no_container_and_hides_no_event() {
    let damaged = |line: String, part: &str| {
        let mut bytes = line.into_bytes();
        let at = bytes.windows(part.len()).rposition(|window| window == part.as_bytes()).unwrap();
        bytes[at] = 0xff;
        decode_bytes(&bytes)
    };
    let started = EngineEvent::Started { id: a(), pid: None, at: Some(UNIX_EPOCH + AT), preview: None };
    assert_eq!(damaged(event("start", r#"{"name":"web"}"#), "web").unwrap(), Some(started));
    for part in ["container", "Type", "Action", "die", "a\",\"Attributes", "Actor"] {
        match damaged(event("die", "{}"), part) {
            Ok(Some(event)) => assert!(matches!(event, EngineEvent::Exited { .. }), "{part}: {event:?}"),
            Ok(None) => panic!("{part} does not matter"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Malformed),
        }
    }
}

#[test]
fn a_time_after_the_horizon_is_dropped() {
    let line = |time: &str| format!(r#"{{"Type":"container","Action":"die","Actor":{{"ID":"a"}},{time}}}"#);
    let exact = Some(UNIX_EPOCH + AT);
    for (time, at) in [
        (r#""timeNano":1769860800123456789"#, exact),
        (r#""timeNano":1769860801123456789"#, Some(UNIX_EPOCH + AT + Duration::from_secs(1))),
        (r#""timeNano":1769860801123456790"#, None),
        (r#""timeNano":9223372036854775807"#, None),
        (r#""timeNano":-9223372036854775808"#, None),
        (r#""timeNano":0,"time":0"#, None),
        (r#""time":253402300799"#, None),
        (r#""time":9223372036854775807"#, None),
        (r#""time":-62135596800"#, None),
        (r#""timeNano":null,"time":1769860800"#, Some(UNIX_EPOCH + Duration::from_secs(1_769_860_800))),
    ] {
        let expected = EngineEvent::Exited { id: a(), pid: None, at, code: None };
        assert_eq!(decoded(&line(time)), Some(expected), "{time}");
    }
}

#[test]
fn labels_of_any_number_and_size_are_decoded() {
    let many: Vec<_> = (0..100_000).map(|number| format!(r#""l{number}":"v""#)).collect();
    let huge = "x".repeat(10_000_000);
    let attributes = format!(r#"{{"name":"web",{},"huge":"{huge}"}}"#, many.join(","));
    let Some(EngineEvent::Started { preview: Some(preview), .. }) = decoded(&event("start", &attributes))
    else {
        panic!("a start with a preview");
    };
    assert_eq!(preview.labels().len(), 100_001);
    assert_eq!(preview.labels().get("huge"), Some(huge.as_str()));
}
