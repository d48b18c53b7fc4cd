//! Completes what an engine reports of its containers by where the engine runs.
//!
//! That is done between adapter and watcher, so that the label and the PID are part of each container from
//! its start: there is no event for them, and a list that contains the same as before is the same.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use futures_util::StreamExt;
use tokio::time::Instant;
use whalewatcher_core::adapter::{EngineClient, EngineConnection, EngineEvent, Listing, ListingEntry};
use whalewatcher_core::{Container, ContainerId, EngineError, EngineIdentity, Layer, Settings};

use crate::location::Location;
use crate::socket::Socket;

/// How long a connection is used that was made to find the engine: it knows the engine's clock as of then.
const FRESH: Duration = Duration::from_millis(250);

/// A client whose containers have the label [`PREFIX_LABEL`](crate::PREFIX_LABEL), and their PID on this host.
pub struct Located<C: EngineClient> {
    client: C,
    location: Location,
    /// The connection by which the engine was found, and when that was.
    first: Mutex<Option<(C::Connection, Instant)>>,
}

impl<C: EngineClient> Located<C> {
    /// Creates a client for the engine that answers at this socket.
    pub fn new(client: C, socket: &Socket) -> Self {
        Self { client, location: socket.location().clone(), first: Mutex::default() }
    }

    /// The same for an engine to which there is a connection: the watch goes on with it, if it begins soon.
    #[cfg(any(test, feature = "containerd", feature = "cri", feature = "moby", feature = "podman"))]
    pub(crate) fn connected(client: C, connection: C::Connection, socket: &Socket) -> Self {
        let first = Mutex::new(Some((connection, Instant::now())));
        Self { first, ..Self::new(client, socket) }
    }

    /// Returns the names of the containers that the engine is in, as its containers have them in the label
    /// [`PREFIX_LABEL`](crate::PREFIX_LABEL).
    pub fn prefix(&self) -> Arc<str> {
        self.location.prefix()
    }

    /// Returns the client of the engine.
    pub fn inner(&self) -> &C {
        &self.client
    }
}

impl<C: EngineClient + fmt::Debug> fmt::Debug for Located<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Located").field(&self.client).finish()
    }
}

impl<C: EngineClient> EngineClient for Located<C> {
    type Connection = LocatedConnection<C::Connection>;

    fn engine_type(&self) -> &str {
        self.client.engine_type()
    }

    fn endpoint(&self) -> &str {
        self.client.endpoint()
    }

    fn layer(&self) -> Layer {
        self.client.layer()
    }

    fn scope_below(&self) -> Option<&str> {
        self.client.scope_below()
    }

    async fn before_watch(&self) -> Result<(), EngineError> {
        self.client.before_watch().await
    }

    async fn before_attempt(&self) -> Result<(), EngineError> {
        self.client.before_attempt().await
    }

    async fn connect(&self, settings: &Settings) -> Result<Self::Connection, EngineError> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let connection = match first.filter(|(_, since)| since.elapsed() < FRESH) {
            Some((connection, _)) => connection,
            None => self.client.connect(settings).await?,
        };
        Ok(LocatedConnection { connection, location: self.location.clone() })
    }

    async fn reachable(&self) {
        self.client.reachable().await;
    }
}

/// A connection of a [`Located`] client.
#[derive(Debug)]
pub struct LocatedConnection<C> {
    connection: C,
    location: Location,
}

impl<C> LocatedConnection<C> {
    async fn complete(&self, mut listing: Listing) -> Listing {
        let containers = listing.entries.iter().map(|entry| entry.container().clone()).collect();
        let completed = self.location.complete(containers).await;
        for (entry, completed) in listing.entries.iter_mut().zip(completed) {
            match entry {
                ListingEntry::Whole(container) | ListingEntry::Partial { container, .. } => {
                    *container = completed;
                }
            }
        }
        listing
    }
}

impl<C: EngineConnection> EngineConnection for LocatedConnection<C> {
    fn identity(&self) -> EngineIdentity {
        self.connection.identity()
    }

