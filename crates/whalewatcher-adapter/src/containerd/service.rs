//! Subscribes to containerd's events, proves the subscription and reads them.
//!
//! containerd sends the headers of its answer only with the first event, so only an event proves that the
//! subscription stands. An event of our own is published repeatedly until it comes back. Any other event is
//! as good a proof.
//!
//! Where publishing is refused there is no proof. The subscription is assumed to stand after
//! [`ASSUMED_AFTER`]. Once it certainly stands, with the first event or after [`SETTLED_AFTER`], a second
//! list closes the gap.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream;
use prost_types::Any;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tonic::{Code, Status, Streaming};
use whalewatcher_api::containerd::services::events::v1::events_client::EventsClient;
use whalewatcher_api::containerd::services::events::v1::{PublishRequest, SubscribeRequest};
use whalewatcher_api::containerd::services::version::v1::version_client::VersionClient;
use whalewatcher_api::containerd::types::Envelope;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{EngineError, ErrorKind};

use crate::containerd::decode::{OWN_NAMESPACE, OWN_TOPIC, decode, filters};
use crate::containerd::engine::ENGINE;
use crate::containerd::limits;
use crate::containerd::namespace::{Scope, within};
use crate::grpc::{Channel, Limit, origin};

const SUBSCRIBE: &str = "Events.Subscribe";
const PUBLISH: &str = "Events.Publish";
const VERSION: &str = "Version.Version";

/// The delay before our own event is published again. It doubles up to the longest.
const FIRST_DELAY: Duration = Duration::from_millis(2);
const LONGEST_DELAY: Duration = Duration::from_millis(100);

/// The time after which a subscription that cannot be proven is assumed to stand.
const ASSUMED_AFTER: Duration = Duration::from_millis(200);

/// The time after which it certainly stands, even without an event.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// The default silence of the stream after which an event of our own is published to probe it: 30 seconds.
pub const DEFAULT_PROBE_EVERY: Duration = Duration::from_secs(30);

/// The shortest silence that can be configured.
const LEAST_PROBE_EVERY: Duration = Duration::from_millis(10);

/// The type of our own events: every client can decode it, and it has no content.
const EMPTY: &str = "google.protobuf.Empty";

/// A subscription to containerd's event service on one connection.
///
/// The service is a broadcast: a subscriber takes nothing from others.
#[derive(Debug)]
pub struct EventService {
    channel: Channel,
    scope: Scope,
    /// Notified of each event.
    arrived: watch::Sender<()>,
    /// The time of the newest event, or of the subscription.
    newest: Mutex<Instant>,
    probe_every: Duration,
    /// Whether containerd refused to publish.
    refused: AtomicBool,
}

impl EventService {
    /// Selects the events of one namespace, with bare IDs. Each container must have at most one task in its
    /// life: the deletion of a task is reported as [`EngineEvent::Exited`], even if its exit was reported
    /// before.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if no namespace can have this name.
    pub fn of_namespace(channel: &Channel, namespace: &str) -> Result<Self, EngineError> {
        Ok(Self::new(channel, Scope::only(namespace)?))
    }

    /// Selects the events of the namespaces in this scope.
    #[must_use]
    pub fn new(channel: &Channel, scope: Scope) -> Self {
        let channel = channel.for_stream(limits::EVENT);
        let (arrived, newest) = (watch::Sender::new(()), Mutex::new(Instant::now()));
        let (probe_every, refused) = (DEFAULT_PROBE_EVERY, AtomicBool::new(false));
        Self { channel, scope, arrived, newest, probe_every, refused }
    }

    /// Sets how long the stream may be silent before [`probe`](Self::probe) publishes an event of our own,
    /// which other subscribers receive too; at least 10 ms.
    #[must_use]
    pub fn with_probe_every(mut self, every: Duration) -> Self {
        self.probe_every = every.max(LEAST_PROBE_EVERY);
        self
    }

    /// Sets the limit of one event.
    #[must_use]
    pub fn with_limit(mut self, limit: Limit) -> Self {
        self.channel = self.channel.for_stream(limit);
        self
    }

    fn newest(&self) -> MutexGuard<'_, Instant> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the events; the first poll subscribes. The first item is [`EngineEvent::Subscribed`], as
    /// [`EngineConnection::events`](whalewatcher_core::adapter::EngineConnection::events) requires: proven by
    /// an event of our own, or followed by an [`EngineEvent::Gap`] where publishing is refused.
    pub fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        events(self)
    }

    /// Checks that containerd answers. If the stream was silent for [long enough](Self::with_probe_every) and
    /// publishing is allowed, it also checks that the stream delivers an event that is published now; if the
    /// stream is dead, the future never completes.
    ///
    /// # Errors
    ///
    /// If the call fails.
    pub async fn probe(&self) -> Result<(), EngineError> {
        let is_silent = self.newest().elapsed() >= self.probe_every;
        if !is_silent || self.refused.load(Ordering::Relaxed) {
            return ask_version(self.channel.clone()).await;
        }
        let mut arrived = self.arrived.subscribe();
        publish(self).await.map_err(|status| ENGINE.status_error(PUBLISH, status))?;
        // The sender is a field of this, so waiting does not fail.
        let _ = arrived.changed().await;
        Ok(())
    }
}

