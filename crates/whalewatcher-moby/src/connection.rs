//! A connection to an engine, for as long as it lasts: what the watcher asks.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::{Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use tokio::task::spawn_blocking;
use whalewatcher_core::{
    Container, ContainerId, EngineConnection, EngineError, EngineEvent, EngineIdentity, ErrorKind, Listing,
    Settings, Sighting,
};

use crate::answer;
use crate::audit;
use crate::changes;
use crate::check;
use crate::clock::EngineClock;
use crate::handshake::Acquaintance;
use crate::inspection::{self, Packer};
use crate::kept::Kept;
use crate::limits::{MAX_COMPLAINT, MAX_IDENTITY, MAX_INSPECTION};
use crate::list;
use crate::memory::Memory;
use crate::transport::Transport;

/// Up to what size a list is decoded between two events: that of some hundred containers, which takes a millisecond.
const AT_ONCE: usize = 256 * 1024;

/// What stays as it is in a part of a path and in a parameter of a query.
pub(crate) const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A connection to an engine, made by [`Client`](crate::Client). Dropping it closes every descriptor and ends every
/// task that belongs to it. Only a long list that is just being decoded, in a thread of the runtime's, is decoded to its end.
pub struct Connection {
    transport: Transport,
    acquaintance: Acquaintance,
    packer: Option<Packer>,
    kept: Kept,
    stream: Mutex<Stream>,
    list_limit: Duration,
}

/// What the event stream should bring.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// What happens from then on, if it is known from when.
    Since(Option<Timestamp>),
    /// Nothing: there is none.
    None,
}

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        acquaintance: Acquaintance,
        packer: Option<Packer>,
        kept: Kept,
    ) -> Self {
        let stream = Mutex::new(Stream::Since(acquaintance.clock.since()));
        let list_limit = Settings::default().list_limit();
        Self { transport, acquaintance, packer, kept, stream, list_limit }
    }

    /// The version of Docker's API that was agreed upon, such as `1.51`.
    #[must_use]
    pub fn api_version(&self) -> String {
        self.acquaintance.api.to_string()
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Response<Incoming>, EngineError> {
        self.transport.get(&format!("/v{}{path}", self.acquaintance.api)).await
    }

    /// Whether the engine answers, and what its clock shows by its answer. A refusal is an answer.
    pub(crate) async fn ping(&self) -> Result<Option<Timestamp>, EngineError> {
        const WHAT: &str = "GET /_ping";
        let response = self.transport.get("/_ping").await?;
        let (status, now) = (response.status(), self.clock().of(response.headers()));
        let body = answer::read(WHAT, response, MAX_IDENTITY, self.memory()).await?;
        // So says a proxy without an engine behind it.
        if status.is_server_error() { Err(answer::refused(WHAT, status, &body)) } else { Ok(now) }
    }

    /// Fails if another socket is bound at the endpoint by now.
    pub(crate) fn still_there(&self) -> Result<(), EngineError> {
        self.transport.still_there()
    }

    /// Resolves with the reason once it was noticed that another socket is bound at the endpoint.
    pub(crate) async fn replaced(&self) -> EngineError {
        self.transport.replaced().await
    }

    /// How long a list may take that is asked for here.
    pub(crate) fn list_limit(&self) -> Duration {
        self.list_limit
    }

    pub(crate) fn clock(&self) -> &EngineClock {
        &self.acquaintance.clock
    }

    /// What the event stream should bring.
    pub(crate) fn stream(&self) -> Stream {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_stream(&self, stream: Stream) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = stream;
    }

    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    pub(crate) fn memory(&self) -> &Memory {
        self.transport.memory()
    }

    pub(crate) fn is_podman(&self) -> bool {
        self.acquaintance.podman
    }

    /// What is alive, and when that was by the engine's clock, if that is known.
    pub(crate) async fn listed(&self) -> Result<(Vec<Sighting>, Option<SystemTime>), EngineError> {
        const WHAT: &str = "GET /containers/json";
        let response = self.get(&list::path(self.is_podman())).await?;
        let response = answer::succeeded(WHAT, response, self.memory()).await?;
        let now = self.clock().of(response.headers()).and_then(|now| SystemTime::try_from(now).ok());
        let mut body = answer::read(WHAT, response, usize::MAX, self.memory()).await?;
        let sightings = if body.len() <= AT_ONCE {
            list::decode(WHAT, &mut body, now)?
        } else {
            // Events are not to wait for it: dockerd skips listeners that are too slow to take them.
            let decoding = spawn_blocking(move || list::decode(WHAT, &mut body, now));
            decoding.await.map_err(|error| EngineError::new(ErrorKind::Failed, error.to_string()))??
        };
        Ok((sightings, now))
    }
}

impl EngineConnection for Connection {
    fn configure(&mut self, settings: &Settings) {
        self.list_limit = settings.list_limit();
    }

    fn identity(&self) -> EngineIdentity {
        self.acquaintance.identity.clone()
    }

    fn events(&self) -> impl futures_core::Stream<Item = Result<EngineEvent, EngineError>> + Send {
        changes::changes(self)
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
        if response.status() == StatusCode::NOT_FOUND {
            let complaint = answer::read(WHAT, response, MAX_COMPLAINT, self.memory()).await?;
            let error = answer::refused(WHAT, StatusCode::NOT_FOUND, &complaint);
            return if inspection::is_gone(id, &complaint) { Ok(None) } else { Err(error) };
        }
        let response = answer::succeeded(WHAT, response, self.memory()).await?;
        let body = answer::read(WHAT, response, MAX_INSPECTION, self.memory()).await?;
        inspection::decode(WHAT, id, &body, self.clock().horizon(), self.packer.as_ref())
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
