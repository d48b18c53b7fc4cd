//! JSON for programs: an object per event, an array of containers. `docs/json.md` is the reference.
//!
//! Each value is one line whatever names and labels contain: all characters that [`Printable`] escapes are
//! escaped too. It is serialized directly into the writer, so that large labels take no memory here.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::ser::{Serialize, Serializer};
use serde_json::ser::Formatter;
use whalewatcher_core::{Container, EngineIdentity, EngineKey, Event, EventKind, Printable, Watcher};
use whalewatcher_etcd::HostStatus;

use crate::clusters::host_of;
use crate::hosts::host;

/// Returns the engine of an event, else that of the newest connection, with the host that `--host` accepts.
/// Before the first connection ID and version are empty.
pub(crate) fn engine(watcher: &dyn Watcher, event: Option<&Event>) -> EngineIdentity {
    let known = event.and_then(|event| event.engine.clone()).or_else(|| watcher.identity());
    let host = host(watcher.engine_type(), watcher.endpoint());
    match known {
        Some(known) => {
            let mut engine = EngineIdentity::clone(&known);
            engine.endpoint = host;
            engine
        }
        None => {
            let mut engine = EngineIdentity::new(watcher.engine_type(), host);
            engine.host = host_of(watcher).cloned();
            engine
        }
    }
}

/// Writes an event as a line.
pub(crate) fn write_event(writer: &mut impl Write, watcher: &dyn Watcher, event: &Event) -> io::Result<()> {
    let engine = engine(watcher, Some(event));
    let mut event = event.clone().with_engine(Some(Arc::new(engine)));
    if let EventKind::Moved { from, .. } = &mut event.kind {
        *from = EngineKey::new(from.engine_type(), host(from.engine_type(), from.endpoint()));
    }
    write_line(writer, &event)
}

/// A container with its engine.
#[derive(serde::Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    container: &'a Container,
    engine: EngineIdentity,
}

impl<'a> Entry<'a> {
    fn new(watcher: &dyn Watcher, container: &'a Container) -> Self {
        Self { container, engine: engine(watcher, None) }
    }
}

/// Writes an array of containers with their engines as a line.
pub(crate) fn write_containers<'a>(
    writer: &mut impl Write,
    all: impl Iterator<Item = (&'a dyn Watcher, &'a Container)>,
) -> io::Result<()> {
    serializer(writer).collect_seq(all.map(|(watcher, container)| Entry::new(watcher, container)))?;
    writer.write_all(b"\n")
}

/// Writes a container with its engine, without an end of line.
#[cfg(feature = "serve")]
pub(crate) fn write_container(
    writer: &mut impl Write,
    watcher: &dyn Watcher,
    container: &Container,
) -> io::Result<()> {
    Ok(Entry::new(watcher, container).serialize(&mut serializer(writer))?)
}

/// An engine that is watched, or what was found and is not.
#[derive(serde::Serialize)]
pub(crate) struct ListedEngine {
    #[serde(flatten)]
    pub(crate) engine: Option<EngineIdentity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    pub(crate) prefix: String,
    pub(crate) phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fallback: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) containers: Option<usize>,
    pub(crate) unresolved: usize,
    pub(crate) problems: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

/// Writes an array of engines as a line.
pub(crate) fn write_engines(
    writer: &mut impl Write,
    all: impl Iterator<Item = ListedEngine>,
) -> io::Result<()> {
    serializer(writer).collect_seq(all)?;
    writer.write_all(b"\n")
}

/// Writes an array of hosts as a line.
pub(crate) fn write_hosts(writer: &mut impl Write, all: &[HostStatus]) -> io::Result<()> {
    #[derive(serde::Serialize)]
    struct Entry<'a> {
        id: &'a str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<&'a str>,
        published: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        agent: Option<&'a str>,
        since: Option<String>,
        last_word: Option<String>,
        engines: Vec<Engine<'a>>,
    }
    #[derive(serde::Serialize)]
    struct Engine<'a> {
        #[serde(flatten)]
        engine: &'a EngineIdentity,
        containers: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    }
    let text = |time: Option<SystemTime>| {
        let time = time.and_then(|time| Timestamp::try_from(time).ok());
        time.map(|time| time.to_string())
    };
    let entries = all.iter().map(|it| Entry {
        id: &it.host.id,
        name: &it.host.name,
        address: it.address.as_deref(),
        published: it.is_published,
        agent: it.agent_version.as_deref(),
        since: text(it.since),
        last_word: text(it.last_word),
        engines: it
            .engines
            .iter()
            .map(|it| Engine { engine: &it.engine, containers: it.containers, error: it.error.as_deref() })
            .collect(),
    });
    serializer(writer).collect_seq(entries)?;
    writer.write_all(b"\n")
}

