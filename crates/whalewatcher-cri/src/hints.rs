//! containerd's own events, taken for hints: where its CRI plugin's would be taken from the kubelet.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use whalewatcher_containerd::containerd_client::services::v1::GetContainerRequest;
use whalewatcher_containerd::containerd_client::services::v1::containers_client::ContainersClient;
use whalewatcher_containerd::{EventService, MAX_CONTAINER};
use whalewatcher_core::{ContainerId, EngineError, EngineEvent, ErrorKind};
use whalewatcher_grpc::{Channel, origin};

use crate::connection::Connection;
use crate::container::Kind;
use crate::failure;
use crate::memory::{ATTEMPTS, Memory};

/// The namespace that the CRI plugin has its containers in.
const NAMESPACE: &str = "k8s.io";

/// The label by which it knows what they are.
const KIND: &str = "io.cri-containerd.kind";

const CONTAINER: &str = "Containers.Get";

/// How many starts are asked about at once.
const AT_ONCE: usize = 16;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// containerd's own services on a connection.
#[derive(Debug)]
pub(crate) struct Hints {
    channel: Channel,
    service: EventService,
    stand: AtomicBool,
}

impl Hints {
    pub(crate) fn new(channel: Channel) -> Result<Self, EngineError> {
        let service = EventService::of_namespace(channel.clone(), NAMESPACE)?;
        Ok(Self { channel, service, stand: AtomicBool::new(false) })
    }

    /// Whether it is subscribed to.
    pub(crate) fn stand(&self) -> bool {
        self.stand.load(Ordering::Relaxed)
    }

    /// What containerd has it for in its CRI plugin's name; `None` if it has not.
    async fn kind(&self, id: &ContainerId) -> Result<Option<Kind>, EngineError> {
        let mut containers = ContainersClient::with_origin(self.channel.clone(), origin())
            .max_decoding_message_size(MAX_CONTAINER);
        let mut request = Request::new(GetContainerRequest { id: id.as_str().to_owned() });
        request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
        match containers.get(request).await {
            Ok(answer) => Ok(answer.into_inner().container.and_then(|record| kind(&record.labels))),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(failure::of_status(CONTAINER, status)),
        }
    }

    /// Whether the stream is alive; never ends if it is not.
    pub(crate) async fn check(&self) -> Result<(), EngineError> {
        self.service.check().await
    }
}

fn kind(labels: &HashMap<String, String>) -> Option<Kind> {
    match labels.get(KIND)?.as_str() {
        "container" => Some(Kind::Container),
        "sandbox" => Some(Kind::Sandbox),
        _ => None,
    }
}

/// A subscription to its events.
///
/// They tell of all tasks in that namespace, of which some may be none of CRI's: containerd is asked whose it is before
/// the start of a task is passed on.
pub(crate) struct Hinting<'a> {
    events: Pin<Box<dyn Stream<Item = Result<EngineEvent, EngineError>> + Send + 'a>>,
    /// Starts to be asked about.
    queue: VecDeque<EngineEvent>,
    asked: FuturesUnordered<Pin<Box<dyn Future<Output = Claim> + Send + 'a>>>,
    claims: Claims,
}

/// A start, and whose it is.
type Claim = (EngineEvent, Result<Option<Kind>, EngineError>);

impl<'a> Hinting<'a> {
    /// Subscribes; `None` if that is not to be had here.
    pub(crate) async fn subscribe(connection: &'a Connection) -> Result<Option<Self>, EngineError> {
        let mut events = Box::pin(connection.hints().service.events());
        match events.next().await {
            Some(Ok(_subscribed)) => {
                connection.hints().stand.store(true, Ordering::Relaxed);
                let (queue, asked, claims) = Default::default();
                Ok(Some(Self { events, queue, asked, claims }))
            }
            Some(Err(error)) if !is_refusal(&error) => Err(error),
            refused => {
                let error = refused.and_then(Result::err);
                let error = error.map(|error| error.to_string());
                tracing::debug!(error, "containerd's own events are not to be had");
                Ok(None)
            }
        }
    }

    /// What is told next, if anything.
    pub(crate) async fn next(&mut self, connection: &'a Connection) -> Result<Vec<EngineEvent>, EngineError> {
        while self.asked.len() < AT_ONCE
            && let Some(start) = self.queue.pop_front()
        {
            self.asked.push(Box::pin(ask(connection, start)));
        }
        tokio::select! {
            biased;
            event = self.events.next() => match event {
                Some(event) => Ok(match self.claims.take(event?, &mut connection.memory()) {
                    Taken::Told(event) => event.into_iter().collect(),
                    Taken::Asked(start) => {
                        self.queue.push_back(start);
                        Vec::new()
                    }
                }),
                None => {
                    let message = "containerd ended its stream of events";
                    Err(EngineError::new(ErrorKind::Disconnected, message))
                }
            },
            Some((start, answer)) = self.asked.next(), if !self.asked.is_empty() => {
                Ok(self.claims.settle(start, answer, &mut connection.memory()))
            }
        }
    }
}

