//! The output for programs: an event as a line, containers as an array.
//!
//! Each is one line whatever names and labels contain. JSON itself demands that quotes and the control characters of
//! ASCII are escaped; here, so are the other control characters, those at which some readers break lines, and those
//! that reorder what a terminal shows.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Serializer, Value};
use whalewatcher_core::{Container, EngineIdentity, Event, Watcher};

/// Which engine: on each line, and with each container.
#[derive(Clone, Serialize)]
struct Engine {
    #[serde(rename = "type")]
    engine_type: String,
    id: String,
    version: String,
    api: String,
}

impl Engine {
    /// As of its newest connection; before the first, ID and version are empty.
    fn of(watcher: &dyn Watcher) -> Self {
        Self::known(watcher, watcher.identity().as_deref())
    }

    fn known(watcher: &dyn Watcher, known: Option<&EngineIdentity>) -> Self {
        Self {
            engine_type: known.map_or(watcher.engine_type(), |known| &known.engine_type).to_owned(),
            id: known.map(|known| known.id.clone()).unwrap_or_default(),
            version: known.map(|known| known.version.clone()).unwrap_or_default(),
            api: watcher.endpoint().to_owned(),
        }
    }
}

/// The event and its engine, as a line.
pub(crate) fn event(watcher: &dyn Watcher, event: &Event) -> serde_json::Result<String> {
    let mut object = serde_json::to_value(event)?;
    if let Value::Object(fields) = &mut object {
        // After the event's name and time, before what may be long.
        let engine = match &event.engine {
            Some(engine) => Engine::known(watcher, Some(engine)),
            None => Engine::of(watcher),
        };
        fields.shift_insert(2, "engine".to_owned(), serde_json::to_value(engine)?);
    }
    line(&object)
}

/// Containers, each with its engine, as a line.
pub(crate) fn containers<'a>(
    all: impl Iterator<Item = (&'a dyn Watcher, &'a Container)>,
) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Entry<'a> {
        #[serde(flatten)]
        container: &'a Container,
        engine: Engine,
    }
    let all = all.map(|(watcher, container)| Entry { container, engine: Engine::of(watcher) });
    line(&all.collect::<Vec<_>>())
}

fn line(value: &impl Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, OneLine))?;
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

/// Compact, and with more escapes than JSON demands.
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            // None of them is beyond 16 bits.
            write!(writer, "\\u{:04x}", u32::from(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

fn is_unsafe(c: char) -> bool {
    let breaks_lines = matches!(c, '\u{2028}' | '\u{2029}');
    let reorders =
        matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || breaks_lines || reorders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_name_contains_it_stays_on_its_line_and_comes_back_as_it_was() {
        let evil = "a\u{1b}[2J\"\\\n\r\u{7f}\u{85}\u{9b}31m\u{2028}\u{202e}b鯨🐳/";
        let line = line(&evil).unwrap();
        let body = line.strip_suffix('\n').unwrap();
        assert!(!body.chars().any(is_unsafe), "{body:?}");
        assert!(body.contains("\\u009b31m\\u2028\\u202eb鯨🐳"));
        assert_eq!(serde_json::from_str::<String>(body).unwrap(), evil);
    }
}