/// What is known of a process: its container and that one's watcher, no container, or why that is unknown.
#[cfg(target_os = "linux")]
pub(crate) type Owner<'a> = Result<Option<(&'a dyn Watcher, &'a Container)>, &'a str>;

/// Writes an array of processes with their containers as a line.
#[cfg(target_os = "linux")]
pub(crate) fn write_processes<'a>(
    writer: &mut impl Write,
    all: impl Iterator<Item = (u32, Owner<'a>)>,
) -> io::Result<()> {
    #[derive(serde::Serialize)]
    struct Entry<'a> {
        pid: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        container: Option<&'a Container>,
        #[serde(skip_serializing_if = "Option::is_none")]
        engine: Option<EngineIdentity>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    }
    let entries = all.map(|(pid, owner)| {
        let (owner, error) = owner.map_or_else(|error| (None, Some(error)), |owner| (owner, None));
        let (watcher, container) = owner.unzip();
        Entry { pid, container, engine: watcher.map(|watcher| engine(watcher, None)), error }
    });
    serializer(writer).collect_seq(entries)?;
    writer.write_all(b"\n")
}

/// An entry of `log`.
#[derive(serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Logged<'a> {
    Event {
        #[serde(flatten)]
        event: &'a Event,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        found: bool,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        uncertain: bool,
    },
    Gap(Gap),
}

/// A time in which nothing was recorded; `since` is `null` before the journal began.
#[derive(serde::Serialize)]
pub(crate) struct Gap {
    event: &'static str,
    since: Option<String>,
    until: String,
}

impl Gap {
    pub(crate) fn new(since: Option<SystemTime>, until: SystemTime) -> Self {
        let stamp = |time| Timestamp::try_from(time).unwrap_or(Timestamp::MAX).to_string();
        Self { event: "gap", since: since.map(stamp), until: stamp(until) }
    }
}

/// Writes an entry of `log` as a line.
pub(crate) fn write_logged(writer: &mut impl Write, logged: &Logged<'_>) -> io::Result<()> {
    write_line(writer, logged)
}

pub(crate) fn write_line(writer: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut serializer(writer))?;
    writer.write_all(b"\n")
}

/// A compact format that escapes all that [`Printable`] does.
struct OneLine;