async fn ask(connection: &Connection, start: EngineEvent) -> Claim {
    let answer = match &start {
        EngineEvent::Started { id, .. } => {
            timeout(PATIENCE, connection.hints().kind(id)).await.unwrap_or_else(|_| {
                let message = format!("{CONTAINER}: no answer within {} s", PATIENCE.as_secs());
                Err(EngineError::new(ErrorKind::TimedOut, message))
            })
        }
        _ => Ok(None),
    };
    (start, answer)
}

/// Starts of which it is not known yet whether they are CRI's.
#[derive(Default)]
struct Claims {
    /// With the ends that followed.
    open: HashMap<ContainerId, Option<EngineEvent>>,
}

/// What becomes of a hint.
#[derive(Debug, PartialEq)]
enum Taken {
    /// It is passed on, if it is worth anything.
    Told(Option<EngineEvent>),
    /// It is to be asked whose it is.
    Asked(EngineEvent),
}

impl Claims {
    /// Tasks are paused by nobody in CRI's name, and what has ended does not begin again.
    fn take(&mut self, event: EngineEvent, memory: &mut Memory) -> Taken {
        let told = match event {
            EngineEvent::Started { ref id, .. } if memory.has_ended(id) || self.open.contains_key(id) => None,
            EngineEvent::Started { ref id, .. }
                if memory.get(id).is_none_or(|member| member.kind.is_none()) =>
            {
                self.open.insert(id.clone(), None);
                return Taken::Asked(event);
            }
            EngineEvent::Started { ref id, .. } => {
                memory.member(id).started = Some(Instant::now());
                Some(event)
            }
            EngineEvent::Exited { ref id, .. } => {
                let told_before = memory.has_ended(id);
                memory.end(id);
                if let Some(end) = self.open.get_mut(id) {
                    *end = Some(event);
                    None
                } else {
                    let was_left_out = memory.get(id).is_some_and(|member| member.vain >= ATTEMPTS);
                    Some(event).filter(|_| !told_before && !was_left_out)
                }
            }
            EngineEvent::Paused { .. } | EngineEvent::Unpaused { .. } => None,
            other => Some(other),
        };
        Taken::Told(told)
    }

    /// What is told of a start, and of the end that followed, now that it is known whose they are.
    fn settle(
        &mut self,
        start: EngineEvent,
        answer: Result<Option<Kind>, EngineError>,
        memory: &mut Memory,
    ) -> Vec<EngineEvent> {
        let EngineEvent::Started { id, at, pid, .. } = start else { return Vec::new() };
        let end = self.open.remove(&id).flatten();
        let pid = match answer {
            Ok(None) => return Vec::new(),
            Ok(Some(kind)) => {
                memory.is(&id, kind, None).is_claimed = true;
                pid
            }
            // CRI is asked. Without a PID nothing is made of it but what CRI says.
            Err(error) => {
                tracing::debug!(%id, %error, "nobody knows whether that is CRI's");
                None
            }
        };
        memory.member(&id).started = Some(Instant::now());
        let start = EngineEvent::Started { id, at, pid, glimpse: None };
        [Some(start), end].into_iter().flatten().collect()
    }
}

