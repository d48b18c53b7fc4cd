//! The traits that an adapter implements, and what passes through them. What adapters must guarantee is said in
//! [`adapter`](crate::adapter).

use std::fmt;
use std::future::{Future, ready};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_core::Stream;

use crate::model::{Container, ContainerId, EngineError};
use crate::settings::Settings;

/// The adapter to one kind of container engine.
///
/// All methods are called from within the watch: whatever blocks there is ended by the watcher's time limits, or
/// with the watch.
pub trait EngineClient: Send + Sync + 'static {
    /// What [`connect`](Self::connect) gives.
    type Connection: EngineConnection;

    /// The engine's type, such as `docker.com`; known before any connection.
    fn engine_type(&self) -> &str;

    /// Where the engine is reached, such as `unix:///run/docker.sock`.
    fn endpoint(&self) -> &str;

    /// A hook: something to do once before watching. An error ends the watch.
    fn before_watch(&self) -> impl Future<Output = Result<(), EngineError>> + Send {
        ready(Ok(()))
    }

    /// A hook: something to do before each attempt to connect. An error fails the attempt.
    fn before_attempt(&self) -> impl Future<Output = Result<(), EngineError>> + Send {
        ready(Ok(()))
    }

    /// Connects and identifies the engine.
    ///
    /// The settings are the watcher's: an adapter may derive from them how long each part of connecting or of a list may
    /// take.
    ///
    /// # Errors
    ///
    /// Whatever keeps this client from talking to an engine of its kind. The watcher tries again later.
    fn connect(
        &self,
        settings: &Settings,
    ) -> impl Future<Output = Result<Self::Connection, EngineError>> + Send;
}

/// A connection to an engine, for as long as it lasts.
pub trait EngineConnection: Send + Sync {
    /// Who is at the other end.
    fn identity(&self) -> EngineIdentity;

    /// The engine's event stream; called once, before anything is listed.
    ///
    /// Its first item, but for [`EngineEvent::Source`] and [`EngineEvent::Fallback`], is [`EngineEvent::Subscribed`], yielded when it is proven that
    /// every later change reaches the stream, even one that happens before the stream is read further. Where nothing
    /// proves that, it is yielded when it should be so, and [`EngineEvent::Gap`] when it certainly is. From then on the events *of one container*
    /// come in the order in which they happened. An error or the stream's end means that the connection is lost.
    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send;

    /// What is alive, at some moment between question and answer.
    ///
    /// # Errors
    ///
    /// Where nothing can be listed: the connection is given up and tried again later. An engine that keeps its
    /// containers in [scopes](Self::scope_of) rather says which of these it cannot list.
    fn list(&self) -> impl Future<Output = Result<Listing, EngineError>> + Send;

    /// The same, asked to compare it with what is known already.
    ///
    /// Worth an implementation of its own where a list is too vague to tell a life from the next, and the engine can be
    /// asked what happened lately other than by the event stream, which may have lost it.
    ///
    /// # Errors
    ///
    /// Where nothing can be listed: nothing is compared this time.
    fn audit(&self) -> impl Future<Output = Result<Listing, EngineError>> + Send {
        self.list()
    }

    /// The part of the engine that the container is in, such as a namespace. Engines without such have one, `""`.
    fn scope_of(id: &ContainerId) -> &str {
        let _ = id;
        ""
    }

    /// The container as it is at some moment between question and answer; `None` if it is not alive or does not
    /// exist (any more), which is no error.
    ///
    /// An engine that still tells the name and labels of what is not alive may answer with these, and a PID of 0: that
    /// is how a life is told of that was over before it could be seen, where its start event did not name it.
    ///
    /// # Errors
    ///
    /// Where that cannot be told: it is asked again later, and what was known of it stays.
    fn inspect(
        &self,
        id: &ContainerId,
    ) -> impl Future<Output = Result<Option<Container>, EngineError>> + Send;