fn serializer<W: Write>(writer: &mut W) -> serde_json::Serializer<&mut W, OneLine> {
    serde_json::Serializer::with_formatter(writer, OneLine)
}

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| Printable::escapes(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use whalewatcher_core::{
        COMPOSE_PROJECT_LABEL, CrashLoop, EngineError, EngineWatcher, ErrorKind, Health, Host, Image, Labels,
        Network, POD_NAME_LABEL, POD_NAMESPACE_LABEL, Port, Protocol, SeenBy,
    };
    use whalewatcher_testkit::scripted::Engine as Scripted;

    use whalewatcher_etcd::HostEngine;

    use super::*;

    /// An event, with all that can be known of it.
    fn dated(kind: EventKind) -> Event {
        let seen_by = match kind {
            EventKind::Exited { .. } => SeenBy::Kernel,
            _ => SeenBy::Engine,
        };
        Event::new(SystemTime::UNIX_EPOCH, kind).with_seen_by(seen_by)
    }

    fn event(kind: EventKind) -> Value {
        let mut line = Vec::new();
        let watcher = EngineWatcher::new(Scripted::new());
        write_event(&mut line, &watcher, &dated(kind)).unwrap();
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        serde_json::from_slice(&line).unwrap()
    }

    /// A container with all that can be known of it.
    fn web(name: &str, project: &str) -> Container {
        let labels =
            [(COMPOSE_PROJECT_LABEL, project), (POD_NAMESPACE_LABEL, "default"), (POD_NAME_LABEL, "web-0")];
        let network = Network::new("shop_default").with_ipv4("172.18.0.2".parse().ok());
        Container::new("1", name, 7)
            .with_labels(Labels::from_iter(labels))
            .with_image(Image::new("nginx:1.27").with_id("sha256:1"))
            .with_health(Health::Healthy)
            .with_created_at(SystemTime::UNIX_EPOCH)
            .with_host_pid(1007)
            .with_restart_count(1)
            .with_oom_killed(true)
            .with_network_mode(Some("shop_default"))
            .with_networks([network.with_ipv6("fd00::2".parse().ok())])
            .with_ports([Port::new(80, Protocol::Tcp).published_at("0.0.0.0".parse().unwrap(), 8080)])
    }

    #[test]
    fn any_text_stays_on_one_line_and_survives_a_round_trip() {
        let evil = "a\u{1b}[2J\"\\\n\r\u{7f}\u{85}\u{9b}31m\u{2028}\u{202e}\u{200b}\u{e0041}b鯨🐳/";
        let mut line = Vec::new();
        write_line(&mut line, &evil).unwrap();
        let line = String::from_utf8(line).unwrap();
        let body = line.strip_suffix('\n').unwrap();
        assert!(!body.contains(Printable::escapes), "{body:?}");
        assert!(body.contains("\\u009b31m\\u2028\\u202e\\u200b\\udb40\\udc41b鯨🐳"), "{body}");
        assert_eq!(serde_json::from_str::<String>(body).unwrap(), evil);
    }

    /// Collects the paths of all fields except labels.
    fn paths(value: &Value, prefix: &str, all: &mut BTreeSet<String>) {
        let value = if value.is_array() { &value[0] } else { value };
        for (key, value) in value.as_object().into_iter().flatten() {
            let path = format!("{prefix}{key}");
            if key != "labels" {
                paths(value, &format!("{path}."), all);
            }
            all.insert(path);
        }
    }

    fn kinds() -> [EventKind; 12] {
        let container = Arc::new(web("web", "shop"));
        let error = Arc::new(EngineError::new(ErrorKind::Failed, "gone"));
        let crash_loop = CrashLoop::new(container.clone(), 5, SystemTime::UNIX_EPOCH).with_code(Some(1));
        [
            EventKind::CrashLoop(Arc::new(crash_loop)),
            EventKind::Started(container.clone()),
            EventKind::Exited { container: container.clone(), code: Some(0) },
            EventKind::Paused(container.clone()),
            EventKind::Unpaused(container.clone()),
            EventKind::Updated { was: Arc::new(Container::new("1", "old", 7)), container: container.clone() },
            EventKind::Joined,
            EventKind::Left,
            EventKind::Moved {
                was: Arc::new(Container::new("moby/1", "1", 7)),
                container,
                from: EngineKey::new("containerd.io", "unix:///run/containerd/containerd.sock"),
            },
            EventKind::Synced { containers: 1, unresolved: 1 },
            EventKind::Lagged { missed: 1 },
            EventKind::Disconnected { error },
        ]
    }

    #[test]
    fn lines_are_the_librarys_events_with_the_engine() {
        for kind in kinds() {
            let mut line = event(kind.clone());
            assert_eq!(line.as_object_mut().unwrap().remove("engine").unwrap()["type"], "scripted");
            let mut library = serde_json::to_value(dated(kind)).unwrap();
            if let Some(from) = library.get_mut("from") {
                from["api"] = "containerd:///run/containerd/containerd.sock".into();
            }
            assert_eq!(line, library);
        }
    }

    /// Returns the fields in the tables below a heading of the reference.
    fn documented(heading: &str) -> BTreeSet<String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/json.md");
        let text = std::fs::read_to_string(path).unwrap();
        let sections = text.split("\n## ").filter(|section| section.starts_with(heading));
        let rows = sections.flat_map(str::lines).filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        rows.map(|(field, _)| field.to_owned()).collect()
    }

    #[test]
    fn the_reference_lists_exactly_the_fields() {
        let mut events = BTreeSet::new();
        let mut names = BTreeSet::new();
        for kind in kinds() {
            let event = event(kind);
            names.insert(event["event"].as_str().unwrap().to_owned());
            let fields = event.as_object().unwrap().iter();
            let own = fields.filter(|(key, _)| !matches!(key.as_str(), "container" | "engine"));
            paths(
                &Value::Object(own.map(|(key, value)| (key.clone(), value.clone())).collect()),
                "",
                &mut events,
            );
        }
        events.extend(["container".to_owned(), "engine".to_owned()]);
        assert_eq!(documented("Events"), events);
        assert_eq!(documented("Kinds of events"), names);

        let mut line = Vec::new();
        let watcher = EngineWatcher::new(Scripted::new());
        let web = web("web", "shop");
        write_containers(&mut line, [(&watcher as &dyn Watcher, &web)].into_iter()).unwrap();
        let all: Value = serde_json::from_slice(&line).unwrap();
        let (mut containers, mut engine) = (BTreeSet::new(), BTreeSet::new());
        paths(&all[0], "", &mut containers);
        let mut identity = EngineIdentity::new("docker.com", "unix:///run/docker.sock");
        identity.pid = Some(1);
        identity.host = Some(Host::new("1", "web-1"));
        paths(&serde_json::to_value(identity).unwrap(), "", &mut engine);
        containers.retain(|path| !path.starts_with("engine."));
        assert_eq!(documented("Containers"), containers);
        assert_eq!(documented("Engines"), engine);

        let document: Value = serde_json::from_str(include_str!("../command/serve/openapi.json")).unwrap();
        let mut described = BTreeSet::new();
        described_paths(&document["components"]["schemas"]["Container"], "", &mut described);
        containers.extend(engine.iter().map(|path| format!("engine.{path}")));
        assert_eq!(described, containers, "openapi.json describes containers");
    }

    /// Collects the paths of all fields that a schema of OpenAPI describes.
    fn described_paths(schema: &Value, prefix: &str, all: &mut BTreeSet<String>) {
        let schema = schema.get("items").unwrap_or(schema);
        for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{prefix}{key}");
            described_paths(schema, &format!("{path}."), all);
            all.insert(path);
        }
    }

    #[test]
    fn the_reference_lists_the_fields_of_listed_engines() {
        let mut engine = EngineIdentity::new("docker.com", "unix:///run/docker.sock");
        engine.pid = Some(1);
        engine.host = Some(Host::new("1", "web-1"));
        let listed = ListedEngine {
            engine: Some(engine),
            place: Some("dockerd (PID 1)".to_owned()),
            prefix: String::new(),
            phase: "live",
            source: Some("events"),
            fallback: Some("no events".to_owned()),
            containers: Some(1),
            unresolved: 0,
            problems: Vec::new(),
            remedy: Some("start it".to_owned()),
        };
        let mut line = Vec::new();
        write_engines(&mut line, std::iter::once(listed)).unwrap();
        let all: Value = serde_json::from_slice(&line).unwrap();
        let fields: BTreeSet<_> = all[0].as_object().unwrap().keys().cloned().collect();
        let mut expected = documented("The list of engines");
        expected.extend(documented("Engines"));
        expected.retain(|field| !field.contains('.'));
        assert_eq!(fields, expected);
    }

    #[test]
    fn the_reference_lists_the_fields_of_hosts() {
        let mut engine = HostEngine::new(EngineIdentity::new("docker.com", "unix:///run/docker.sock"));
        engine.error = Some("gone".to_owned());
        let mut host = HostStatus::new(Host::new("1", "web-1"));
        host.address = Some("10.0.0.1".to_owned());
        host.agent_version = Some("0.1.0".to_owned());
        host.engines.push(engine);
        let mut line = Vec::new();
        write_hosts(&mut line, &[host]).unwrap();
        let all: Value = serde_json::from_slice(&line).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        let mut fields = keys(&all[0]);
        let of_engines = documented("Engines");
        let own = keys(&all[0]["engines"][0]).into_iter().filter(|field| !of_engines.contains(field));
        fields.extend(own.map(|field| format!("engines.{field}")));
        assert_eq!(documented("The list of hosts"), fields);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_reference_lists_the_fields_of_processes() {
        let (web, watcher) = (web("web", "shop"), EngineWatcher::new(Scripted::new()));
        let all =
            [(1, Ok(Some((&watcher as &dyn Watcher, &web)))), (2, Ok(None)), (3, Err("no such process"))];
        let mut line = Vec::new();
        write_processes(&mut line, all.into_iter()).unwrap();
        let all: Value = serde_json::from_slice(&line).unwrap();
        let fields = |nth: usize| all[nth].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let expected = [&["container", "engine", "pid"][..], &["pid"], &["error", "pid"]];
        assert_eq!([fields(0), fields(1), fields(2)], expected);
        let documented = documented("Processes");
        assert_eq!(
            documented.iter().map(String::as_str).collect::<Vec<_>>(),
            ["container", "engine", "error", "pid"]
        );
    }
}
