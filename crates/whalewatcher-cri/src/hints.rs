//! containerd's own events, taken for hints: where its CRI plugin's would be taken from the kubelet.

use std::error::Error;
use std::future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_core::Stream;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use whalewatcher_containerd::EventService;
use whalewatcher_core::{EngineError, EngineEvent, ErrorKind};
use whalewatcher_grpc::Channel;

use crate::changes::SETTLED;
use crate::connection::Connection;
use crate::memory::{ATTEMPTS, Memory};

/// The namespace that the CRI plugin has its containers in.
const NAMESPACE: &str = "k8s.io";

/// containerd's event service on a connection.
#[derive(Debug)]
pub(crate) struct Hints {
    service: EventService,
    stand: AtomicBool,
}

impl Hints {
    pub(crate) fn new(channel: Channel) -> Result<Self, EngineError> {
        Ok(Self { service: EventService::of_namespace(channel, NAMESPACE)?, stand: AtomicBool::new(false) })
    }

    /// Whether it is subscribed to.
    pub(crate) fn stand(&self) -> bool {
        self.stand.load(Ordering::Relaxed)
    }

    /// Whether the stream is alive; never ends if it is not.
    pub(crate) async fn check(&self) -> Result<(), EngineError> {
        self.service.check().await
    }
}

/// A subscription to it.
pub(crate) struct Hinting<'a> {
    events: Pin<Box<dyn Stream<Item = Result<EngineEvent, EngineError>> + Send + 'a>>,
    told: Option<mpsc::UnboundedReceiver<EngineEvent>>,
    /// When CRI knows what containerd told before anybody subscribed here: whatever had ended by then may have been listed
    /// as running, and its end is not told again.
    settles: Option<Instant>,
}

impl<'a> Hinting<'a> {
    /// Subscribes; `None` if that is not to be had here.
    pub(crate) async fn subscribe(connection: &'a Connection) -> Result<Option<Self>, EngineError> {
        let mut events = Box::pin(connection.hints().service.events());
        match events.next().await {
            Some(Ok(_subscribed)) => {
                connection.hints().stand.store(true, Ordering::Relaxed);
                let settles = Some(Instant::now() + SETTLED);
                Ok(Some(Self { events, told: connection.told(), settles }))
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
    pub(crate) async fn next(&mut self, connection: &Connection) -> Result<Option<EngineEvent>, EngineError> {
        let told = async {
            match &mut self.told {
                Some(told) => told.recv().await,
                None => None,
            }
        };
        let settled = async {
            match self.settles {
                Some(at) => sleep_until(at).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            biased;
            event = self.events.next() => match event {
                Some(event) => Ok(take(event?, &mut connection.memory())),
                None => {
                    let message = "containerd ended its stream of events";
                    Err(EngineError::new(ErrorKind::Disconnected, message))
                }
            },
            Some(event) = told => Ok(Some(event)),
            () = settled => {
                self.settles = None;
                Ok(Some(EngineEvent::Gap))
            }
        }
    }
}

/// Whether it was answered that there is none, or none for us.
fn is_refusal(error: &EngineError) -> bool {
    let status = error.source().and_then(|source| source.downcast_ref::<Status>());
    status.is_some_and(|status| status.source().is_none())
}

/// What a hint is worth. Tasks are paused by nobody in CRI's name, and of a task that CRI does not know nothing is told.
fn take(event: EngineEvent, memory: &mut Memory) -> Option<EngineEvent> {
    match event {
        EngineEvent::Started { ref id, .. } => {
            if memory.has_ended(id) {
                return None;
            }
            memory.member(id).started = Some(Instant::now());
            Some(event)
        }
        EngineEvent::Exited { ref id, .. } => {
            let id = &id.clone();
            let is_new = !memory.has_ended(id);
            memory.end(id);
            if !is_new {
                return None;
            }
            match memory.get(id) {
                // It is being asked about, and that is how to learn whether it is CRI's.
                Some(member) if member.kind.is_none() => {
                    memory.member(id).withheld = Some(event);
                    None
                }
                known => {
                    let was_left_out = known.is_some_and(|member| member.vain >= ATTEMPTS);
                    memory.forget(id);
                    Some(event).filter(|_| !was_left_out)
                }
            }
        }
        EngineEvent::Paused { .. } | EngineEvent::Unpaused { .. } => None,
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::ContainerId;

    use super::*;
    use crate::container::Kind;

    fn id() -> ContainerId {
        "a".into()
    }

    fn started() -> EngineEvent {
        EngineEvent::Started { id: id(), at: None, pid: Some(7), glimpse: None }
    }

    fn exited() -> EngineEvent {
        EngineEvent::Exited { id: id(), at: None, pid: Some(7), code: Some(1) }
    }

    #[tokio::test]
    async fn an_end_is_told_once_and_nothing_of_that_life_afterwards() {
        let mut memory = Memory::default();
        memory.is(&id(), Kind::Container, None);
        assert_eq!(take(started(), &mut memory), Some(started()));
        assert_eq!(take(exited(), &mut memory), Some(exited()));
        assert_eq!(take(exited(), &mut memory), None);
        assert_eq!(take(started(), &mut memory), None);
        assert!(memory.get(&id()).is_none());
    }

    #[tokio::test]
    async fn the_end_of_what_may_not_be_cris_is_withheld() {
        let mut memory = Memory::default();
        assert_eq!(take(started(), &mut memory), Some(started()));
        assert_eq!(take(exited(), &mut memory), None);
        assert_eq!(memory.get(&id()).unwrap().withheld, Some(exited()));
        let mut memory = Memory::default();
        assert_eq!(take(exited(), &mut memory), Some(exited()), "of its start nothing was told either");
    }

    #[test]
    fn pauses_are_nothing_in_cri_and_whatever_else_is_told_is() {
        let mut memory = Memory::default();
        assert_eq!(take(EngineEvent::Paused { id: id(), at: None }, &mut memory), None);
        assert_eq!(take(EngineEvent::Unpaused { id: id(), at: None }, &mut memory), None);
        let changed = EngineEvent::Changed { id: id(), at: None };
        assert_eq!(take(changed.clone(), &mut memory), Some(changed));
        assert_eq!(take(EngineEvent::Gap, &mut memory), Some(EngineEvent::Gap));
    }

    #[test]
    fn who_refuses_is_not_asked_again_and_who_does_not_answer_is() {
        let of = |status: Status| EngineError::new(ErrorKind::Failed, "x").with_source(status);
        assert!(
            is_refusal(&of(Status::unimplemented("x"))) && is_refusal(&of(Status::permission_denied("x")))
        );
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(!is_refusal(&of(Status::from_error(Box::new(broken)))));
        assert!(!is_refusal(&EngineError::new(ErrorKind::TimedOut, "x")));
    }
}
