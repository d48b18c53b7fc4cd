//! containerd's own events, taken for hints: where its CRI plugin's would be taken from the kubelet.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use futures_util::future::{BoxFuture, Fuse, FusedFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{sleep, timeout};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use whalewatcher_adapter::containerd::{EventService, MAX_CONTAINER, MAX_EVENT, MAX_TASKS};
use whalewatcher_adapter::grpc::{Channel, origin};
use whalewatcher_api::containerd::services::containers::v1::GetContainerRequest;
use whalewatcher_api::containerd::services::containers::v1::containers_client::ContainersClient;
use whalewatcher_api::containerd::services::tasks::v1::tasks_client::TasksClient;
use whalewatcher_api::containerd::services::tasks::v1::{GetRequest, ListTasksRequest};
use whalewatcher_api::containerd::v1::types::Process;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{ContainerId, EngineError, ErrorKind};

use crate::changes::SETTLED;
use crate::claims::{Claims, Taken};
use crate::connection::Connection;
use crate::container::Kind;
use crate::failure;
use crate::limits::Limits;
use crate::missed::missed;

/// The namespace that the CRI plugin has its containers in.
const NAMESPACE: &str = "k8s.io";

/// The label by which it knows what they are.
const KIND: &str = "io.cri-containerd.kind";

const CONTAINER: &str = "Containers.Get";
const TASKS: &str = "Tasks.List";

/// How many starts are asked about at once.
const AT_ONCE: usize = 16;

/// containerd's own services on a connection.
#[derive(Debug)]
pub(crate) struct Hints {
    channel: Channel,
    limits: Limits,
    service: EventService,
    stand: AtomicBool,
}

impl Hints {
    pub(crate) fn new(channel: Channel, limits: Limits, probe_every: Duration) -> Result<Self, EngineError> {
        let service = EventService::of_namespace(&channel, NAMESPACE)?
            .with_probe_every(probe_every)
            .with_limit(limits.containerd(MAX_EVENT));
        Ok(Self { channel, limits, service, stand: AtomicBool::new(false) })
    }

    /// Whether it is subscribed to.
    pub(crate) fn stand(&self) -> bool {
        self.stand.load(Ordering::Relaxed)
    }

    /// What containerd has it for in its CRI plugin's name; `None` if it has not.
    async fn kind(&self, id: &ContainerId) -> Result<Option<Kind>, EngineError> {
        let channel = self.channel.limited(self.limits.containerd(MAX_CONTAINER));
        let mut containers =
            ContainersClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX);
        match containers.get(within_namespace(GetContainerRequest { id: id.as_str().to_owned() })).await {
            Ok(answer) => Ok(answer.into_inner().container.and_then(|record| kind(&record.labels))),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(failure::of_status(CONTAINER, status)),
        }
    }

    /// All tasks of the namespace.
    pub(crate) async fn tasks(&self) -> Result<Vec<Process>, EngineError> {
        let request = within_namespace(ListTasksRequest::default());
        let answer = self.tasks_client().list(request).await;
        Ok(answer.map_err(|status| failure::of_status(TASKS, status))?.into_inner().tasks)
    }

    /// Whether it certainly has no task, though it is a container of the CRI plugin's. A sandbox that is run by other
    /// means than a task has no container either.
    pub(crate) async fn lacks_task(&self, id: &ContainerId) -> Result<bool, EngineError> {
        let request = GetRequest { container_id: id.as_str().to_owned(), ..GetRequest::default() };
        let answer = self.tasks_client().get(within_namespace(request)).await;
        let is_missing = answer.is_err_and(|status| status.code() == Code::NotFound);
        Ok(is_missing && self.kind(id).await?.is_some())
    }

    fn tasks_client(&self) -> TasksClient<Channel> {
        let channel = self.channel.limited(self.limits.containerd(MAX_TASKS));
        TasksClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
    }

    /// Whether the stream is alive; never ends if it is not.
    pub(crate) async fn probe(&self) -> Result<(), EngineError> {
        self.service.probe().await
    }
}

fn within_namespace<T>(request: T) -> Request<T> {
    let mut request = Request::new(request);
    request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    request
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
    pub(crate) async fn subscribe(
        connection: &'a Connection,
    ) -> Result<Result<Self, EngineError>, EngineError> {
        let mut events = Box::pin(connection.hints().service.events());
        match events.next().await {
            Some(Ok(_subscribed)) => {
                connection.hints().stand.store(true, Ordering::Relaxed);
                let (queue, asked, claims) = Default::default();
                let missed = missed_or_gap(connection).boxed().fuse();
                Ok(Ok(Self { events, queue, asked, claims, missed }))
            }
            Some(Err(error)) if is_refusal(&error) => Ok(Err(error)),
            Some(Err(error)) => Err(error),
            None => Ok(Err(ended())),
        }
    }

    /// What is told next, if anything.
    pub(crate) async fn next(&mut self, connection: &'a Connection) -> Result<Vec<EngineEvent>, EngineError> {
        while self.asked.len() < AT_ONCE
            && let Some(id) = self.queue.pop_front()
        {
            self.asked.push(Box::pin(ask(connection, id)));
        }
        // The watcher polls this before it handles a list that has arrived: the events of what the list shows come first.
        let listed = poll_fn(|_| match self.claims.release(&mut connection.memory()) {
            events if events.is_empty() => Poll::Pending,
            events => Poll::Ready(events),
        });
        tokio::select! {
            biased;
            event = self.events.next() => match event {
                Some(event) => Ok(self.take(connection, event?).into_iter().collect()),
                None => Err(ended()),
            },
            events = listed => Ok(events),
            Some((id, answer)) = self.asked.next(), if !self.asked.is_empty() => {
                Ok(self.claims.settle(&id, answer, &mut connection.memory()))
            }
            events = &mut self.missed, if !self.missed.is_terminated() => {
                Ok(events.into_iter().filter_map(|event| self.take(connection, event)).collect())
            }
        }
    }

    /// What to pass on of an event at once.
    fn take(&mut self, connection: &Connection, event: EngineEvent) -> Option<EngineEvent> {
        match self.claims.take(event, &mut connection.memory()) {
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

async fn ask(connection: &Connection, id: ContainerId) -> Claim {
    let answer = limited(connection.inspect_limit(), CONTAINER, connection.hints().kind(&id)).await;
    (id, answer)
}

/// What happened before the subscription. Where containerd does not show it, a second list is to, once CRI is likely to have
/// noted it.
async fn missed_or_gap(connection: &Connection) -> Vec<EngineEvent> {
    let listed = connection.lists().newest().await;
    match limited(connection.list_limit(), TASKS, missed(connection, &listed)).await {
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
    fn containers_and_sandboxes_are_reported_apart_by_their_label() {
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
