//! The traits that an adapter implements. What adapters must guarantee is said in [`adapter`](crate::adapter).

use std::future::{Future, ready};
use std::time::SystemTime;

use futures_core::Stream;

use super::event::EngineEvent;
use super::listing::{Listing, Unlisted, UnlistedScopes};
use crate::model::{Container, ContainerId, EngineError, EngineIdentity};
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

impl UnlistedScopes {
    pub(crate) fn new<C: EngineConnection>(unlisted: &[Unlisted]) -> Self {
        Self::of(unlisted.iter().map(|part| part.scope.clone()).collect(), C::scope_of)
    }
}
