//! The traits of adapters without their types: so the watch is compiled once, and not again for each engine.

use std::time::SystemTime;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;

use super::client::{EngineClient, EngineConnection};
use super::event::EngineEvent;
use super::listing::Listing;
use crate::model::{Container, ContainerId, EngineError, EngineIdentity};
use crate::settings::Settings;

/// What the watch needs of an [`EngineClient`].
pub(crate) trait ErasedClient: Send + Sync {
    fn endpoint(&self) -> &str;
    fn before_watch(&self) -> BoxFuture<'_, Result<(), EngineError>>;
    fn before_attempt(&self) -> BoxFuture<'_, Result<(), EngineError>>;
    fn connect<'a>(
        &'a self,
        settings: &'a Settings,
    ) -> BoxFuture<'a, Result<Box<dyn ErasedConnection>, EngineError>>;
    fn reachable(&self) -> BoxFuture<'_, ()>;
}

/// An [`EngineConnection`].
pub(crate) trait ErasedConnection: Send + Sync {
    fn identity(&self) -> EngineIdentity;
    fn clock(&self) -> Option<SystemTime>;
    fn events(&self) -> BoxStream<'_, Result<EngineEvent, EngineError>>;
    fn list(&self) -> BoxFuture<'_, Result<Listing, EngineError>>;
    fn audit(&self) -> BoxFuture<'_, Result<Listing, EngineError>>;
    fn scope_of(&self) -> fn(&ContainerId) -> &str;
    fn inspect<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<Option<Container>, EngineError>>;
    fn packs(&self) -> bool;
    fn has_one_life_per_id(&self) -> bool;
    fn probe(&self, since: Option<SystemTime>) -> BoxFuture<'_, Result<Option<SystemTime>, EngineError>>;
}

impl<C: EngineClient> ErasedClient for C {
    fn endpoint(&self) -> &str {
        EngineClient::endpoint(self)
    }

    fn before_watch(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(EngineClient::before_watch(self))
    }

    fn before_attempt(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(EngineClient::before_attempt(self))
    }

    fn connect<'a>(
        &'a self,
        settings: &'a Settings,
    ) -> BoxFuture<'a, Result<Box<dyn ErasedConnection>, EngineError>> {
        Box::pin(async move {
            let connection = EngineClient::connect(self, settings).await?;
            Ok(Box::new(connection) as Box<dyn ErasedConnection>)
        })
    }

    fn reachable(&self) -> BoxFuture<'_, ()> {
        Box::pin(EngineClient::reachable(self))
    }
}

impl<C: EngineConnection> ErasedConnection for C {
    fn identity(&self) -> EngineIdentity {
        EngineConnection::identity(self)
    }

    fn clock(&self) -> Option<SystemTime> {
        EngineConnection::clock(self)
    }

    fn events(&self) -> BoxStream<'_, Result<EngineEvent, EngineError>> {
        Box::pin(EngineConnection::events(self))
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, EngineError>> {
        Box::pin(EngineConnection::list(self))
    }

    fn audit(&self) -> BoxFuture<'_, Result<Listing, EngineError>> {
        Box::pin(EngineConnection::audit(self))
    }

    fn scope_of(&self) -> fn(&ContainerId) -> &str {
        C::scope_of
    }

    fn inspect<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<Option<Container>, EngineError>> {
        Box::pin(EngineConnection::inspect(self, id))
    }

    fn packs(&self) -> bool {
        EngineConnection::packs(self)
    }

    fn has_one_life_per_id(&self) -> bool {
        EngineConnection::has_one_life_per_id(self)
    }

    fn probe(&self, since: Option<SystemTime>) -> BoxFuture<'_, Result<Option<SystemTime>, EngineError>> {
        Box::pin(EngineConnection::probe(self, since))
    }
}
