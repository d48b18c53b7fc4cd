//! The events that an engine's event stream reports.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::model::{Container, ContainerId, EngineError, Health};

/// How an adapter learns of the changes of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeSource {
    /// From the event stream of the same API.
    #[default]
    Events,
    /// From another event stream of the same engine, which reports that a container changed, but not all details.
    Hints,
    /// By listing repeatedly.
    Polling {
        /// The interval.
        every: Duration,
    },
}

impl fmt::Display for ChangeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events => f.write_str("events"),
            Self::Hints => f.write_str("hints"),
            Self::Polling { every } => write!(f, "polling every {} s", every.as_secs_f32()),
        }
    }
}

/// An item of an engine's event stream. Times are by the engine's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineEvent {
    /// The subscription is established: every later change is reported.
    Subscribed,
    /// From now on the adapter learns of changes in this way. May precede [`Subscribed`](Self::Subscribed). Without it,
    /// the source is [`ChangeSource::Events`].
    Source(ChangeSource),
    /// From now on the adapter uses a fallback, such as polling, for this reason; `None` ends that. May precede
    /// [`Subscribed`](Self::Subscribed).
    Fallback(Option<Arc<EngineError>>),
    /// Events may be missing up to now: the watcher compares the portfolio with the engine's list.
    Gap,
    /// A life began.
    Started {
        /// The container's ID.
        id: ContainerId,
        /// When it happened.
        at: Option<SystemTime>,
        /// The PID of its initial process, where the engine reports it.
        pid: Option<u32>,
        /// The container as the event itself describes it, where that includes its name; its PID is ignored.
        /// It is announced if the life ends before it can be inspected. Without a preview and a PID, the
        /// container is inspected, and nothing else follows.
        preview: Option<Box<Container>>,
    },
    /// A life ended. Must not be sent for other processes than a container's initial one.
    Exited {
        /// The container's ID.
        id: ContainerId,
        /// The PID of the process that exited, where the engine reports it.
        pid: Option<u32>,
        /// When it happened.
        at: Option<SystemTime>,
        /// The exit code of the process.
        code: Option<i32>,
    },
    /// A container's processes were frozen.
    Paused {
        /// The container's ID.
        id: ContainerId,
        /// When it happened.
        at: Option<SystemTime>,
    },
    /// A container's processes were thawed.
    Unpaused {
        /// The container's ID.
        id: ContainerId,
        /// When it happened.
        at: Option<SystemTime>,
    },
    /// Anything may have happened to a container, such as a start or an exit: it is inspected, whatever is known of it.
    Touched {
        /// The container's ID.
        id: ContainerId,
        /// When it happened.
        at: Option<SystemTime>,
    },
    /// A container's health changed.
    Health {
        /// The container's ID.
        id: ContainerId,
        /// When it happened.
        at: Option<SystemTime>,
        /// The health since then.
        health: Health,
    },
    /// The kernel killed a process of a container for lack of memory. Comes before the exit, if it leads to one.
    OomKilled {
        /// The container's ID.
        id: ContainerId,
        /// When it happened.
        at: Option<SystemTime>,
    },
    /// Something else about a container may have changed, such as its name: if it is alive, it is inspected.
    Changed {
        /// The container's ID.
        id: ContainerId,
        /// When it happened.
        at: Option<SystemTime>,
    },
}

impl EngineEvent {
    /// Returns when it happened, if the engine reports it.
    #[must_use]
    pub fn at(&self) -> Option<SystemTime> {
        match self {
            Self::Subscribed | Self::Source(_) | Self::Fallback(_) | Self::Gap => None,
            Self::Started { at, .. }
            | Self::Exited { at, .. }
            | Self::Paused { at, .. }
            | Self::Unpaused { at, .. }
            | Self::Touched { at, .. }
            | Self::Health { at, .. }
            | Self::OomKilled { at, .. }
            | Self::Changed { at, .. } => *at,
        }
    }
}
