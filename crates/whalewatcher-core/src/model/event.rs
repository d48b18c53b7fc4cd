//! What subscribers are told.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::container::Container;
use super::error::EngineError;
use super::escape::Printable;
use super::identity::EngineIdentity;

/// Something that happened to a container, or to the watch itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// When it happened, by the engine's clock where the engine told; else when it was noticed, or, of an exit that
    /// is noticed by the container's next life, when that began.
    pub time: SystemTime,
    /// What happened.
    pub kind: EventKind,
    /// The engine that it is about, as of the connection on which the container was last confirmed: an exit that is noticed
    /// after another engine has taken over the endpoint carries the former one. `None` before the first connection.
    pub engine: Option<Arc<EngineIdentity>>,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A life began, or was found when the watch began.
    Started(Arc<Container>),
    /// A life ended.
    Exited {
        /// The container as last known.
        container: Arc<Container>,
        /// Its initial process' exit code, where the engine told.
        code: Option<i32>,
    },
    /// Its processes were frozen.
    Paused(Arc<Container>),
    /// Its processes were thawed.
    Unpaused(Arc<Container>),
    /// Its name or its labels changed.
    Updated(Arc<Container>),
    /// The portfolio is as the engine says, but for the unresolved containers, for the first time or again after an
    /// interruption.
    Synced {
        /// How many containers are known to be alive.
        containers: usize,
        /// How many containers cannot be inspected, so that the portfolio shows what was last known of them, if anything.
        unresolved: usize,
    },
    /// The subscriber was too slow. What follows next is the difference between what it last saw and now.
    Lagged {
        /// How many events it did not get to see.
        missed: u64,
    },
    /// The engine cannot be reached, for the first time or any more, or the watch has ended. The portfolio stays as last
    /// known. Published once until the next [`Synced`](Self::Synced), and once more if the watch gives up meanwhile: the
    /// newest reason is in the status.
    Disconnected {
        /// Why.
        error: Arc<EngineError>,
    },
}

impl Event {
    /// An event at a time; for those who fold or forward events of their own.
    #[must_use]
    pub fn new(time: SystemTime, kind: EventKind) -> Self {
        Self { time, kind, engine: None }
    }

    /// Sets the engine that it is about.
    #[must_use]
    pub fn with_engine(mut self, engine: Option<Arc<EngineIdentity>>) -> Self {
        self.engine = engine;
        self
    }

    /// The container it is about, as it is after the change (of an exit: as last known).
    #[must_use]
    pub fn container(&self) -> Option<&Arc<Container>> {
        self.kind.container()
    }
}

impl EventKind {
    /// The container it is about, as it is after the change (of an exit: as last known).
    #[must_use]
    pub fn container(&self) -> Option<&Arc<Container>> {
        match self {
            Self::Started(container)
            | Self::Exited { container, .. }
            | Self::Paused(container)
            | Self::Unpaused(container)
            | Self::Updated(container) => Some(container),
            Self::Synced { .. } | Self::Lagged { .. } | Self::Disconnected { .. } => None,
        }
    }

    /// The event in one word, as the program prints it: `started`, `exited` and so on.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Exited { .. } => "exited",
            Self::Paused(_) => "paused",
            Self::Unpaused(_) => "unpaused",
            Self::Updated(_) => "updated",
            Self::Synced { .. } => "synced",
            Self::Lagged { .. } => "lagged",
            Self::Disconnected { .. } => "disconnected",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::Exited { container, code: Some(code) } => write!(f, "{name} {container}, exit code {code}"),
            Self::Synced { containers, unresolved: 0 } => write!(f, "{name}, {containers} alive"),
            Self::Synced { containers, unresolved } => {
                write!(f, "{name}, {containers} alive, {unresolved} unresolved")
            }
            Self::Lagged { missed } => write!(f, "{name}, {missed} missed"),
            Self::Disconnected { error } => write!(f, "{name}: {}", Printable(&error.to_string())),
            Self::Started(container)
            | Self::Exited { container, .. }
            | Self::Paused(container)
            | Self::Unpaused(container)
            | Self::Updated(container) => write!(f, "{name} {container}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorKind;

    #[test]
    fn whatever_an_engine_says_an_event_is_one_line() {
        let evil = "a\u{1b}[2J\r\n\u{9b}31m\u{202e}\u{2028}";
        let container = Arc::new(Container::new(evil, evil, 7));
        let error = Arc::new(EngineError::new(ErrorKind::Failed, evil));
        for kind in [
            EventKind::Started(container.clone()),
            EventKind::Exited { container: container.clone(), code: Some(137) },
            EventKind::Updated(container),
            EventKind::Disconnected { error },
        ] {
            let shown = Event::new(SystemTime::now(), kind).to_string();
            assert!(shown.contains(r"a\u{1b}[2J\r\n\u{9b}31m\u{202e}\u{2028}"), "{shown}");
            assert!(
                !shown.contains(|c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{2028}')),
                "{shown:?}"
            );
        }
    }
}