    fn clock(&self) -> Option<SystemTime> {
        self.connection.clock()
    }

    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        self.connection.events().map(|event| {
            event.map(|event| match event {
                EngineEvent::Started { id, at, pid, preview } => {
                    let preview = preview.map(|preview| Box::new(self.location.complete_preview(*preview)));
                    EngineEvent::Started { id, at, pid, preview }
                }
                event => event,
            })
        })
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        Ok(self.complete(self.connection.list().await?).await)
    }

    async fn audit(&self) -> Result<Listing, EngineError> {
        Ok(self.complete(self.connection.audit().await?).await)
    }

    fn scope_of(id: &ContainerId) -> &str {
        C::scope_of(id)
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Container>, EngineError> {
        let container = self.connection.inspect(id).await?;
        Ok(self.location.complete(container.into_iter().collect()).await.pop())
    }

    fn packs(&self) -> bool {
        self.connection.packs()
    }

    fn has_one_life_per_id(&self) -> bool {
        self.connection.has_one_life_per_id()
    }

    async fn probe(&self, since: Option<SystemTime>) -> Result<Option<SystemTime>, EngineError> {
        self.connection.probe(since).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;
    use tokio::time::advance;

    use super::*;

    /// An engine that differs from others in all that has a default, and counts its connections.
    #[derive(Default)]
    struct Special(AtomicUsize);

    impl EngineClient for Special {
        type Connection = Self;

        fn engine_type(&self) -> &str {
            "special"
        }

        fn endpoint(&self) -> &str {
            "memory:"
        }

        fn layer(&self) -> Layer {
            Layer::Runtime
        }

        fn scope_below(&self) -> Option<&str> {
            Some("below")
        }

        async fn connect(&self, _: &Settings) -> Result<Self, EngineError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Self::default())
        }
    }

    impl EngineConnection for Special {
        fn identity(&self) -> EngineIdentity {
            EngineIdentity::new("special", "memory:")
        }

        fn clock(&self) -> Option<SystemTime> {
            Some(SystemTime::UNIX_EPOCH)
        }

        fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
            stream::pending()
        }

        async fn list(&self) -> Result<Listing, EngineError> {
            Ok(Vec::new().into())
        }

        fn scope_of(id: &ContainerId) -> &str {
            id.as_str()
        }

        async fn inspect(&self, _: &ContainerId) -> Result<Option<Container>, EngineError> {
            Ok(None)
        }

        fn packs(&self) -> bool {
            true
        }

        fn has_one_life_per_id(&self) -> bool {
            true
        }

        async fn probe(&self, since: Option<SystemTime>) -> Result<Option<SystemTime>, EngineError> {
            Ok(since)
        }
    }

    #[tokio::test]
    async fn the_properties_of_an_engine_are_its_own() {
        let located =
            Located { client: Special::default(), location: Location::default(), first: Mutex::default() };
        assert!(located.location.set_prefix("outer/inner"));
        assert_eq!(&*located.prefix(), "outer/inner");
        assert_eq!((located.layer(), located.scope_below()), (Layer::Runtime, Some("below")));
        let connection = located.connect(&Settings::default()).await.unwrap();
        assert!(connection.packs() && connection.has_one_life_per_id());
        assert_eq!(connection.clock(), Some(SystemTime::UNIX_EPOCH));
        assert_eq!(LocatedConnection::<Special>::scope_of(&"scope".into()), "scope");
        let now = Some(SystemTime::now());
        assert_eq!(connection.probe(now).await.unwrap(), now);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_begins_soon_goes_on_with_the_connection_that_found_the_engine() {
        let (settings, socket) = (Settings::default(), Socket::url("memory:"));
        for (delay, expected) in [(FRESH / 2, [0, 1]), (FRESH, [1, 2])] {
            let located = Located::connected(Special::default(), Special::default(), &socket);
            advance(delay).await;
            for connections in expected {
                located.connect(&settings).await.unwrap();
                assert_eq!(located.inner().0.load(Ordering::Relaxed), connections);
            }
        }
    }
}
