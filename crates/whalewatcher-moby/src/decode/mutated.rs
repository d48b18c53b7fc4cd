//! Mutated input for all decoders: none panics, and their results are plausible.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use proptest::prelude::*;
use whalewatcher_core::adapter::{EngineEvent, ListingEntry};
use whalewatcher_core::{Container, ContainerId, EngineError};

use super::mutation::{mutate, mutations};
use super::uptime::started_within;
use super::version::ApiVersion;
use super::{Details, event, inspection, json, libpod, list};
use crate::decode::event::Decoded;
use crate::decode::identity::{Dialect, Info, Version};
use crate::decode::libpod::Form;
use crate::http::answer;
use crate::http::budget::Body;
use crate::http::lines::{Line, Received};

/// All details.
const ALL: Details = Details { networks: true, network_mode: true, oom_kills: true };

const EVENT: &str = r#"{"status":"die","id":"a","from":"busybox","Type":"container","Action":"die","Actor":{"ID":"a",
"Attributes":{"exitCode":"137","image":"busybox","name":"web","com.docker.compose.project":"shop"}},"scope":"local",
"time":1769860800,"timeNano":1769860800123456789}"#;

const START: &str = r#"{"Type":"container","Action":"start","Actor":{"ID":"a","Attributes":{"name":"web","tier":"1"}},
"timeNano":1769860800123456789}"#;

const CONNECT: &str = r#"{"Type":"network","Action":"disconnect","Actor":{"ID":"b","Attributes":{"container":"a",
"name":"shop_default","type":"bridge"}},"scope":"local","time":1769860800,"timeNano":1769860800123456789}"#;

const HEALTH: &str = r#"{"status":"health_status: healthy","id":"a","Type":"container","Action":"health_status: healthy",
"HealthStatus":"healthy","Actor":{"ID":"a","Attributes":{"name":"web"}},"timeNano":1769860800123456789}"#;

const INSPECTION: &str = r#"{"Id":"a","Created":"2026-01-31T12:00:00Z","Name":"/web","State":{"Status":"running",
"Running":true,"Paused":false,"Restarting":false,"OOMKilled":false,"Pid":4711,"ExitCode":0,
"StartedAt":"2026-01-31T12:00:00.123456789Z","Health":{"Status":"healthy","Log":null}},"Image":"sha256:c0ffee",
"RestartCount":2,"HostConfig":{"Privileged":true},"Config":{"Image":"busybox","Labels":{"com.docker.compose.project":"shop",
"é":"\u00e9"}},"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"::","HostPort":"8080"}],"53/udp":null},
"Networks":{"shop_default":{"IPAddress":"172.18.0.2","GlobalIPv6Address":"fd00::2"}}}}"#;

const LIST: &str = r#"[{"Id":"a","Names":["/web","/other/web"],"Image":"busybox","Created":1769860800,"State":"running",
"Status":"Up 3 hours (unhealthy)","Labels":{"com.docker.compose.project":"shop"},"Ports":[{"IP":"0.0.0.0","PrivatePort":80,
"PublicPort":8080,"Type":"tcp"}],"NetworkSettings":{"Networks":{"shop_default":{"IPAddress":"172.18.0.2"}}}},{"Id":"b","Names":null,"Labels":null,
"State":"paused","Status":"Up About a minute"}]"#;

const LIBPOD_LIST: &str = r#"[{"Created":"2026-01-31T12:00:00.5Z","Id":"a","Image":"busybox","ImageID":"4ab5","IsInfra":true,
"Labels":{"a":"b"},"Names":["web"],"Networks":["podman"],"Pid":4711,"Pod":"50c0","PodName":"pool","Ports":[{"host_ip":"","container_port":80,
"host_port":8080,"range":1,"protocol":"tcp"}],"StartedAt":1769860800,"State":"running","Status":"healthy"},{"Id":"b","Names":null,"Labels":null,
"State":"paused","Pid":12,"StartedAt":1769860801,"Networks":null,"Ports":null}]"#;

