use std::time::{Duration, UNIX_EPOCH};

use whalewatcher_core::{ErrorKind, Image, Network, Port, Protocol};

use super::*;

/// All details.
const ALL: Details = Details { networks: true, network_mode: true, oom_kills: true };

fn inspected(body: &str) -> Result<Option<Container>, EngineError> {
    decode("inspection", &ContainerId::from("a"), body.as_bytes(), SystemTime::now(), ALL, None)
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
fn details_are_decoded() {
    let body = r#"{"Id":"a","Created":"2026-01-31T11:59:00Z","Image":"sha256:c0ffee","RestartCount":3,
        "State":{"Running":true,"Pid":7,"OOMKilled":true,"Health":{"Status":"unhealthy","FailingStreak":3,"Log":[{}]}},
        "Config":{"Image":"nginx:1.27"},"HostConfig":{"NetworkMode":"shop"},"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]},
        "Networks":{"shop":{"IPAddress":"172.18.0.2"}}}}"#;
    let bare = Container::new("a", "a", 7)
        .with_created_at(moment("2026-01-31T11:59:00Z"))
        .with_image(Image::new("nginx:1.27").with_id("sha256:c0ffee"))
        .with_restart_count(3)
        .with_health(Health::Unhealthy);
    let port = Port::new(80, Protocol::Tcp).published_at("0.0.0.0".parse().unwrap(), 8080);
    let network = Network::new("shop").with_ipv4("172.18.0.2".parse().ok());
    let whole = bare.clone().with_networks([network]).with_ports([port]).with_oom_killed(true);
    let whole = whole.with_network_mode(Some("shop"));
    assert_eq!(inspected(body).unwrap(), Some(whole));
    let of = |details| decode("inspection", &"a".into(), body.as_bytes(), SystemTime::now(), details, None);
    assert_eq!(of(Details::default()).unwrap(), Some(bare));
}

#[test]
fn malformed_details_are_skipped() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let any = ["7", "-1", "1.5", "\"\"", "\"x\"", "[]", "{}", "null", "99999999999999999999", &deep];
    for value in any.into_iter().filter(|value| *value != "\"x\"") {
        let body = format!(
            r#"{{"Id":"a","State":{{"Running":true,"Pid":7}},"HostConfig":{{"NetworkMode":{value}}}}}"#
        );
        assert_eq!(inspected(&body).unwrap(), Some(Container::new("a", "a", 7)), "{body:.80}");
    }
    for value in any {
        for details in [
            format!(r#""Created":{value}"#),
            format!(r#""NetworkSettings":{value}"#),
            format!(r#""NetworkSettings":{{"Networks":{value},"Ports":{value}}}"#),
            format!(r#""NetworkSettings":{{"Networks":{{}},"Ports":{{"80":{value},"80/x":{value}}}}}"#),
        ] {
            let body = format!(r#"{{"Id":"a","State":{{"Running":true,"Pid":7}},{details}}}"#);
            assert_eq!(inspected(&body).unwrap(), Some(Container::new("a", "a", 7)), "{body:.80}");
        }
        let of = format!(r#"{{"Running":true,"Pid":7,"OOMKilled":{value},"Health":{value}}}"#);
        assert_eq!(inspected(&state(&of)).unwrap(), Some(Container::new("a", "web", 7)), "{value:.80}");
        let of = format!(r#"{{"Running":true,"Pid":7,"Health":{{"Status":{value}}}}}"#);
        assert_eq!(inspected(&state(&of)).unwrap(), Some(Container::new("a", "web", 7)), "{value:.80}");
    }
    for value in ["\"7\"", "-1", "1.5", "[]", "{}", "null", "4294967296", &deep] {
        let body = format!(
            r#"{{"Id":"a","State":{{"Running":true,"Pid":7}},"RestartCount":{value},"Image":7,"Config":{{"Image":{value}}}}}"#
        );
        let found = inspected(&body).unwrap().unwrap();
        assert_eq!((found.pid(), found.restart_count()), (7, None), "{body:.80}");
    }
}

#[test]
fn an_image_without_a_name_is_named_by_its_id() {
    for (id, name, expected) in [
        (r#""sha256:7""#, r#""web:1""#, Some(Image::new("web:1").with_id("sha256:7"))),
        (r#""sha256:7""#, r#""""#, Some(Image::new("sha256:7").with_id("sha256:7"))),
        (r#""sha256:7""#, "7", Some(Image::new("sha256:7").with_id("sha256:7"))),
        ("7", r#""web:1""#, Some(Image::new("web:1"))),
        ("null", "null", None),
    ] {
        let body = format!(
            r#"{{"Id":"a","State":{{"Running":true,"Pid":7}},"Image":{id},"Config":{{"Image":{name}}}}}"#
        );
        assert_eq!(inspected(&body).unwrap().unwrap().image(), expected.as_ref(), "{body}");
    }
}

#[test]
fn an_end_belongs_to_the_life_in_question() {
    let (began, finished) = ("2026-01-31T12:00:00.1Z", "2026-01-31T12:00:05Z");
    for (started_at, finished_at, more, expected) in [
        (began, finished, "", true),
        (began, finished, r#","OOMKilled":true"#, true),
        (began, finished, r#","OOMKilled":7"#, true),
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
        let end =
            decode_end("inspection", &"a".into(), body.as_bytes(), SystemTime::now(), moment(began).unwrap());
        let oom_killed = more == r#","OOMKilled":true"#;
        let expected = expected.then(|| End { at: moment(finished).unwrap(), code: Some(7), oom_killed });
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
    let of = |body: &[u8]| decode("inspection", &"a".into(), body, SystemTime::now(), ALL, None);
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
        let container = decode("inspection", &id, body, SystemTime::now(), ALL, Some(&packer)).unwrap();
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
    let container = decode("inspection", &"a".into(), body.as_bytes(), SystemTime::now(), ALL, Some(&packer));
    let container = container.unwrap().expect("it is alive");
    assert_eq!(
        (container.pid(), container.rucksack::<String>()),
        (1, None),
        "a panic costs the rucksack only"
    );
}
