//! The events that subscribers receive.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::container::Container;
use super::crash_loop::CrashLoop;
use super::engine_key::EngineKey;
use super::error::EngineError;
use super::escape::Printable;
use super::identity::EngineIdentity;

/// A change of a container, or of the watch itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// When it happened, by the engine's clock where the engine reports it; else when it was noticed. An exit that is
    /// noticed because of the container's next life has that life's start time.
    pub time: SystemTime,
    /// What happened.
    pub kind: EventKind,
    /// The engine, as of the connection on which the container was last confirmed: an exit that is noticed
    /// after another engine took over the endpoint carries the former engine. `None` before the first
    /// connection.
    pub engine: Option<Arc<EngineIdentity>>,
    /// What reported it first, of an exit; of all else the engine.
    pub seen_by: SeenBy,
}

/// What reported the end of a life first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SeenBy {
    /// The engine, by an event, an answer or a list.
    #[default]
    Engine,
    /// The kernel, through the [`Witness`](crate::Witness) of the settings.
    Kernel,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A life began, or was found to be alive. The containers of a subscription's snapshot, and all that come
    /// before its first [`Synced`](Self::Synced), were running when the watch first came in sync; those that
    /// come later have started since, or during an outage.
    Started(Arc<Container>),
    /// A life ended.
    Exited {
        /// The container as last known.
        container: Arc<Container>,
        /// The exit code of its initial process, where the engine reports it.
        code: Option<i32>,
    },
    /// Its processes were frozen.
    Paused(Arc<Container>),
    /// Its processes were thawed.
    Unpaused(Arc<Container>),
    /// Something else about it changed: its name, labels, image, health, networks or ports, or whether a
    /// process of it was killed for lack of memory.
    Updated {
        /// The container as it is now.
        container: Arc<Container>,
        /// The container before the change.
        was: Arc<Container>,
    },
    /// The portfolio is in sync with the engine, except for unresolved containers: for the first time, or
    /// again after an interruption.
    Synced {
        /// How many containers are known to be alive.
        containers: usize,
        /// How many containers cannot be inspected. The portfolio holds their last known state, if any.
        unresolved: usize,
    },
    /// The subscriber was too slow. The next events are the difference between what it last received and now.
    Lagged {
        /// How many events it did not receive.
        missed: u64,
    },
    /// The engine cannot be reached, the connection was lost, or the watch ended. The portfolio stays as last
    /// known. Published once until the next [`Synced`](Self::Synced), and once more if the watch gives up
    /// meanwhile. The status has the newest reason.
    Disconnected {
        /// Why.
        error: Arc<EngineError>,
    },
    /// The engine joined the fleet. Only fleets publish it.
    Joined,
    /// The engine was removed from the fleet, which holds no container of it any more: before this event they
    /// were announced as exited, or as moved to another engine. Only fleets publish it.
    Left,
    /// Another engine shows the container from now on: it is neither an exit nor a start. Only fleets publish
    /// it, with the engine that shows it now.
    Moved {
        /// The container as this engine knows it.
        container: Arc<Container>,
        /// The container as the former engine knew it; its ID may be another.
        was: Arc<Container>,
        /// The engine that showed it before.
        from: EngineKey,
    },
    /// A crash loop began or is over. No subscription contains it: a [`History`](crate::history::History)
    /// finds it in the events of one. It changes no portfolio.
    CrashLoop(Arc<CrashLoop>),
}

impl Event {
    /// Creates an event without an engine, for code that forwards or synthesizes events.
    #[must_use]
    pub fn new(time: SystemTime, kind: EventKind) -> Self {
        Self { time, kind, engine: None, seen_by: SeenBy::Engine }
    }

    /// Sets the engine.
    #[must_use]
    pub fn with_engine(mut self, engine: Option<Arc<EngineIdentity>>) -> Self {
        self.engine = engine;
        self
    }

    /// Sets what reported it first.
    #[must_use]
    pub fn with_seen_by(mut self, seen_by: SeenBy) -> Self {
        self.seen_by = seen_by;
        self
    }

    /// Returns the container as it is after the change, or, of an exit, as last known; `None` for events
    /// about the watch.
    #[must_use]
    pub fn container(&self) -> Option<&Arc<Container>> {
        self.kind.container()
    }

    /// Returns the container that it is about: [`container`](Self::container), or that of a crash loop, which
    /// may be over.
    #[must_use]
    pub fn subject(&self) -> Option<&Arc<Container>> {
        match &self.kind {
            EventKind::CrashLoop(crash_loop) => Some(&crash_loop.container),
            kind => kind.container(),
        }
    }
}

impl EventKind {
    /// Returns the container as it is after the change, or, of an exit, as last known; `None` for events
    /// about the watch.
    #[must_use]
    pub fn container(&self) -> Option<&Arc<Container>> {
        match self {
            Self::Started(container)
            | Self::Exited { container, .. }
            | Self::Paused(container)
            | Self::Unpaused(container)
            | Self::Updated { container, .. }
            | Self::Moved { container, .. } => Some(container),
            Self::Synced { .. }
            | Self::Lagged { .. }
            | Self::Disconnected { .. }
            | Self::Joined
            | Self::Left
            | Self::CrashLoop(_) => None,
        }
    }

    /// Returns the name of the event in the program's output: `started`, `exited` and so on.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Exited { .. } => "exited",
            Self::Paused(_) => "paused",
            Self::Unpaused(_) => "unpaused",
            Self::Updated { .. } => "updated",
            Self::Synced { .. } => "synced",
            Self::Lagged { .. } => "lagged",
            Self::Disconnected { .. } => "disconnected",
            Self::Joined => "joined",
            Self::Left => "left",
            Self::Moved { .. } => "moved",
            Self::CrashLoop(_) => "crash_loop",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        match self.seen_by {
            SeenBy::Engine => Ok(()),
            SeenBy::Kernel => f.write_str(", seen by the kernel"),
        }
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
            | Self::Updated { container, .. } => write!(f, "{name} {container}"),
            Self::Moved { container, from, .. } => write!(f, "{name} {container}, from {from}"),
            Self::Joined | Self::Left => f.write_str(name),
            Self::CrashLoop(it) if it.is_over => {
                write!(f, "{name} of {} is over after {} lives", it.container, it.lives)
            }
            Self::CrashLoop(it) => write!(f, "{name} of {}, {} lives", it.container, it.lives),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorKind;

    #[test]
    fn an_event_is_displayed_on_one_line() {
        let evil = "a\u{1b}[2J\r\n\u{9b}31m\u{202e}\u{2028}";
        let container = Arc::new(Container::new(evil, evil, 7));
        let error = Arc::new(EngineError::new(ErrorKind::Failed, evil));
        for kind in [
            EventKind::Started(container.clone()),
            EventKind::Exited { container: container.clone(), code: Some(137) },
            EventKind::Updated { container: container.clone(), was: container.clone() },
            EventKind::Disconnected { error },
            EventKind::CrashLoop(Arc::new(CrashLoop::new(container, 5, SystemTime::UNIX_EPOCH))),
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
