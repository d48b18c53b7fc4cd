//! How the operations query an engine.

use std::time::{Duration, SystemTime};

use http::Response;
use hyper::body::Incoming;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use tokio::sync::SemaphorePermit;
use whalewatcher_core::adapter::EngineIdentity;
use whalewatcher_core::{Backoff, EngineError, Settings};

use crate::api::clock::EngineClock;
use crate::api::handshake::Handshake;
use crate::api::own_api::{LIBPOD, Refused};
use crate::api::pods::Pods;
use crate::decode::Details;
use crate::decode::identity::Dialect;
use crate::decode::version::{ApiVersion, OOM_KILLS};
use crate::http::answer;
use crate::http::budget::Budget;
use crate::http::transport::Transport;
use crate::limits::MAX_IDENTITY;

/// How often to request the list where changes are polled for.
pub(crate) const POLL_EVERY: Duration = Duration::from_secs(1);

/// The characters that stay as they are in a segment of a path and in a parameter of a query.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How many times longer than those between connections the delays are between attempts to get the event
/// stream while changes are polled for: by default the first is 1 s and the longest 60 s. An attempt costs
/// the engine a request, and a proxy that refuses the stream refuses the next one too. The longest is at
/// least as long as polls are apart, which report the changes meanwhile.
const FIRST_RETRY: u32 = 10;
const LONGEST_RETRY: u32 = 6;

/// What an operation needs to query one engine: its transport, API version, dialect and clock, and the
/// watcher's limits.
#[derive(Debug)]
pub(crate) struct Session {
    transport: Transport,
    handshake: Handshake,
    networks: bool,
    own: Own,
    pods: Pods,
    list_limit: Duration,
    inspections: usize,
    retry: RetryDelays,
}

/// How a watcher of podman uses podman's own API.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    /// Why it is not used though it is wanted.
    pub(crate) refused: Refused,
    /// The lives that began before are as its list shows them, which dates them to the second: no event of
    /// any connection concerns an earlier life in that second. `None` if all containers are inspected.
    pub(crate) listed_until: Option<SystemTime>,
}

/// The delays between attempts to get the event stream, which double.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryDelays {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl RetryDelays {
    fn new(backoff: &Backoff) -> Self {
        let first = backoff.first().saturating_mul(FIRST_RETRY);
        Self { first, longest: backoff.longest().saturating_mul(LONGEST_RETRY).max(first).max(POLL_EVERY) }
    }
}

impl Session {
    pub(crate) fn new(
        transport: Transport,
        handshake: Handshake,
        networks: bool,
        own: Own,
        settings: &Settings,
    ) -> Self {
        Self {
            transport,
            handshake,
            networks,
            own,
            pods: Pods::default(),
            list_limit: settings.list_limit(),
            inspections: settings.inspections(),
            retry: RetryDelays::new(settings.backoff()),
        }
    }

    /// Sends a GET request to a path below the API version; the headers of the answer have come.
    pub(crate) async fn get(&self, path: &str) -> Result<Response<Incoming>, EngineError> {
        let path = match self.dialect() {
            Dialect::Docker | Dialect::Podman => format!("/v{}{path}", self.handshake.api),
            Dialect::Libpod => format!("{LIBPOD}{path}"),
        };
        self.transport.get(&path).await
    }

    /// Waits until an inspection may be made. Its turn ends with what this returns.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.transport.turn().await
    }

    /// Checks that the engine answers, and returns what its clock shows according to the answer. A refusal is
    /// an answer.
    pub(crate) async fn ping(&self) -> Result<Option<Timestamp>, EngineError> {
        const WHAT: &str = "GET /_ping";
        let response = self.transport.get("/_ping").await?;
        let (status, now) = (response.status(), self.clock().of(response.headers()));
        let body = answer::read(WHAT, response, MAX_IDENTITY, self.budget()).await?;
        // A proxy without an engine behind it answers with such a status.
        if status.is_server_error() { Err(answer::refused(WHAT, status, &body)) } else { Ok(now) }
    }

    /// Fails if another socket is bound at the endpoint by now.
    pub(crate) fn check_socket(&self) -> Result<(), EngineError> {
        self.transport.check_socket()
    }

    /// Resolves with the reason once another socket was noticed at the endpoint.
    pub(crate) async fn socket_replaced(&self) -> EngineError {
        self.transport.socket_replaced().await
    }

    pub(crate) fn identity(&self) -> &EngineIdentity {
        &self.handshake.identity
    }

    pub(crate) fn api(&self) -> ApiVersion {
        self.handshake.api
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.handshake.dialect
    }

    /// Which details of containers are decoded.
    pub(crate) fn details(&self) -> Details {
        Details {
            networks: self.networks,
            network_mode: self.networks && self.dialect() != Dialect::Libpod,
            oom_kills: self.handshake.api >= OOM_KILLS,
        }
    }

    /// The lives that began before are as podman's own list shows them.
    pub(crate) fn listed_until(&self) -> Option<SystemTime> {
        self.own.listed_until
    }

    /// From when on to request events. Where the clock is known by a date only, that is some time before it,
    /// but not before the first connection: an exit from before may be that of a former life in the second to
    /// which a list dates a start.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        let since = self.clock().since()?;
        let first = self.own.listed_until.and_then(|first| Timestamp::try_from(first).ok());
        first.filter(|first| since < *first && Some(*first) <= self.clock().now()).or(Some(since))
    }

    pub(crate) fn pods(&self) -> &Pods {
        &self.pods
    }

    /// Why podman's own API is not used though it is wanted.
    pub(crate) fn refused(&self) -> Refused {
        self.own.refused.clone()
    }

    pub(crate) fn clock(&self) -> &EngineClock {
        &self.handshake.clock
    }

    pub(crate) fn budget(&self) -> &Budget {
        self.transport.budget()
    }

    /// How long a list may take.
    pub(crate) fn list_limit(&self) -> Duration {
        self.list_limit
    }

    /// How many inspections may be in flight at once.
    pub(crate) fn inspections(&self) -> usize {
        self.inspections
    }

    pub(crate) fn retry(&self) -> RetryDelays {
        self.retry
    }
}

/// Escapes a segment of a path or a parameter of a query.
pub(crate) fn escape(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, UNRESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_stream_is_retried_more_slowly_than_the_connection() {
        for (first, longest, expected) in [
            (100, 10_000, (1_000, 60_000)),
            (1, 200, (10, 1_200)),
            (1, 10, (10, 1_000)),
            (0, 0, (10, 1_000)),
            (1_000, 1_000, (10_000, 10_000)),
        ] {
            let [first, longest] = [first, longest].map(Duration::from_millis);
            let RetryDelays { first, longest } =
                RetryDelays::new(&Backoff::default().with_delays(first, longest));
            assert_eq!((first.as_millis(), longest.as_millis()), expected);
        }
        let RetryDelays { first, longest } = RetryDelays::new(&Backoff::default());
        assert_eq!((first.as_secs(), longest.as_secs()), (1, 60));
    }
}
