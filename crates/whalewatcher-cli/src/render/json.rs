//! JSON for programs: an object per event, an array of containers. `docs/json.md` is the reference.
//!
//! Each value is one line whatever names and labels contain: all characters that [`Printable`] escapes are escaped too. It is
//! serialized directly into the writer, so that large labels take no memory here.

use std::io::{self, Write};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::ser::Formatter;
use whalewatcher_core::{Container, Event, EventKind, Printable, Watcher};

use crate::hosts::host;

/// The engine of an event or container.
#[derive(serde::Serialize)]
struct Engine {
    #[serde(rename = "type")]
    engine_type: String,
    id: String,
    version: String,
    api: String,
}

impl Engine {
    /// Returns the engine of an event, else that of the newest connection. Before the first connection ID and version are empty.
    fn new(watcher: &dyn Watcher, event: Option<&Event>) -> Self {
        let identity = event.and_then(|event| event.engine.clone()).or_else(|| watcher.identity());
        let known = identity.as_deref();
        let engine_type = known.map_or(watcher.engine_type(), |known| &known.engine_type).to_owned();
        Self {
            id: known.map(|known| known.id.clone()).unwrap_or_default(),
            version: known.map(|known| known.version.clone()).unwrap_or_default(),
            api: host(watcher.engine_type(), watcher.endpoint()),
            engine_type,
        }
    }
}

/// The former values of changed fields.
#[derive(Default, PartialEq, serde::Serialize)]
struct Was<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
}

impl<'a> Was<'a> {
    fn between(before: &'a Container, after: &Container) -> Self {
        let changed = |before: &'a str, after: &str| (before != after).then_some(before);
        Self {
            name: changed(before.name(), after.name()),
            project: changed(before.project(), after.project()),
        }
    }
}

/// An event, its engine, and the container before the event.
struct Line<'a> {
    event: &'a Event,
    engine: Engine,
    before: Option<&'a Container>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("event", self.event.kind.name())?;
        fields.serialize_entry("time", &time(self.event.time))?;
        fields.serialize_entry("engine", &self.engine)?;
        if let Some(container) = self.event.container() {
            fields.serialize_entry("container", &**container)?;
        }
        match &self.event.kind {
            EventKind::Exited { code: Some(code), .. } => fields.serialize_entry("exit_code", code)?,
            EventKind::Updated(after) => {
                let was = self.before.map(|before| Was::between(before, after)).unwrap_or_default();
                if was != Was::default() {
                    fields.serialize_entry("was", &was)?;
                }
            }
            EventKind::Synced { containers, unresolved } => {
                fields.serialize_entry("containers", containers)?;
                fields.serialize_entry("unresolved", unresolved)?;
            }
            EventKind::Lagged { missed } => fields.serialize_entry("missed", missed)?,
            EventKind::Disconnected { error } => fields.serialize_entry("error", &error.to_string())?,
            _ => {}
        }
        fields.end()
    }
}

/// Returns a time as RFC 3339 in UTC; beyond its range, the nearest time in it.
fn time(time: SystemTime) -> String {
    let nearest = if time < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::try_from(time).unwrap_or(nearest).to_string()
}

/// Writes an event as a line; `before` is its container before the event.
pub(crate) fn write_event(
    writer: &mut impl Write,
    watcher: &dyn Watcher,
    event: &Event,
    before: Option<&Container>,
) -> io::Result<()> {
    write_line(writer, &Line { event, engine: Engine::new(watcher, Some(event)), before })
}

/// Writes an array of containers with their engines as a line.
pub(crate) fn write_containers<'a>(
    writer: &mut impl Write,
    all: impl Iterator<Item = (&'a dyn Watcher, &'a Container)>,
) -> io::Result<()> {
    #[derive(serde::Serialize)]
    struct Entry<'a> {
        #[serde(flatten)]
        container: &'a Container,
        engine: Engine,
    }
    let entries = all.map(|(watcher, container)| Entry { container, engine: Engine::new(watcher, None) });
    serializer(writer).collect_seq(entries)?;
    writer.write_all(b"\n")
}

