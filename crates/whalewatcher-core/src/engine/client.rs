//! The traits that an adapter implements. [`adapter`](crate::adapter) documents their contract.

use std::future::{Future, pending, ready};
use std::time::SystemTime;

use futures_core::Stream;

use super::event::EngineEvent;
use super::listing::Listing;
use crate::model::{Container, ContainerId, EngineError, EngineIdentity, Layer};
use crate::settings::Settings;

/// The adapter to one kind of container engine.
///
/// All methods are called from within the watch, which limits the time of each call and drops its future when the
/// watch ends.
pub trait EngineClient: Send + Sync + 'static {
    /// The connection that [`connect`](Self::connect) returns.
    type Connection: EngineConnection;

    /// Returns the engine's type, such as `docker.com`, which is known before any connection.
    fn engine_type(&self) -> &str;

    /// Returns the endpoint, such as `unix:///run/docker.sock`.
    fn endpoint(&self) -> &str;

    /// Returns the layer of the engine, by which a fleet decides which of several engines shows a container
    /// that they share.
    fn layer(&self) -> Layer {
        Layer::default()
    }

    /// Returns the scope in which this engine runs its containers in an engine below, as far as it is known:
    /// Docker runs them in containerd's namespace `moby`. A fleet recognises shared containers by their IDs;
    /// the scope says only that a start there is likely to be reported by this engine in a moment.
    fn scope_below(&self) -> Option<&str> {
        None
    }

    /// Runs once before watching. An error ends the watch.
    fn before_watch(&self) -> impl Future<Output = Result<(), EngineError>> + Send {
        ready(Ok(()))
    }

    /// Runs before each attempt to connect. An error fails the attempt.
    fn before_attempt(&self) -> impl Future<Output = Result<(), EngineError>> + Send {
        ready(Ok(()))
    }

    /// Connects and identifies the engine.
    ///
    /// The settings are those of the watcher: an adapter may derive from them how long parts of connecting or of a list
    /// may take.
    ///
    /// # Errors
    ///
    /// If there is no connection to an engine of this type. The watcher tries again later.
    fn connect(
        &self,
        settings: &Settings,
    ) -> impl Future<Output = Result<Self::Connection, EngineError>> + Send;

    /// Resolves when there is a reason to expect that the next attempt succeeds, after one that failed or a
    /// connection that was lost: the engine's socket was bound again, for example. Called for each delay of
    /// the back-off, which then ends early, [so many times a second](crate::Backoff#early-attempts) at most.
    ///
    /// It resolves only because of something that the last attempt did not find already. By default it never does.
    fn reachable(&self) -> impl Future<Output = ()> + Send {
        pending()
    }
}

/// A connection to an engine. Dropping it disconnects.
pub trait EngineConnection: Send + Sync {
    /// Returns the identity of the engine at the other end.
    fn identity(&self) -> EngineIdentity;

    /// Returns what the engine's clock shows now, for ages of containers; `None` where it is not known, or is
    /// this host's.
    fn clock(&self) -> Option<SystemTime> {
        None
    }

    /// Returns the engine's event stream. Called once, before the first list.
    ///
    /// Except for [`EngineEvent::Source`] and [`EngineEvent::Fallback`], the first item is
    /// [`EngineEvent::Subscribed`]. It is yielded when it is proven that every later change reaches the
    /// stream, even one that happens before the stream is polled again. Where there is no such proof, it is
    /// yielded when the subscription is expected to be established, and [`EngineEvent::Gap`] when it
    /// certainly is. From then on the events *of one container* come in the order in which they happened. An
    /// error, or the end of the stream, means that the connection is lost.
    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send;

    /// Lists what is alive, at some time between request and answer.
    ///
    /// # Errors
    ///
    /// If nothing can be listed: the watcher drops the connection and tries again later. An adapter to an engine with
    /// [scopes](Self::scope_of) returns the scopes that could not be listed in [`Listing::unlisted`] instead.
    fn list(&self) -> impl Future<Output = Result<Listing, EngineError>> + Send;

    /// Lists what is alive, for an audit of what is known already.
    ///
    /// An adapter overrides this where its list cannot distinguish the lives of a container, and the engine
    /// can be asked for recent events apart from the event stream, which may have lost them.
    ///
    /// # Errors
    ///
    /// If nothing can be listed: this audit is skipped.
    fn audit(&self) -> impl Future<Output = Result<Listing, EngineError>> + Send {
        self.list()
    }

    /// Returns the scope of a container, such as a namespace. Engines without scopes have one, `""`.
    fn scope_of(id: &ContainerId) -> &str {
        let _ = id;
        ""
    }

    /// Returns a container as it is at some time between request and answer, or `None` if it does not exist or is not
    /// alive.
    ///
    /// For a container that is not alive, an adapter may return its name, labels and rucksack with a PID of 0.
    /// The watcher then announces a life that ended before it could be inspected, and whose start event
    /// lacked these.
    ///
    /// # Errors
    ///
    /// If the engine does not answer clearly: the watcher keeps the last known state and inspects again later.
    fn inspect(
        &self,
        id: &ContainerId,
    ) -> impl Future<Output = Result<Option<Container>, EngineError>> + Send;

    /// Returns whether inspections attach rucksacks. If so, a life that ended before it was inspected is
    /// announced only after an inspection, which may still attach one.
    fn packs(&self) -> bool {
        false
    }

    /// Returns whether each ID has one life: a container that is over is never started again under its ID,
    /// and no other container gets that ID. By default an ID may have any number of lives.
    ///
    /// Where it has one, the exit of a container is final, whether an event reports it or the watcher finds
    /// it by itself: later starts, list entries and inspections of that ID bring nothing back. So the
    /// engine's lists and inspections may be behind its events, and events may be repeated. That holds for
    /// the newest 4,096 containers that are over.
    fn has_one_life_per_id(&self) -> bool {
        false
    }

    /// Checks, while the event stream is silent, that the engine still answers. Returns the time of the
    /// newest event after `since` that the stream should have delivered, if the engine reports it by other
    /// means than the stream.
    ///
    /// `since` is the time of the newest event that the stream delivered so far. If the stream then does not
    /// deliver the event that this returns, the watcher considers it stalled and reconnects. `None` is always
    /// a valid answer.
    ///
    /// # Errors
    ///
    /// If the engine does not answer: [`TimedOut`](crate::ErrorKind::TimedOut),
    /// [`Disconnected`](crate::ErrorKind::Disconnected) and [`Unreachable`](crate::ErrorKind::Unreachable) end the
    /// connection. Other errors count as an answer.
    fn probe(
        &self,
        since: Option<SystemTime>,
    ) -> impl Future<Output = Result<Option<SystemTime>, EngineError>> + Send {
        let _ = since;
        ready(Ok(None))
    }
}