/// Whether it was answered that there is none, or none for us: everything else may be better next time.
fn is_refusal(error: &EngineError) -> bool {
    let status = error.source().and_then(|source| source.downcast_ref::<Status>());
    status.is_some_and(|status| {
        matches!(status.code(), Code::Unimplemented | Code::PermissionDenied | Code::Unauthenticated)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ContainerId {
        "a".into()
    }

    fn started() -> EngineEvent {
        EngineEvent::Started { id: id(), at: None, pid: Some(7), glimpse: None }
    }

    fn exited() -> EngineEvent {
        EngineEvent::Exited { id: id(), at: None, pid: Some(7), code: Some(1) }
    }

    fn told(event: EngineEvent) -> Taken {
        Taken::Told(Some(event))
    }

    const NOTHING: Taken = Taken::Told(None);

    #[tokio::test]
    async fn an_end_is_told_once_and_nothing_of_that_life_afterwards() {
        let (mut claims, mut memory) = (Claims::default(), Memory::default());
        memory.is(&id(), Kind::Container, None);
        assert_eq!(claims.take(started(), &mut memory), told(started()), "a list told that it is CRI's");
        assert_eq!(claims.take(exited(), &mut memory), told(exited()));
        for again in [exited(), started()] {
            assert_eq!(claims.take(again, &mut memory), NOTHING);
        }
        let mut memory = Memory::default();
        assert_eq!(
            claims.take(exited(), &mut memory),
            told(exited()),
            "it may be known from another connection"
        );
        let mut memory = Memory::default();
        memory.is(&id(), Kind::Container, None).vain = ATTEMPTS;
        assert_eq!(claims.take(exited(), &mut memory), NOTHING, "it was left out");
    }

    #[tokio::test]
    async fn of_what_is_not_cris_nothing_is_told() {
        for ends_first in [false, true] {
            let (mut claims, mut memory) = (Claims::default(), Memory::default());
            assert_eq!(claims.take(started(), &mut memory), Taken::Asked(started()));
            assert_eq!(claims.take(started(), &mut memory), NOTHING, "it is asked about already");
            if ends_first {
                assert_eq!(claims.take(exited(), &mut memory), NOTHING);
            }
            assert_eq!(claims.settle(started(), Ok(None), &mut memory), []);
            assert!(memory.get(&id()).is_none() && claims.open.is_empty());
        }
    }

    #[tokio::test]
    async fn what_is_cris_is_told_with_the_end_that_followed() {
        let (mut claims, mut memory) = (Claims::default(), Memory::default());
        claims.take(started(), &mut memory);
        assert_eq!(claims.settle(started(), Ok(Some(Kind::Sandbox)), &mut memory), [started()]);
        let member = memory.get(&id()).unwrap();
        assert!(member.is_claimed && member.started.is_some() && member.kind == Some(Kind::Sandbox));

        let (mut claims, mut memory) = (Claims::default(), Memory::default());
        claims.take(started(), &mut memory);
        claims.take(exited(), &mut memory);
        let settled = claims.settle(started(), Ok(Some(Kind::Container)), &mut memory);
        assert_eq!(settled, [started(), exited()]);
        assert!(memory.has_ended(&id()));
    }

    #[tokio::test]
    async fn what_may_not_be_cris_is_told_without_a_pid() {
        let (mut claims, mut memory) = (Claims::default(), Memory::default());
        claims.take(started(), &mut memory);
        let error = EngineError::new(ErrorKind::Failed, "no");
        let without = EngineEvent::Started { id: id(), at: None, pid: None, glimpse: None };
        assert_eq!(claims.settle(started(), Err(error), &mut memory), [without]);
        let member = memory.get(&id()).unwrap();
        assert!(!member.is_claimed && member.started.is_some() && member.kind.is_none());
    }

    #[test]
    fn containers_and_sandboxes_are_told_apart_by_their_label() {
        for (label, expected) in [
            (Some("container"), Some(Kind::Container)),
            (Some("sandbox"), Some(Kind::Sandbox)),
            (Some("other"), None),
            (None, None),
        ] {
            let labels = label.map(|label| (KIND.to_owned(), label.to_owned())).into_iter().collect();
            assert_eq!(kind(&labels), expected);
        }
    }

    #[test]
    fn pauses_are_nothing_in_cri_and_whatever_else_is_told_is() {
        let (mut claims, mut memory) = (Claims::default(), Memory::default());
        assert_eq!(claims.take(EngineEvent::Paused { id: id(), at: None }, &mut memory), NOTHING);
        assert_eq!(claims.take(EngineEvent::Unpaused { id: id(), at: None }, &mut memory), NOTHING);
        let changed = EngineEvent::Changed { id: id(), at: None };
        assert_eq!(claims.take(changed.clone(), &mut memory), told(changed));
        assert_eq!(claims.take(EngineEvent::Gap, &mut memory), told(EngineEvent::Gap));
    }

    #[test]
    fn who_refuses_is_not_asked_again_and_who_does_not_answer_is() {
        let of = |status: Status| EngineError::new(ErrorKind::Failed, "x").with_source(status);
        assert!(
            is_refusal(&of(Status::unimplemented("x"))) && is_refusal(&of(Status::permission_denied("x")))
        );
        assert!(!is_refusal(&of(Status::unavailable("not yet"))));
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(!is_refusal(&of(Status::from_error(Box::new(broken)))));
        assert!(!is_refusal(&EngineError::new(ErrorKind::TimedOut, "x")));
    }
}
