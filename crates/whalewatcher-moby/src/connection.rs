//! A connection to an engine, for as long as it lasts: what the watcher asks.

use std::fmt;
use std::time::SystemTime;

use futures_core::Stream;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use whalewatcher_core::{
    Container, ContainerId, EngineConnection, EngineError, EngineEvent, EngineIdentity, Listing, Sighting,
};

use crate::answer;
use crate::audit;
use crate::check;
use crate::events;
use crate::handshake::Acquaintance;
use crate::inspection::{self, Packer};
use crate::limits::{MAX_INSPECTION, MAX_LIST};
use crate::list;
use crate::transport::Transport;

/// What stays as it is in a part of a path and in a parameter of a query.
pub(crate) const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A connection to an engine, made by [`Client`](crate::Client). Dropping it closes every descriptor and ends every
/// task that belongs to it.
pub struct Connection {
    transport: Transport,
    acquaintance: Acquaintance,
    packer: Option<Packer>,
}

impl Connection {
    pub(crate) fn new(transport: Transport, acquaintance: Acquaintance, packer: Option<Packer>) -> Self {
        Self { transport, acquaintance, packer }
    }

    /// The version of Docker's API that was agreed upon, such as `1.51`.
    #[must_use]
    pub fn api_version(&self) -> String {
        self.acquaintance.api.to_string()
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Response<Incoming>, EngineError> {
        self.transport.get(&format!("/v{}{path}", self.acquaintance.api)).await
    }

    /// The engine's clock when the connection was made.
    pub(crate) fn since(&self) -> Timestamp {
        self.acquaintance.clock
    }

    pub(crate) fn is_podman(&self) -> bool {
        self.acquaintance.podman
    }

    /// What is alive, and when that was by the engine's clock, if it tells.
    pub(crate) async fn listed(&self) -> Result<(Vec<Sighting>, Option<SystemTime>), EngineError> {
        const WHAT: &str = "GET /containers/json";
        let response = answer::succeeded(WHAT, self.get(&list::path(self.is_podman())).await?).await?;
        let now = check::date(response.headers());
        let sightings = list::decode(WHAT, &answer::read(WHAT, response, MAX_LIST).await?, now)?;
        Ok((sightings, now))
    }
}

impl EngineConnection for Connection {
    fn identity(&self) -> EngineIdentity {
        self.acquaintance.identity.clone()
    }

    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        events::stream(self)
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        Ok(self.listed().await?.0.into())
    }

    async fn audit(&self) -> Result<Listing, EngineError> {
        Ok(audit::list(self).await?.into())
    }

    async fn check(&self, since: Option<SystemTime>) -> Result<Option<SystemTime>, EngineError> {
        check::newest_event(self, since).await
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Container>, EngineError> {
        const WHAT: &str = "GET /containers/ID/json";
        let response = self.get(&inspection::path(id)).await?;
        let gone = response.status() == StatusCode::NOT_FOUND;
        if gone {
            // To the end, so that the connection can be used again.
            let _ = answer::read(WHAT, response, MAX_INSPECTION).await;
            return Ok(None);
        }
        let response = answer::succeeded(WHAT, response).await?;
        let body = answer::read(WHAT, response, MAX_INSPECTION).await?;
        inspection::decode(WHAT, id, &body, self.packer.as_ref())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("identity", &self.acquaintance.identity)
            .field("api", &self.acquaintance.api)
            .finish_non_exhaustive()
    }
}