const VERSION: &str = r#"{"Platform":{"Name":""},"Components":[{"Name":"Engine","Version":"28.5.2","Details":{}},
{"Name":"Podman Engine","Version":"4.3.1"}],"Version":"28.5.2","ApiVersion":"1.51","MinAPIVersion":"1.24"}"#;

const INFO: &str = r#"{"ID":"a-b-c","Name":"host","DockerRootDir":"/var/lib/docker","ServerVersion":"28.5.2",
"SystemTime":"2026-01-31T12:00:00.123456789Z","Labels":[]}"#;

const REFUSAL: &str = r#"{"message":"No such container: \u001b[2J\n"}"#;

/// A horizon with some of the times before it and some after it.
fn horizon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

/// An error is one line of bounded length.
fn is_well_formed(error: &EngineError) -> Result<(), TestCaseError> {
    let text = error.to_string();
    prop_assert!(text.len() < 4000 && !text.contains(char::is_control), "{text:?}");
    Ok(())
}

fn is_sane(container: &Container) -> Result<(), TestCaseError> {
    prop_assert!(ContainerId::is_plain(container.id()));
    let shown = container.to_string();
    prop_assert!(!shown.contains(char::is_control), "{shown:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn events(mutations in mutations(), kind in 0..4_usize, cut in any::<bool>()) {
        let line = mutate([EVENT, START, CONNECT, HEALTH][kind], &mutations);
        let line = if cut { Line::Truncated(line.into()) } else { Line::Whole(line.into()) };
        match event::decode(&line, horizon(), false) {
            Ok(Some(Decoded { event, .. })) => {
                prop_assert!(event.at().is_none_or(|at| at <= horizon() && at > SystemTime::UNIX_EPOCH));
                let id = match &event {
                    EngineEvent::Started { id, preview, .. } => {
                        if let Some(preview) = preview {
                            is_sane(preview)?;
                            prop_assert!(preview.id() == id && preview.pid() == 0);
                        }
                        id
                    }
                    EngineEvent::Exited { id, pid: None, .. } | EngineEvent::Changed { id, .. } => id,
                    EngineEvent::Touched { id, .. } => id,
                    EngineEvent::Paused { id, .. }
                    | EngineEvent::Unpaused { id, .. }
                    | EngineEvent::OomKilled { id, .. }
                    | EngineEvent::Health { id, .. } => id,
                    other => return Err(TestCaseError::fail(format!("no engine reports {other:?}"))),
                };
                prop_assert!(ContainerId::is_plain(id));
            }
            Ok(None) => {}
            Err(error) => is_well_formed(&error)?,
        }
    }

    #[test]
    fn inspections(mutations in mutations()) {
        let body = mutate(INSPECTION, &mutations);
        match inspection::decode("inspection", &ContainerId::from("a"), &body, horizon(), ALL, None) {
            Ok(Some(container)) => {
                is_sane(&container)?;
                prop_assert!(container.pid() != 0 && &**container.id() == "a" && !container.name().is_empty());
                prop_assert!(container.started_at().max(container.created_at()).is_none_or(|at| at <= horizon()));
                prop_assert!(container.image().is_none_or(|image| !image.name().is_empty()));
            }
            Ok(None) => prop_assert!(!json::is_corrupt(&body)),
            Err(error) => is_well_formed(&error)?,
        }
    }

    #[test]
    fn lists(mutations in mutations()) {
        let body = mutate(LIST, &mutations);
        match list::decode("list", &mut Body::of(&body), Some(SystemTime::now()), Some(ALL)) {
            Ok(entries) => {
                prop_assert!(entries.len() <= body.len());
                for entry in entries {
                    is_sane(entry.container())?;
                    prop_assert!(entry.container().pid() == 0);
                }
            }
            Err(error) => is_well_formed(&error)?,
        }
    }

    #[test]
    fn lists_of_podman(mutations in mutations(), is_audit in any::<bool>()) {
        let form = Form { listed_until: Some(horizon()), is_audit, networks: true, horizon: horizon() };
        match libpod::decode("list", &mut Body::of(&mutate(LIBPOD_LIST, &mutations)), form) {
            Ok(entries) => {
                for entry in entries {
                    is_sane(entry.container())?;
                    let is_whole = matches!(entry, ListingEntry::Whole(_));
                    let container = entry.container();
                    prop_assert!(!is_whole || container.pid() != 0 && container.started_at().is_some());
                    prop_assert!(container.started_at().max(container.created_at()).is_none_or(|at| at <= horizon()));
                }
            }
            Err(error) => is_well_formed(&error)?,
        }
    }

    /// A malformed entry hides no other.
    #[test]
    fn malformed_entries(mutations in mutations()) {
        let malformed = mutate(LIST.trim_start_matches('[').split_once(",{").map_or("", |(entry, _)| entry), &mutations);
        let body = [b"[", &*malformed, b",{\"Id\":\"other\",\"State\":\"running\"}]"].concat();
        let is_json = serde_json::from_slice::<serde_json::Value>(&body);
        if let Ok(serde_json::Value::Array(entries)) = is_json && entries.len() == 2 {
            let entries = list::decode("list", &mut Body::of(&body), None, Some(ALL));
            let entries = entries.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(entries.iter().any(|entry| &**entry.container().id() == "other"));
        }
    }

    #[test]
    fn identities(of_version in mutations(), of_info in mutations()) {
        match json::decode::<Version>("GET /version", &mutate(VERSION, &of_version)) {
            Ok(version) => {
                version.oldest();
            }
            Err(error) => is_well_formed(&error)?,
        }
        match json::decode::<Info>("GET /info", &mutate(INFO, &of_info)) {
            Ok(mut info) => {
                let id = info.id(Dialect::Podman);
                prop_assert!(id.is_empty() || id.contains(':'), "{id}");
            }
            Err(error) => is_well_formed(&error)?,
        }
    }

    #[test]
    fn refusals(mutations in mutations(), status in 400..600_u16) {
        let status = StatusCode::from_u16(status).map_err(|error| TestCaseError::fail(error.to_string()))?;
        is_well_formed(&answer::refused("GET /x", status, &mutate(REFUSAL, &mutations)))?;
    }

    #[test]
    fn words(text in any::<String>(), mutations in mutations(), seconds in 0..4_000_000_000_u64) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mutated = mutate("Up 59 minutes (Paused)", &mutations);
        for status in [&*text, &String::from_utf8_lossy(&mutated)] {
            if let Some(range) = started_within(status, now) {
                prop_assert!(range.start() <= range.end());
            }
            ApiVersion::parse(status);
        }
        if let Some(version) = ApiVersion::parse(&String::from_utf8_lossy(&mutate("1.51", &mutations))) {
            prop_assert_eq!(ApiVersion::parse(&version.to_string()), Some(version));
        }
    }

    /// The same bytes are the same lines in pieces of any size, and no more bytes are held than the limit of a line.
    #[test]
    fn framing(
        text in proptest::collection::vec(prop_oneof![4 => Just(b'x'), 1 => Just(b'\n'), 1 => any::<u8>()], 0..400),
        cuts in proptest::collection::vec(0..40_usize, 0..100),
        limit in 1..40_usize,
    ) {
        let mut whole = Received::new(limit);
        whole.add(&text);
        let expected: Vec<_> = std::iter::from_fn(|| whole.take_line()).collect();
        prop_assert!(whole.held() <= limit);

        let (mut received, mut lines, mut rest) = (Received::new(limit), Vec::new(), &*text);
        for cut in cuts.into_iter().chain([text.len()]) {
            let (piece, left) = rest.split_at(cut.min(rest.len()));
            rest = left;
            received.add(piece);
            lines.extend(std::iter::from_fn(|| received.take_line()));
            prop_assert!(received.held() <= limit);
        }
        prop_assert_eq!(&lines, &expected);

        // The same by an independent implementation.
        let complete = text.iter().rposition(|byte| *byte == b'\n').map(|end| &text[..end]);
        let split = complete.map(|complete| complete.split(|byte| *byte == b'\n'));
        let whole_lines = split.into_iter().flatten().filter(|line| line.len() <= limit);
        let found = lines.iter().filter_map(|line| match line {
            Line::Whole(line) => Some(&**line),
            Line::Truncated(_) => None,
        });
        prop_assert!(found.eq(whole_lines));
    }
}
