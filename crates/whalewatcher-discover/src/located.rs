//! Completes what an engine reports of its containers by where the engine runs.
//!
//! That is done between adapter and watcher, so that the label and the PID are part of each container from its start: there is no event
//! for them, and a list that contains the same as before is the same.

use std::fmt;
use std::time::SystemTime;

use futures_core::Stream;
use futures_util::StreamExt;
use whalewatcher_core::adapter::{EngineClient, EngineConnection, EngineEvent, Listing, ListingEntry};
use whalewatcher_core::{Container, ContainerId, EngineError, EngineIdentity, Settings};

use crate::location::Location;
use crate::socket::Socket;

/// A client whose containers have the label [`PREFIX_LABEL`](crate::PREFIX_LABEL), and their PID on this host.
pub struct Located<C> {
    client: C,
    location: Location,
}

impl<C> Located<C> {
    /// Creates a client for the engine that answers at this socket.
    pub fn new(client: C, socket: &Socket) -> Self {
        Self { client, location: socket.location().clone() }
    }

    /// Returns the client of the engine.
    pub fn inner(&self) -> &C {
        &self.client
    }
}

impl<C: fmt::Debug> fmt::Debug for Located<C> {
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

    async fn before_watch(&self) -> Result<(), EngineError> {
        self.client.before_watch().await
    }

    async fn before_attempt(&self) -> Result<(), EngineError> {
        self.client.before_attempt().await
    }

    async fn connect(&self, settings: &Settings) -> Result<Self::Connection, EngineError> {
        let connection = self.client.connect(settings).await?;
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

    async fn probe(&self, since: Option<SystemTime>) -> Result<Option<SystemTime>, EngineError> {
        self.connection.probe(since).await
    }
}
