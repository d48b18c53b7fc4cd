use whalewatcher_core::{ErrorKind, Network, Port, Protocol};

use super::*;
use crate::http::budget::Budget;
use crate::limits::{ENTRY, LABEL};

/// All details.
const ALL: Option<Details> = Some(Details { networks: true, network_mode: true, oom_kills: true });

fn decode(body: &[u8]) -> Result<Vec<ListingEntry>, EngineError> {
    super::decode("list", &mut Body::of(body), None, ALL)
}

fn decode_within(memory_limit: usize, body: &[u8]) -> Result<Vec<ListingEntry>, EngineError> {
    let mut answer = Body::new(&Budget::new(memory_limit));
    answer.add("list", body, body.len())?;
    super::decode("list", &mut answer, None, ALL)
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
fn details_of_a_list_are_those_that_are_certain() {
    let entry = |status: &str, details: &str| {
        format!(r#"{{"Id":"a","State":"running","Status":"{status}",{details}}}"#)
    };
    let details = r#""Ports":[{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}],
        "NetworkSettings":{"Networks":{"shop":{"GlobalIPv6Address":"fd00::2"}}}"#;
    let up = Container::new("a", "a", 0);
    let port = Port::new(80, Protocol::Tcp).published_at("::".parse().unwrap(), 8080);
    let whole =
        up.clone().with_ports([port]).with_networks([Network::new("shop").with_ipv6("fd00::2".parse().ok())]);
    let odd = |value: &str| format!(r#""Ports":{value},"NetworkSettings":{{"Networks":{value}}}"#);
    for (status, details, expected) in [
        ("Up 3 hours", details, whole.clone()),
        ("Up 3 hours (healthy)", details, whole.clone().with_health(Health::Healthy)),
        ("Up 1 second (health: starting)", details, whole.clone().with_health(Health::Starting)),
        ("Up 3 hours (unhealthy)", details, whole.clone().with_health(Health::Unhealthy)),
        ("Up 3 hours (Paused)", details, whole),
        ("up (", &odd("7"), up.clone()),
        (")", &odd("null"), up.clone()),
        ("()", &odd("[7]"), up.clone()),
        ("(odd)", r#""Ports":{},"NetworkSettings":[]"#, up.clone()),
        ("", r#""NetworkSettings":{"Networks":{"a":7}}"#, up),
    ] {
        let body = format!("[{}]", entry(status, details));
        let entries = decode(body.as_bytes()).unwrap();
        assert_eq!(entries[0].container(), &expected, "{body}");
        let entries = super::decode("list", &mut Body::of(body.as_bytes()), None, None).unwrap();
        assert_eq!(entries[0].container(), &Container::new("a", "a", 0));
    }
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
    let no_ids: &[&[u8]] = &[b"[1]", b"[{}]", br#"[{"State":"running"}]"#, br#"[{"Id":null},{"Id":7},[]]"#];
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
