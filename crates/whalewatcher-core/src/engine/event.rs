//! What an engine's event stream reports.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::model::{Container, ContainerId, EngineError};

/// How the changes of an engine are learned of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeSource {
    /// By the event stream of the very API that is asked.
    #[default]
    Events,
    /// By another event stream of the same engine, which tells that something changed, but not all of it.
    Hints,
    /// By listing again and again.
    Polling {
        /// How often.
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

/// Something that an engine's event stream tells. Times are by the engine's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineEvent {
    /// The subscription stands: whatever changes from now on is told.
    Subscribed,
    /// From now on changes are learned of in this way. May come before [`Subscribed`](Self::Subscribed) too; unless told
    /// otherwise it is [`ChangeSource::Events`].
    Source(ChangeSource),
    /// Changes are learned of in a worse way than usual from now on, such as by polling, for this reason; with `None` they
    /// are learned of as usual again. May come before [`Subscribed`](Self::Subscribed) too.
    Fallback(Option<Arc<EngineError>>),
    /// Something may have happened that was not told, up to now: the portfolio is compared with the engine's list.
    Gap,
    /// A life began.
    Started {
        /// Whose.
        id: ContainerId,
        /// When.
        at: Option<SystemTime>,
        /// The PID of its initial process, where the engine tells.
        pid: Option<u32>,
        /// What the event itself tells of the container, where that is enough to name it; its PID is not looked at. It
        /// is announced if the life is over before the engine can be asked about it.
        preview: Option<Box<Container>>,
    },
    /// A life ended; not to be sent for a process that is not a container's initial one.
    Exited {
        /// Whose.
        id: ContainerId,
        /// The PID of the process that exited, where the engine tells.
        pid: Option<u32>,
        /// When.
        at: Option<SystemTime>,
        /// The process' exit code.
        code: Option<i32>,
    },
    /// A container's processes were frozen.
    Paused {
        /// Whose.
        id: ContainerId,
        /// When.
        at: Option<SystemTime>,
    },
    /// A container's processes were thawed.
    Unpaused {
        /// Whose.
        id: ContainerId,
        /// When.
        at: Option<SystemTime>,
    },
    /// Something else about a container may have changed, such as its name. Matters only if it is alive.
    Changed {
        /// Which.
        id: ContainerId,
        /// When.
        at: Option<SystemTime>,
    },
}

impl EngineEvent {
    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Option<SystemTime> {
        match self {
            Self::Subscribed | Self::Source(_) | Self::Fallback(_) | Self::Gap => None,
            Self::Started { at, .. }
            | Self::Exited { at, .. }
            | Self::Paused { at, .. }
            | Self::Unpaused { at, .. }
            | Self::Changed { at, .. } => *at,
        }
    }
}
