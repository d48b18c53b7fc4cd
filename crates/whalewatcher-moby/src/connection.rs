//! A connection to an engine, for as long as it lasts: what the watcher asks.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use futures_core::Stream as _;
use futures_util::stream;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use whalewatcher_core::adapter::{EngineConnection, EngineEvent, Listing, ListingEntry};
use whalewatcher_core::{Container, ContainerId, EngineError, EngineIdentity, ErrorKind, Settings};

use crate::api::audit;
use crate::api::changes;
use crate::api::clock::EngineClock;
use crate::api::handshake::Acquaintance;
use crate::api::kept::Kept;
use crate::api::lives::{End, Life, Lives, report_ended};
use crate::api::probe;
use crate::decode::inspection::{self, Packer};
use crate::decode::list;
use crate::http::answer;
use crate::http::memory::{Body, Memory};
use crate::http::transport::Transport;
use crate::limits::{MAX_COMPLAINT, MAX_IDENTITY, MAX_INSPECTION};

/// Up to what size a list is decoded between two events: that of some hundred containers, which takes a millisecond.
const AT_ONCE: usize = 256 * 1024;

const INSPECTION: &str = "GET /containers/ID/json";

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
    inspections: usize,
    lives: Lives,
    is_compared: AtomicBool,
    /// What the first list shows that the event stream has to report.
    report: mpsc::UnboundedSender<EngineEvent>,
    reported: Mutex<Option<mpsc::UnboundedReceiver<EngineEvent>>>,
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
        lives: Lives,
        settings: &Settings,
    ) -> Self {
        lives.connected(&acquaintance.identity.id);
        let (report, reported) = mpsc::unbounded_channel();
        Self {
            transport,
            stream: Mutex::new(Stream::Since(acquaintance.clock.since())),
            acquaintance,
            packer,
            kept,
            list_limit: settings.list_limit(),
            inspections: settings.inspections(),
            lives,
            is_compared: AtomicBool::new(false),
            report,
            reported: Mutex::new(Some(reported)),
        }
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

    /// How many inspections may be under way at once.
    pub(crate) fn inspections(&self) -> usize {
        self.inspections
    }

    pub(crate) fn lives(&self) -> &Lives {
        &self.lives
    }

    /// Has the event stream report that.
    pub(crate) fn report(&self, event: EngineEvent) {
        // Without a stream there is nothing to report to.
        let _ = self.report.send(event);
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
    pub(crate) async fn listed(&self) -> Result<(Vec<ListingEntry>, Option<SystemTime>), EngineError> {
        const WHAT: &str = "GET /containers/json";
        let response = self.get(&list::path(self.is_podman())).await?;
        let response = answer::succeeded(WHAT, response, self.memory()).await?;
        let now = self.clock().of(response.headers()).and_then(|now| SystemTime::try_from(now).ok());
        let mut body = answer::read(WHAT, response, usize::MAX, self.memory()).await?;
        let entries = if body.len() <= AT_ONCE {
            list::decode(WHAT, &mut body, now)?
        } else {
            // Events are not to wait for it: dockerd skips listeners that are too slow to take them.
            let decoding = spawn_blocking(move || list::decode(WHAT, &mut body, now));
            decoding.await.map_err(|error| EngineError::new(ErrorKind::Failed, error.to_string()))??
        };
        Ok((entries, now))
    }

    /// The answer to an inspection; `None` if the engine has no such container.
    async fn inspection(&self, id: &ContainerId) -> Result<Option<Body>, EngineError> {
        let response = self.get(&inspection::path(id)).await?;
        if response.status() == StatusCode::NOT_FOUND {
            let complaint = answer::read(INSPECTION, response, MAX_COMPLAINT, self.memory()).await?;
            let error = answer::refused(INSPECTION, StatusCode::NOT_FOUND, &complaint);
            return if inspection::is_gone(id, &complaint) { Ok(None) } else { Err(error) };
        }
        let response = answer::succeeded(INSPECTION, response, self.memory()).await?;
        answer::read(INSPECTION, response, MAX_INSPECTION, self.memory()).await.map(Some)
    }

    /// How that life ended; `None` if the engine knows of another one at most.
    pub(crate) async fn inspect_end(&self, id: &ContainerId, life: Life) -> Result<Option<End>, EngineError> {
        let Some(body) = self.inspection(id).await? else { return Ok(None) };
        inspection::decode_end(INSPECTION, id, &body, self.clock().horizon(), life.began)
    }
}

impl EngineConnection for Connection {
    fn identity(&self) -> EngineIdentity {
        self.acquaintance.identity.clone()
    }

    fn events(&self) -> impl futures_core::Stream<Item = Result<EngineEvent, EngineError>> + Send {
        let mut changes = Box::pin(changes::changes(self));
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream::poll_fn(move |context| {
            // What is reported happened before what the stream brings, most likely.
            if let Some(Poll::Ready(Some(event))) =
                reported.as_mut().map(|reported| reported.poll_recv(context))
            {
                return Poll::Ready(Some(Ok(event)));
            }
            let change = changes.as_mut().poll_next(context);
            if let Poll::Ready(Some(Ok(event))) = &change {
                self.lives.saw(event);
            }
            change
        })
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        let begun = Instant::now();
        let (entries, now) = self.listed().await?;
        if self.is_compared.swap(true, Ordering::Relaxed) {
            self.lives.compare(&entries, now);
        } else {
            report_ended(self, &entries, self.list_limit.saturating_sub(begun.elapsed())).await;
        }
        Ok(entries.into())
    }

    async fn audit(&self) -> Result<Listing, EngineError> {
        let (entries, now) = audit::list(self).await?;
        self.lives.compare(&entries, now);
        Ok(entries.into())
    }

    async fn probe(&self, since: Option<SystemTime>) -> Result<Option<SystemTime>, EngineError> {
        probe::newest_event(self, since).await
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Container>, EngineError> {
        let inspecting = self.lives.inspect(id);
        let container = match self.inspection(id).await? {
            Some(body) => {
                inspection::decode(INSPECTION, id, &body, self.clock().horizon(), self.packer.as_ref())?
            }
            None => None,
        };
        inspecting.answered(container.as_ref());
        Ok(container)
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