fn write_line(writer: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
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
    use std::sync::Arc;

    use serde_json::Value;
    use whalewatcher_core::{
        COMPOSE_PROJECT_LABEL, EngineError, EngineWatcher, ErrorKind, Labels, POD_NAME_LABEL,
        POD_NAMESPACE_LABEL,
    };
    use whalewatcher_testkit::scripted::Engine as Scripted;

    use super::*;

    fn event(kind: EventKind, before: Option<&Container>) -> Value {
        let mut line = Vec::new();
        let watcher = EngineWatcher::new(Scripted::new());
        let event = Event::new(SystemTime::UNIX_EPOCH, kind);
        write_event(&mut line, &watcher, &event, before).unwrap();
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        serde_json::from_slice(&line).unwrap()
    }

    fn web(name: &str, project: &str) -> Container {
        let labels =
            [(COMPOSE_PROJECT_LABEL, project), (POD_NAMESPACE_LABEL, "default"), (POD_NAME_LABEL, "web-0")];
        Container::new("1", name, 7).with_labels(Labels::from_iter(labels))
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

    #[test]
    fn updates_contain_former_values() {
        let updated = |before: Container, after| event(EventKind::Updated(Arc::new(after)), Some(&before));
        let was =
            |name: &str, project: &str| updated(web(name, project), web("web", "shop")).get("was").cloned();
        assert_eq!(was("old", "shop"), Some(serde_json::json!({"name": "old"})));
        assert_eq!(was("web", "cart"), Some(serde_json::json!({"project": "cart"})));
        assert_eq!(was("web", "shop"), None);
        assert_eq!(event(EventKind::Updated(Arc::new(web("web", "shop"))), None).get("was"), None);
    }

    /// Collects the paths of all fields except labels.
    fn paths(value: &Value, prefix: &str, all: &mut BTreeSet<String>) {
        for (key, value) in value.as_object().into_iter().flatten() {
            let path = format!("{prefix}{key}");
            if key != "labels" {
                paths(value, &format!("{path}."), all);
            }
            all.insert(path);
        }
    }

    fn kinds() -> [EventKind; 8] {
        let container = Arc::new(web("web", "shop"));
        let error = Arc::new(EngineError::new(ErrorKind::Failed, "gone"));
        [
            EventKind::Started(container.clone()),
            EventKind::Exited { container: container.clone(), code: Some(0) },
            EventKind::Paused(container.clone()),
            EventKind::Unpaused(container.clone()),
            EventKind::Updated(container),
            EventKind::Synced { containers: 1, unresolved: 1 },
            EventKind::Lagged { missed: 1 },
            EventKind::Disconnected { error },
        ]
    }

    #[test]
    fn lines_are_the_librarys_events_with_engine_and_former_values() {
        let old = web("old", "cart");
        for kind in kinds() {
            let mut line = event(kind.clone(), Some(&old));
            let fields = line.as_object_mut().unwrap();
            assert!(fields.remove("engine").is_some());
            assert_eq!(fields.remove("was").is_some(), matches!(kind, EventKind::Updated(_)));
            let library = serde_json::to_value(Event::new(SystemTime::UNIX_EPOCH, kind)).unwrap();
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
        let old = web("old", "cart");
        let mut events = BTreeSet::new();
        let mut names = BTreeSet::new();
        for kind in kinds() {
            let event = event(kind, Some(&old));
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
        write_containers(&mut line, [(&watcher as &dyn Watcher, &old)].into_iter()).unwrap();
        let all: Value = serde_json::from_slice(&line).unwrap();
        let (mut containers, mut engine) = (BTreeSet::new(), BTreeSet::new());
        paths(&all[0], "", &mut containers);
        paths(&all[0]["engine"], "", &mut engine);
        containers.retain(|path| !path.starts_with("engine."));
        assert_eq!(documented("Containers"), containers);
        assert_eq!(documented("Engines"), engine);
    }
}
