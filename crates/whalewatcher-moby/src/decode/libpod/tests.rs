use whalewatcher_core::{Labels, Port, Protocol};

use super::*;

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

/// Of a connection whose events begin at 1,000 s.
fn form() -> Form {
    Form { listed_until: Some(at(1000)), is_audit: false, networks: true, horizon: at(5000) }
}

fn decode_as(form: Form, body: &str) -> Vec<ListingEntry> {
    decode("list", &mut Body::of(body.as_bytes()), form).unwrap()
}

/// The entry of a container with more fields.
fn entry_with(form: Form, more: &str) -> Option<ListingEntry> {
    let body = format!(r#"[{{"Id":"a","Names":["web"],"Pid":7,"State":"running",{more}}}]"#);
    decode_as(form, &body).pop()
}

#[test]
fn an_entry_of_podman_is_decoded() {
    // Of 4.3.1, shortened.
    let body = r#"[{"AutoRemove":false,"Command":["sleep","100000"],"Created":"1970-01-01T00:01:40.5Z","CreatedAt":"",
        "Exited":false,"ExitedAt":-62135596800,"ExitCode":0,"Id":"1f93","Image":"docker.io/library/busybox:latest",
        "ImageID":"4ab59857833d2bfbf34eff0d5a268668f768466f4257be6086fcad3a71515729","IsInfra":false,"Labels":{"a":"b"},
        "Mounts":[],"Names":["inpod"],"Namespaces":{},"Networks":["podman"],"Pid":32753,"Pod":"50c0","PodName":"pool",
        "Ports":[{"host_ip":"","container_port":80,"host_port":8080,"range":2,"protocol":"tcp,udp"}],"Size":null,
        "StartedAt":200,"State":"paused","Status":"healthy"}]"#;
    let image = whalewatcher_core::Image::new("docker.io/library/busybox:latest")
        .with_id("sha256:4ab59857833d2bfbf34eff0d5a268668f768466f4257be6086fcad3a71515729");
    let labels = [("a", "b"), (PODMAN_POD_ID_LABEL, "50c0"), (PODMAN_POD_NAME_LABEL, "pool")];
    let port =
        |number, protocol| Port::new(number, protocol).published_at([0, 0, 0, 0].into(), number + 8000);
    let expected = Container::new("1f93", "inpod", 32753)
        .with_labels(Labels::from_iter(labels))
        .with_paused(true)
        .with_started_at(at(200))
        .with_created_at(at(100) + Duration::from_millis(500))
        .with_image(image)
        .with_health(Health::Healthy)
        .with_networks([Network::new("podman")])
        .with_ports(
            [Protocol::Tcp, Protocol::Udp]
                .into_iter()
                .flat_map(|protocol| [port(80, protocol), port(81, protocol)]),
        );
    assert_eq!(decode_as(form(), body), [ListingEntry::Whole(expected)]);
    let without = decode_as(Form { networks: false, ..form() }, body);
    assert!(without[0].container().networks().is_empty() && without[0].container().ports().is_empty());
}

#[test]
fn only_a_life_from_before_is_whole() {
    let within = |second| Some(at(second)..=at(second + 1));
    for (started, form, expected) in [
        ("999", form(), None),
        ("1000", form(), Some(within(1000))),
        ("999", Form { is_audit: true, ..form() }, Some(within(999))),
        ("1", Form { listed_until: None, ..form() }, Some(within(1))),
        ("5000", form(), Some(within(5000))),
        ("5001", form(), Some(None)),
        ("-62135596800", form(), Some(None)),
        ("0", form(), Some(None)),
    ] {
        let entry = entry_with(form, &format!(r#""StartedAt":{started}"#)).unwrap();
        let range = match &entry {
            ListingEntry::Whole(_) => None,
            ListingEntry::Partial { started_within, .. } => Some(started_within.clone()),
        };
        assert_eq!(range, expected, "{started}");
        assert_eq!(entry.container().pid(), 7);
    }
}

#[test]
fn states_are_decided_by_what_is_certain() {
    let state = |state: &str, pid: u32| {
        let body = format!(r#"[{{"Id":"a","State":{state},"Pid":{pid},"StartedAt":1}}]"#);
        decode_as(form(), &body).pop().map(|entry| matches!(entry, ListingEntry::Whole(_)))
    };
    for alive in ["running", "paused", "stopping"] {
        assert_eq!(state(&format!("\"{alive}\""), 7), Some(true), "{alive}");
        assert_eq!(state(&format!("\"{alive}\""), 0), Some(false), "{alive} without a PID is inspected");
    }
    for over in NOT_ALIVE {
        assert_eq!(state(&format!("\"{over}\""), 7), None, "{over}");
    }
    assert_eq!(state("\"quantum\"", 7), Some(false));
    assert_eq!(state("\"quantum\"", 0), None);
    assert_eq!(state("null", 7), Some(false));
}

#[test]
fn malformed_details_are_left_out() {
    let more = r#""StartedAt":1,"Created":7,"Image":[],"ImageID":"","Pod":{},"PodName":7,"IsInfra":"yes","Networks":{},
        "Ports":[7,{"container_port":70000},{"container_port":65535,"host_port":1,"range":9}],"Restarts":-1,"Status":7"#;
    let port = Port::new(65535, Protocol::Tcp).published_at([0, 0, 0, 0].into(), 1);
    let expected = Container::new("a", "web", 7).with_started_at(at(1)).with_networks([]).with_ports([port]);
    assert_eq!(entry_with(form(), more), Some(ListingEntry::Whole(expected)));
}

#[test]
fn times_are_cut_to_the_second() {
    assert_eq!(to_the_second(at(7) + Duration::from_nanos(999_999_999)), at(7));
    assert_eq!(to_the_second(at(7)), at(7));
    for (began, is_old) in [(998, true), (999, true), (1000, false)] {
        let began = Some(at(began) + Duration::from_millis(999));
        assert_eq!(is_listed(began, Some(at(1000))), is_old);
        assert!(!is_listed(began, None));
    }
    assert!(!is_listed(None, Some(at(1000))));
}

#[test]
fn nothing_of_a_damaged_list_is_taken_over() {
    let list = |name: &[u8]| {
        let parts = [
            &br#"[{"Id":"a","Names":["a"],"Pid":7,"State":"running","StartedAt":1},{"Id":"b","Names":[""#[..],
            name,
            br#""],"Pid":8,"State":"running","StartedAt":1}]"#,
        ];
        let entries = decode("list", &mut Body::of(&parts.concat()), form()).unwrap();
        entries.iter().map(|entry| matches!(entry, ListingEntry::Whole(_))).collect::<Vec<_>>()
    };
    assert_eq!(list(b"web"), [true, true]);
    assert_eq!(list(b"w\xffb"), [false, false]);
}
