//! containerd's own events, taken for hints: where its CRI plugin's would be taken from the kubelet.

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
use crate::source::ownership::{Claims, Taken};

const CONTAINER: &str = "Containers.Get";
const TASKS: &str = "Tasks.List";

/// How long CRI is given to note what containerd does not show, before the second list.
const SETTLED: Duration = Duration::from_secs(2);

/// How many starts are asked about at once.
const AT_ONCE: usize = 16;

/// A subscription to its events.
///
/// They tell of all tasks in that namespace, of which some may be none of CRI's: containerd is asked whose it is before
/// the start of a task is passed on.
pub(crate) struct Hinting<'a> {
    events: Pin<Box<dyn Stream<Item = Result<EngineEvent, EngineError>> + Send + 'a>>,
    /// Starts to be asked about.
    queue: VecDeque<ContainerId>,
    asked: FuturesUnordered<Pin<Box<dyn Future<Output = Claim> + Send + 'a>>>,
    claims: Claims,
    /// What happened before the subscription, once that is found out.
    missed: Fuse<BoxFuture<'a, Vec<EngineEvent>>>,
}

/// A start, and whose it is.
type Claim = (ContainerId, Result<Option<Kind>, EngineError>);

impl<'a> Hinting<'a> {
    /// Subscribes; `Ok(Err(_))` with the reason if that is not to be had here.
    pub(crate) async fn subscribe(session: &'a Session) -> Result<Result<Self, EngineError>, EngineError> {
        let mut events = Box::pin(session.hints().service.events());
        match events.next().await {
            Some(Ok(_subscribed)) => {
                session.hints().stand.store(true, Ordering::Relaxed);
                let (queue, asked, claims) = Default::default();
                let missed = missed_or_gap(session).boxed().fuse();
                Ok(Ok(Self { events, queue, asked, claims, missed }))
            }
            Some(Err(error)) if is_refusal(&error) => Ok(Err(error)),
            Some(Err(error)) => Err(error),
            None => Ok(Err(ended())),
        }
    }

    /// What is told next, if anything.
    pub(crate) async fn next(&mut self, session: &'a Session) -> Result<Vec<EngineEvent>, EngineError> {
        while self.asked.len() < AT_ONCE
            && let Some(id) = self.queue.pop_front()
        {
            self.asked.push(Box::pin(ask(session, id)));
        }
        // The watcher polls this before it handles a list that has arrived: the events of what the list shows come first.
        let listed = poll_fn(|_| match self.claims.release(&mut session.memory()) {
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
                Ok(self.claims.settle(&id, answer, &mut session.memory()))
            }
            events = &mut self.missed, if !self.missed.is_terminated() => {
                Ok(events.into_iter().filter_map(|event| self.take(session, event)).collect())
            }
        }
    }

    /// What to pass on of an event at once.
    fn take(&mut self, session: &Session, event: EngineEvent) -> Option<EngineEvent> {
        match self.claims.take(event, &mut session.memory()) {
            Taken::Reported(event) => event,
            Taken::Asked(id) => {
                self.queue.push_back(id);
                None
            }
        }
    }
}

fn ended() -> EngineError {
    EngineError::new(ErrorKind::Disconnected, "containerd ended its stream of events")
}

async fn ask(session: &Session, id: ContainerId) -> Claim {
    let answer = limited(session.inspect_limit(), CONTAINER, session.hints().kind(&id)).await;
    (id, answer)
}

/// What happened before the subscription. Where containerd does not show it, a second list is to, once CRI is likely to have
/// noted it.
async fn missed_or_gap(session: &Session) -> Vec<EngineEvent> {
    let listed = session.lists().newest().await;
    match limited(session.list_limit(), TASKS, missed(session, &listed)).await {
        Ok(events) => events,
        Err(error) => {
            tracing::debug!(%error, "containerd does not show what happened before the subscription");
            sleep(SETTLED).await;
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