    /// Whether the engine still answers, asked while the event stream is silent; and, where it can tell other than by
    /// that stream, the time of the newest event after `since` that the stream should have brought.
    ///
    /// `since` is the newest time that the stream brought so far, `None` if it brought none. A stream that keeps silent
    /// about an event that is told here is taken for dead. The answer `None` is always right.
    ///
    /// # Errors
    ///
    /// If the engine does not answer: what is [`TimedOut`](crate::ErrorKind::TimedOut),
    /// [`Disconnected`](crate::ErrorKind::Disconnected) or [`Unreachable`](crate::ErrorKind::Unreachable) ends the
    /// connection. Other errors are answers.
    fn probe(
        &self,
        since: Option<SystemTime>,
    ) -> impl Future<Output = Result<Option<SystemTime>, EngineError>> + Send {
        let _ = since;
        ready(Ok(None))
    }
}

/// Who an engine is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EngineIdentity {
    /// What kind of engine: `docker.com`, `podman.io`, `containerd.io`, `k8s.io/cri-api`.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub engine_type: String,
    /// Which engine, stable across its restarts.
    pub id: String,
    /// The engine's version, as it tells it.
    pub version: String,
    /// Where it is reached.
    #[cfg_attr(feature = "serde", serde(rename = "api"))]
    pub endpoint: String,
    /// The PID of the engine's process, where it is known.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub pid: Option<u32>,
}

impl EngineIdentity {
    /// An engine of this type, reached there, of which nothing else is known yet.
    pub fn new(engine_type: impl Into<String>, endpoint: impl Into<String>) -> Self {
        Self {
            engine_type: engine_type.into(),
            id: String::new(),
            version: String::new(),
            endpoint: endpoint.into(),
            pid: None,
        }
    }
}

/// What an engine lists.
#[derive(Debug, Default)]
pub struct Listing {
    /// What is alive, in all scopes that could be listed.
    pub entries: Vec<ListingEntry>,
    /// The scopes that could not be listed: what was known of their containers stays, and the list is asked for again
    /// after a while. Until each scope was listed once, the watcher is not ready.
    pub unlisted: Vec<Unlisted>,
}

/// A part of an engine that could not be listed, such as a namespace.
#[derive(Clone, Debug)]
pub struct Unlisted {
    /// Which: what [`EngineConnection::scope_of`] says of the containers in it.
    pub scope: String,
    /// Why not.
    pub error: Arc<EngineError>,
}

impl From<Vec<ListingEntry>> for Listing {
    /// All that is alive.
    fn from(entries: Vec<ListingEntry>) -> Self {
        Self { entries, unlisted: Vec::new() }
    }
}

/// Of whom a list does not tell whether they are alive.
#[derive(Debug)]
pub(crate) struct UnlistedScopes {
    scopes: Vec<String>,
    scope_of: fn(&ContainerId) -> &str,
}

impl UnlistedScopes {
    pub(crate) fn new<C: EngineConnection>(unlisted: &[Unlisted]) -> Self {
        Self::of(unlisted.iter().map(|part| part.scope.clone()).collect(), C::scope_of)
    }

    pub(crate) fn of(scopes: Vec<String>, scope_of: fn(&ContainerId) -> &str) -> Self {
        Self { scopes, scope_of }
    }

    /// Whether all is told.
    pub(crate) fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    pub(crate) fn contains(&self, id: &ContainerId) -> bool {
        self.scopes.iter().any(|scope| scope == (self.scope_of)(id))
    }
}

/// A container that a list names as alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListingEntry {
    /// The list tells all there is to know.
    Whole(Container),
    /// The list tells no PID or no start time (the container's is 0 or `None`): the container is inspected.
    Partial {
        /// What the list tells.
        container: Container,
        /// When it must have been started, if the list tells roughly.
        started_within: Option<RangeInclusive<SystemTime>>,
    },
}

impl ListingEntry {
    /// What the list tells of the container.
    #[must_use]
    pub fn container(&self) -> &Container {
        match self {
            Self::Whole(container) | Self::Partial { container, .. } => container,
        }
    }

    /// Whether the list shows a container just as it is known. What a list does not tell of is no difference, nor are
    /// labels that it lacks.
    pub(crate) fn shows(&self, known: &Container) -> bool {
        match self {
            Self::Whole(container) => container == known,
            Self::Partial { container, started_within } => {
                let started_then = match (started_within, known.started_at()) {
                    (Some(within), Some(started_at)) => within.contains(&started_at),
                    _ => true,
                };
                let mut labels = container.labels().iter();
                started_then
                    && container.name() == known.name()
                    && container.paused() == known.paused()
                    && labels.all(|(key, value)| known.labels().get(key) == Some(value))
            }
        }
    }
}

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