/// The stream with its first event, once that has arrived.
type First<'a> =
    Pin<Box<dyn Future<Output = Result<(Streaming<Envelope>, Envelope), EngineError>> + Send + 'a>>;

enum Progress<'a> {
    /// Not subscribed yet.
    Begun,
    /// Subscribed without a proof, until the sleep ends.
    Unproven(First<'a>, Pin<Box<Sleep>>),
    /// Certainly subscribed, without an event so far.
    Silent(First<'a>),
    /// The first event has arrived.
    Arrived(Streaming<Envelope>, Envelope),
    Reading(Streaming<Envelope>),
    Over,
}

fn events(service: &EventService) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
    stream::unfold(Progress::Begun, move |mut progress| async move {
        loop {
            let (reported, next) = match step(service, progress).await {
                Ok(Some(stepped)) => stepped,
                Ok(None) => return None,
                Err(error) => return Some((Err(error), Progress::Over)),
            };
            match reported {
                Some(event) => return Some((Ok(event), next)),
                None => progress = next,
            }
        }
    })
}

/// Waits for the next step; returns its event, if it has one, and the progress after it. `None` is the end of
/// the stream.
async fn step<'a>(
    service: &'a EventService,
    progress: Progress<'a>,
) -> Result<Option<(Option<EngineEvent>, Progress<'a>)>, EngineError> {
    Ok(Some(match progress {
        Progress::Begun => (Some(EngineEvent::Subscribed), subscribe(service).await?),
        Progress::Unproven(mut first, mut settled) => tokio::select! {
            biased;
            first = &mut first => {
                let (stream, envelope) = first?;
                (Some(EngineEvent::Gap), Progress::Arrived(stream, envelope))
            }
            () = &mut settled => (Some(EngineEvent::Gap), Progress::Silent(first)),
        },
        Progress::Silent(first) => {
            let (stream, envelope) = first.await?;
            (None, Progress::Arrived(stream, envelope))
        }
        Progress::Arrived(stream, envelope) => (take(service, envelope)?, Progress::Reading(stream)),
        Progress::Reading(mut stream) => match stream.message().await {
            Ok(Some(envelope)) => (take(service, envelope)?, Progress::Reading(stream)),
            Ok(None) => return Ok(None),
            Err(status) => return Err(ENGINE.status_error(SUBSCRIBE, status)),
        },
        Progress::Over => return Ok(None),
    }))
}

fn take(service: &EventService, envelope: Envelope) -> Result<Option<EngineEvent>, EngineError> {
    *service.newest() = Instant::now();
    service.arrived.send_replace(());
    if envelope.topic == OWN_TOPIC {
        return Ok(None);
    }
    decode(envelope, &service.scope)
}

async fn subscribe(service: &EventService) -> Result<Progress<'_>, EngineError> {
    let mut first: First<'_> = Box::pin(async {
        let failed = |status| ENGINE.status_error(SUBSCRIBE, status);
        let mut client = client(service.channel.clone());
        let request = SubscribeRequest { filters: filters(&service.scope) };
        let mut stream = client.subscribe(request).await.map_err(failed)?.into_inner();
        match stream.message().await.map_err(failed)? {
            Some(envelope) => Ok((stream, envelope)),
            None => {
                let message = "containerd ended the event stream before its first event";
                Err(EngineError::new(ErrorKind::Disconnected, message))
            }
        }
    });
    let refused = tokio::select! {
        biased;
        proven = &mut first => return proven.map(|(stream, envelope)| Progress::Arrived(stream, envelope)),
        refused = publish_repeatedly(service) => refused,
    };
    if !is_refusal(&refused) {
        return Err(ENGINE.status_error(PUBLISH, refused));
    }
    tracing::debug!(error = %refused, "publishing is refused: the subscription cannot be proven");
    service.refused.store(true, Ordering::Relaxed);
    Ok(match timeout(ASSUMED_AFTER, &mut first).await {
        Ok(proven) => proven.map(|(stream, envelope)| Progress::Arrived(stream, envelope))?,
        Err(_) => Progress::Unproven(first, Box::pin(sleep(SETTLED_AFTER))),
    })
}

/// Publishes our own event repeatedly; returns the first error.
async fn publish_repeatedly(service: &EventService) -> Status {
    let mut delay = FIRST_DELAY;
    loop {
        if let Err(status) = publish(service).await {
            return status;
        }
        sleep(delay).await;
        delay = (delay * 2).min(LONGEST_DELAY);
    }
}

async fn publish(service: &EventService) -> Result<(), Status> {
    let event = Some(Any { type_url: EMPTY.into(), value: Vec::new() });
    let request = PublishRequest { topic: OWN_TOPIC.into(), event };
    let request = within(OWN_NAMESPACE, request).map_err(|error| Status::from_error(Box::new(error)))?;
    client(service.channel.clone()).publish(request).await.map(drop)
}

/// Whether publishing is not permitted or not implemented. Other errors may be temporary.
fn is_refusal(status: &Status) -> bool {
    matches!(status.code(), Code::Unimplemented | Code::PermissionDenied | Code::Unauthenticated)
}

fn client(channel: Channel) -> EventsClient<Channel> {
    EventsClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
}

/// Checks that containerd answers.
async fn ask_version(channel: Channel) -> Result<(), EngineError> {
    let mut client = VersionClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX);
    client.version(()).await.map(drop).map_err(|status| ENGINE.status_error(VERSION, status))
}
