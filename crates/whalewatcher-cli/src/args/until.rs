//! What `--until` waits for.

use std::str::FromStr;

use whalewatcher_core::Event;

use crate::selection::{Pattern, is_named};

/// The names of events, with whether they are of a container.
const EVENTS: [(&str, bool); 12] = [
    ("started", true),
    ("exited", true),
    ("paused", true),
    ("unpaused", true),
    ("updated", true),
    ("moved", true),
    ("crash_loop", true),
    ("synced", false),
    ("disconnected", false),
    ("lagged", false),
    ("joined", false),
    ("left", false),
];

/// An event, of the containers with a name or of all.
#[derive(Clone, Debug)]
pub(crate) struct Until {
    pattern: Option<Pattern>,
    event: &'static str,
}

impl Until {
    /// Returns whether this event is meant.
    pub(crate) fn matches(&self, event: &Event) -> bool {
        let is_of = |pattern: &Pattern| event.subject().is_some_and(|container| is_named(container, pattern));
        event.kind.name() == self.event && self.pattern.as_ref().is_none_or(is_of)
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, word) = match text.trim().rsplit_once(char::is_whitespace) {
            Some((name, word)) => (Some(name.trim()), word),
            None => (None, text.trim()),
        };
        let Some((event, has_container)) = EVENTS.iter().find(|(event, _)| *event == word) else {
            let names: Vec<_> = EVENTS.iter().map(|(event, _)| *event).collect();
            return Err(format!("'{word}' is no event, which are {}", names.join(", ")));
        };
        match name {
            Some(_) if !has_container => Err(format!("'{event}' is an event of an engine and takes no NAME")),
            _ => Ok(Self { pattern: name.map(Pattern::new).transpose()?, event }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use whalewatcher_core::{Container, EventKind};

    use super::*;

    fn event(kind: EventKind) -> Event {
        Event::new(SystemTime::UNIX_EPOCH, kind)
    }

    #[test]
    fn an_event_is_of_a_name_or_of_all() {
        let exited = |name: &str| {
            event(EventKind::Exited { container: Arc::new(Container::new("1", name, 7)), code: None })
        };
        let synced = event(EventKind::Synced { containers: 0, unresolved: 0 });
        let matches = |text: &str| {
            let until: Until = text.parse().unwrap();
            [&exited("web"), &exited("a b"), &synced].map(|event| until.matches(event))
        };
        assert_eq!(matches("web exited"), [true, false, false]);
        assert_eq!(matches(" a b  exited "), [false, true, false]);
        assert_eq!(matches("exited"), [true, true, false]);
        assert_eq!(matches("web started"), [false; 3]);
        assert_eq!(matches("synced"), [false, false, true]);
    }

    #[test]
    fn other_words_are_wrong() {
        for text in ["", "web", "web healthy", "exited web", "web synced"] {
            assert!(text.parse::<Until>().is_err(), "{text}");
        }
        assert!(
            "web dies".parse::<Until>().unwrap_err().starts_with("'dies' is no event, which are started, ")
        );
    }

    #[test]
    fn all_events_have_the_librarys_names() {
        let container = Arc::new(Container::new("1", "web", 7));
        let was = container.clone();
        for kind in [
            EventKind::Started(container.clone()),
            EventKind::Exited { container: container.clone(), code: None },
            EventKind::Paused(container.clone()),
            EventKind::Unpaused(container.clone()),
            EventKind::Updated { container, was },
            EventKind::Synced { containers: 0, unresolved: 0 },
            EventKind::Lagged { missed: 1 },
            EventKind::Joined,
            EventKind::Left,
        ] {
            let until: Until = kind.name().parse().unwrap();
            assert!(until.matches(&event(kind)));
        }
    }
}
