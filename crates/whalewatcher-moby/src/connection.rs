//! A connection to an engine, for as long as it lasts: what the watcher asks.

use std::fmt;
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use tokio::task::spawn_blocking;
use whalewatcher_core::{
    Container, ContainerId, EngineConnection, EngineError, EngineEvent, EngineIdentity, ErrorKind, Listing,
    Sighting,
};

use crate::answer;
use crate::audit;
use crate::check;
use crate::events;
use crate::handshake::Acquaintance;
use crate::inspection::{self, Packer};
use crate::limits::{MAX_COMPLAINT, MAX_INSPECTION, MAX_LIST};
use crate::list;
use crate::replay::{Excused, Garbage};
use crate::transport::Transport;

/// Up to what size a list is decoded between two events: that of some hundred containers, which takes a millisecond.
const AT_ONCE: usize = 256 * 1024;

/// What stays as it is in a part of a path and in a parameter of a query.
pub(crate) const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// By how much a time that an engine tells may be ahead of its clock, before it counts as not told. Too late a time would
/// make all that comes after it look old.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// A connection to an engine, made by [`Client`](crate::Client). Dropping it closes every descriptor and ends every
/// task that belongs to it. Only a long list that is just being decoded, in a thread of the runtime's, is decoded to its end.
pub struct Connection {
    transport: Transport,
    acquaintance: Acquaintance,
    packer: Option<Packer>,
    garbage: Garbage,
}

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        acquaintance: Acquaintance,
        packer: Option<Packer>,
        garbage: Garbage,
    ) -> Self {
        Self { transport, acquaintance, packer, garbage }
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

    /// No time that the engine tells is later than that, by its clock or by the one here, whichever is ahead.
    pub(crate) fn horizon(&self) -> SystemTime {
        let now = SystemTime::now();
        now.checked_add(self.acquaintance.lead).and_then(|now| now.checked_add(AHEAD)).unwrap_or(now)
    }

    /// The lines of the event stream that need not end this connection.
    pub(crate) fn excused(&self) -> Excused {
        self.garbage.excused()
    }

    pub(crate) fn is_podman(&self) -> bool {
        self.acquaintance.podman
    }

    /// What is alive, and when that was by the engine's clock, if it tells.
    pub(crate) async fn listed(&self) -> Result<(Vec<Sighting>, Option<SystemTime>), EngineError> {
        const WHAT: &str = "GET /containers/json";
        let response = answer::succeeded(WHAT, self.get(&list::path(self.is_podman())).await?).await?;
        let now = check::date(response.headers());
        let body = answer::read(WHAT, response, MAX_LIST).await?;
        let sightings = if body.len() <= AT_ONCE {
            list::decode(WHAT, &body, now)?
        } else {
            // Events are not to wait for it: dockerd passes over who is too slow to take them.
            let decoding = spawn_blocking(move || list::decode(WHAT, &body, now));
            decoding.await.map_err(|error| EngineError::new(ErrorKind::Failed, error.to_string()))??
        };
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
            let _ = answer::read(WHAT, response, MAX_COMPLAINT).await;
            return Ok(None);
        }
        let response = answer::succeeded(WHAT, response).await?;
        let body = answer::read(WHAT, response, MAX_INSPECTION).await?;
        inspection::decode(WHAT, id, &body, self.horizon(), self.packer.as_ref())
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
