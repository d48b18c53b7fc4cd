//! The event stream: asked for, proven to be subscribed, read.
//!
//! containerd sends the headers of its answer only together with the first event, so nothing but an event shows that it
//! has subscribed anybody. The first event is one of our own: published again and again until it comes back. Whatever
//! else comes first proves as much.
//!
//! Where publishing is refused there is no proof. The subscription counts as standing after [`PATIENCE`]; once it certainly
//! stands, which is with the first event or after [`SETTLED`], what happened before is looked for in another list.

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
use crate::containerd::namespace::{Scope, within};
use crate::containerd::{ENGINE, limits};
use crate::grpc::{Channel, Limit, origin};

const SUBSCRIBE: &str = "Events.Subscribe";
const PUBLISH: &str = "Events.Publish";
const VERSION: &str = "Version.Version";

/// How long to wait for our own event before it is published again; then twice as long, and so on.
const FIRST_DELAY: Duration = Duration::from_millis(2);
const LONGEST_DELAY: Duration = Duration::from_millis(100);

/// How long to wait for a subscription that cannot be proven.
const PATIENCE: Duration = Duration::from_millis(200);

/// After what time it stands even if nothing shows it.
const SETTLED: Duration = Duration::from_secs(2);

/// How long the stream may be silent before an event of our own is to come back on it, unless configured: 30 seconds.
pub const DEFAULT_PROBE_EVERY: Duration = Duration::from_secs(30);

/// Nobody publishes more often.
const LEAST_PROBE_EVERY: Duration = Duration::from_millis(10);

/// What everybody can decode who happens to read our events: there is nothing in it.
const EMPTY: &str = "google.protobuf.Empty";

/// containerd's own event service, on a connection: what happens in the namespaces that matter.
///
/// It is a broadcast: who subscribes takes nothing from others. For adapters to what is built on containerd, such as its
/// CRI plugin.
#[derive(Debug)]
pub struct EventService {
    channel: Channel,
    scope: Scope,
    /// Notified of whatever the stream brings.
    heard: watch::Sender<()>,
    /// When it last brought something, or was asked for.
    newest: Mutex<Instant>,
    probe_every: Duration,
    /// Whether publishing was refused.
    refused: AtomicBool,
}

impl EventService {
    /// The events of this namespace alone, of containers with bare IDs. Each of them is to have one task only, ever: one that
    /// is deleted is told as [`EngineEvent::Exited`], also if its exit was told before.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if no namespace can be called so.
    pub fn of_namespace(channel: &Channel, namespace: &str) -> Result<Self, EngineError> {
        Ok(Self::new(channel, Scope::only(namespace)?))
    }

    /// The events of the namespaces in this scope.
    #[must_use]
    pub fn new(channel: &Channel, scope: Scope) -> Self {
        let channel = channel.for_stream(limits::EVENT);
        let (heard, newest) = (watch::Sender::new(()), Mutex::new(Instant::now()));
        let (probe_every, refused) = (DEFAULT_PROBE_EVERY, AtomicBool::new(false));
        Self { channel, scope, heard, newest, probe_every, refused }
    }

    /// Sets how long the stream may be silent before [`probe`](Self::probe) publishes an event of our own, which
    /// others that listen see too; 10 ms at least.
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

    /// The events, asked for when it is first polled. Its first item is [`EngineEvent::Subscribed`], as
    /// [`EngineConnection::events`](whalewatcher_core::adapter::EngineConnection::events) wants it: proven by an event of our own,
    /// or followed by an [`EngineEvent::Gap`] where nobody may publish.
    pub fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        events(self)
    }

    /// Shows that containerd answers and, where the stream was silent for [long enough](Self::with_probe_every) and we may
    /// publish, that the stream brings what happens: anything that comes after the question does. Never ends then if the
    /// stream is dead.
    ///
    /// # Errors
    ///
    /// If containerd does not answer, or with a complaint.
    pub async fn probe(&self) -> Result<(), EngineError> {
        let is_silent = self.newest().elapsed() >= self.probe_every;
        if !is_silent || self.refused.load(Ordering::Relaxed) {
            return ask_version(self.channel.clone()).await;
        }
        let mut heard = self.heard.subscribe();
        publish(self).await.map_err(|status| ENGINE.of_status(PUBLISH, status))?;
        // The sender lives as long as this.
        let _ = heard.changed().await;
        Ok(())
    }
}

/// The stream with its first event, once that is here.
type First<'a> =
    Pin<Box<dyn Future<Output = Result<(Streaming<Envelope>, Envelope), EngineError>> + Send + 'a>>;

enum Progress<'a> {
    /// Nobody has asked yet.
    Begun,
    /// Asked for, but with nothing that proves it.
    Unproven(First<'a>, Pin<Box<Sleep>>),
    /// Stands, though nothing has come yet.
    Silent(First<'a>),
    /// Something has come.
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

/// What is told next, if anything, and what comes after it.
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
            Err(status) => return Err(ENGINE.of_status(SUBSCRIBE, status)),
        },
        Progress::Over => return Ok(None),
    }))
}

fn take(service: &EventService, envelope: Envelope) -> Result<Option<EngineEvent>, EngineError> {
    *service.newest() = Instant::now();
    service.heard.send_replace(());
    if envelope.topic == OWN_TOPIC {
        return Ok(None);
    }
    decode(envelope, &service.scope)
}

async fn subscribe(service: &EventService) -> Result<Progress<'_>, EngineError> {
    let mut first: First<'_> = Box::pin(async {
        let failed = |status| ENGINE.of_status(SUBSCRIBE, status);
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
        refused = publish_again_and_again(service) => refused,
    };
    if !is_refusal(&refused) {
        return Err(ENGINE.of_status(PUBLISH, refused));
    }
    tracing::debug!(error = %refused, "no event of our own can prove the subscription");
    service.refused.store(true, Ordering::Relaxed);
    Ok(match timeout(PATIENCE, &mut first).await {
        Ok(proven) => proven.map(|(stream, envelope)| Progress::Arrived(stream, envelope))?,
        Err(_) => Progress::Unproven(first, Box::pin(sleep(SETTLED))),
    })
}

/// Ends with why it cannot go on.
async fn publish_again_and_again(service: &EventService) -> Status {
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

/// Whether publishing is none of our rights, or unknown there: everything else may be better next time.
fn is_refusal(status: &Status) -> bool {
    matches!(status.code(), Code::Unimplemented | Code::PermissionDenied | Code::Unauthenticated)
}

fn client(channel: Channel) -> EventsClient<Channel> {
    EventsClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
}

/// Whether it still answers.
async fn ask_version(channel: Channel) -> Result<(), EngineError> {
    let mut client = VersionClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX);
    client.version(()).await.map(drop).map_err(|status| ENGINE.of_status(VERSION, status))
}
