//! Uses containerd's own events as hints, where CRI's events would be taken from the kubelet.

use std::collections::VecDeque;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use futures_util::future::{BoxFuture, Fuse, FusedFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{ContainerId, EngineError, ErrorKind};

use crate::decode::container::Kind;
use crate::rpc::session::Session;
use crate::source::missed::missed;
use crate::source::ownership::{Decision, Ownership};

const CONTAINER: &str = "Containers.Get";
const TASKS: &str = "Tasks.List";

/// The time after which CRI is likely to report what containerd could not show; then a second list is requested.
const SECOND_LIST_AFTER: Duration = Duration::from_secs(2);

/// The number of containers whose owner is requested at once.
const AT_ONCE: usize = 16;

/// A subscription to containerd's events.
///
/// They report all tasks of the namespace, some of which may not belong to CRI: containerd is asked for the
/// owner before a start is passed on.
pub(crate) struct ContainerdEvents<'a> {
    events: Pin<Box<dyn Stream<Item = Result<EngineEvent, EngineError>> + Send + 'a>>,
    /// Started containers whose owner is not requested yet.
    queue: VecDeque<ContainerId>,
    asked: FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send + 'a>>>,
    ownership: Ownership,
    /// The events of what happened before the subscription, once that is known.
    missed: Fuse<BoxFuture<'a, Vec<EngineEvent>>>,
}

/// The answer about a container's owner.
type Answer = (ContainerId, Result<Option<Kind>, EngineError>);

impl<'a> ContainerdEvents<'a> {
    /// Subscribes; `Ok(Err(_))` is the reason why that is not possible here.
    pub(crate) async fn subscribe(session: &'a Session) -> Result<Result<Self, EngineError>, EngineError> {
        let mut events = Box::pin(session.containerd().service.events());
        match events.next().await {
            Some(Ok(_subscribed)) => {
                session.containerd().subscribed.store(true, Ordering::Relaxed);
                let (queue, asked, ownership) = Default::default();
                let missed = missed_or_gap(session).boxed().fuse();
                Ok(Ok(Self { events, queue, asked, ownership, missed }))
            }
            Some(Err(error)) if is_refusal(&error) => Ok(Err(error)),
            Some(Err(error)) => Err(error),
            None => Ok(Err(ended())),
        }
    }

    /// Waits for the next events; there may be none.
    pub(crate) async fn next(&mut self, session: &'a Session) -> Result<Vec<EngineEvent>, EngineError> {
        while self.asked.len() < AT_ONCE
            && let Some(id) = self.queue.pop_front()
        {
            self.asked.push(Box::pin(ask(session, id)));
        }
        // The watcher polls this before it handles a list that has arrived, so the events of listed
        // containers come first.
        let listed = poll_fn(|_| match self.ownership.take_listed(&mut session.cache()) {
            events if events.is_empty() => Poll::Pending,
            events => Poll::Ready(events),
        });
        tokio::select! {
            biased;
            event = self.events.next() => match event {
                Some(event) => Ok(self.take(session, event?).into_iter().collect()),
                None => Err(ended()),
            },
            events = listed => Ok(events),
            Some((id, answer)) = self.asked.next(), if !self.asked.is_empty() => {
                Ok(self.ownership.resolve(&id, answer, &mut session.cache()))
            }
            events = &mut self.missed, if !self.missed.is_terminated() => {
                Ok(events.into_iter().filter_map(|event| self.take(session, event)).collect())
            }
        }
    }

    /// Returns what an event reports at once.
    fn take(&mut self, session: &Session, event: EngineEvent) -> Option<EngineEvent> {
        match self.ownership.handle(event, &mut session.cache()) {
            Decision::Report(event) => event,
            Decision::Ask(id) => {
                self.queue.push_back(id);
                None
            }
        }
    }
}

fn ended() -> EngineError {
    EngineError::new(ErrorKind::Disconnected, "containerd ended its stream of events")
}

async fn ask(session: &Session, id: ContainerId) -> Answer {
    let answer = limited(session.inspect_limit(), CONTAINER, session.containerd().kind(&id)).await;
    (id, answer)
}

/// Returns what happened before the subscription. If containerd does not show that, a gap is reported once
/// CRI is likely to list it.
async fn missed_or_gap(session: &Session) -> Vec<EngineEvent> {
    let listed = session.lists().newest().await;
    match limited(session.list_limit(), TASKS, missed(session, &listed)).await {
        Ok(events) => events,
        Err(error) => {
            tracing::debug!(%error, "cannot find out what happened before the subscription: relisting");
            sleep(SECOND_LIST_AFTER).await;
            vec![EngineEvent::Gap]
        }
    }
}

async fn limited<T>(
    limit: Duration,
    what: &str,
    answer: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    timeout(limit, answer).await.unwrap_or_else(|_| {
        let message = format!("{what}: no answer within {} s", limit.as_secs_f32());
        Err(EngineError::new(ErrorKind::TimedOut, message))
    })
}

/// Whether the call is not implemented or not permitted. Other errors may be temporary.
fn is_refusal(error: &EngineError) -> bool {
    let status = error.source().and_then(|source| source.downcast_ref::<Status>());
    status.is_some_and(|status| {
        matches!(status.code(), Code::Unimplemented | Code::PermissionDenied | Code::Unauthenticated)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_are_final() {
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
