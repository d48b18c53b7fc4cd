//! A connection to containerd, for as long as it lasts: what the watcher asks.

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use futures_util::stream;
use tokio::sync::mpsc;
use tonic::{Code, Response, Status};
use whalewatcher_adapter::Lives;
use whalewatcher_adapter::grpc::{Channel, Limit, Transport, origin};
use whalewatcher_api::containerd::services::containers::v1::GetContainerRequest;
use whalewatcher_api::containerd::services::containers::v1::containers_client::ContainersClient;
use whalewatcher_api::containerd::services::tasks::v1::GetRequest;
use whalewatcher_api::containerd::services::tasks::v1::tasks_client::TasksClient;
use whalewatcher_core::adapter::{EngineConnection, EngineEvent, Listing};
use whalewatcher_core::{Container, ContainerId, EngineError, EngineIdentity, ErrorKind, Settings};

use crate::container::{self, Packer, State, state};
use crate::failure;
use crate::limits::Limits;
use crate::list::{Purpose, list};
use crate::namespace::LeftOut;
use whalewatcher_adapter::containerd::EventService;
use whalewatcher_adapter::containerd::{IgnoredNamespaces, Scope, split, within};

const CONTAINER: &str = "Containers.Get";
const TASK: &str = "Tasks.Get";

/// A connection to containerd, made by [`Client`](crate::Client). Dropping it closes its descriptor and ends every task
/// that belongs to it.
pub struct Connection {
    transport: Transport,
    identity: EngineIdentity,
    configured: Configured,
    events: EventService,
    /// What lists show that the stream of events has to report: at most one end of each life that was known.
    report: mpsc::UnboundedSender<EngineEvent>,
    reported: Mutex<Option<mpsc::UnboundedReceiver<EngineEvent>>>,
    list_limit: Duration,
}

/// What a connection has from its client.
#[derive(Clone)]
pub(crate) struct Configured {
    pub(crate) ignored: IgnoredNamespaces,
    pub(crate) packer: Option<Packer>,
    pub(crate) probe_every: Duration,
    pub(crate) limits: Limits,
    pub(crate) lives: Lives,
    pub(crate) left_out: LeftOut,
}

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        identity: EngineIdentity,
        configured: Configured,
        settings: &Settings,
    ) -> Self {
        let events = EventService::new(&transport.channel(), Scope::AllBut(configured.ignored.clone()))
            .with_probe_every(configured.probe_every)
            .with_limit(configured.limits.event());
        let (report, reported) = mpsc::unbounded_channel();
        let reported = Mutex::new(Some(reported));
        let list_limit = settings.list_limit();
        Self { transport, identity, configured, events, report, reported, list_limit }
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) fn channel(&self) -> Channel {
        self.transport.channel()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.configured.limits
    }

    /// What asks about containers; each message of an answer is to be within the limit.
    pub(crate) fn containers(&self, limit: Limit) -> ContainersClient<Channel> {
        let channel = self.channel().limited(limit);
        ContainersClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
    }

    /// What asks about tasks; each message of an answer is to be within the limit.
    pub(crate) fn tasks(&self, limit: Limit) -> TasksClient<Channel> {
        let channel = self.channel().limited(limit);
        TasksClient::with_origin(channel, origin()).max_decoding_message_size(usize::MAX)
    }

    /// What this client saw alive, on whichever connection.
    pub(crate) fn lives(&self) -> &Lives {
        &self.configured.lives
    }

    /// Notes that the container is alive, if there is room for it.
    pub(crate) fn note(&self, container: &Container) -> Result<(), EngineError> {
        self.lives().add(container, self.limits().kept())
    }

    pub(crate) fn left_out(&self) -> &LeftOut {
        &self.configured.left_out
    }

    /// Has the stream of events report that.
    pub(crate) fn report(&self, event: EngineEvent) {
        // Without a stream there is nothing to report to.
        let _ = self.report.send(event);
    }

    pub(crate) fn ignored(&self) -> &IgnoredNamespaces {
        &self.configured.ignored
    }

    /// How long a list of all namespaces may take.
    pub(crate) fn list_limit(&self) -> Duration {
        self.list_limit
    }

    pub(crate) fn packer(&self) -> Option<&Packer> {
        self.configured.packer.as_ref()
    }
}

impl EngineConnection for Connection {
    fn identity(&self) -> EngineIdentity {
        self.identity.clone()
    }

    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        let mut events: Pin<Box<dyn Stream<Item = _> + Send + '_>> = Box::pin(self.events.events());
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream::poll_fn(move |context| {
            if let Poll::Ready(event) = events.as_mut().poll_next(context) {
                return Poll::Ready(event.map(|event| event.inspect(|event| note_end(event, self.lives()))));
            }
            match reported.as_mut().map(|reported| reported.poll_recv(context)) {
                Some(Poll::Ready(Some(event))) => Poll::Ready(Some(Ok(event))),
                _ => Poll::Pending,
            }
        })
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        list(self, Purpose::Picture).await
    }

    async fn audit(&self) -> Result<Listing, EngineError> {
        list(self, Purpose::Audit).await
    }

    fn scope_of(id: &ContainerId) -> &str {
        split(id).0
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Container>, EngineError> {
        let (namespace, own_id) = split(id);
        let mut containers = self.containers(self.limits().container());
        let mut tasks = self.tasks(self.limits().task());
        let record = within(namespace, GetContainerRequest { id: own_id.to_owned() })?;
        let task =
            within(namespace, GetRequest { container_id: own_id.to_owned(), ..GetRequest::default() })?;
        let (record, task) = tokio::join!(containers.get(record), tasks.get(task));
        let Some(record) = found(CONTAINER, record)?.and_then(|answer| answer.container) else {
            return Ok(None);
        };
        let task = found(TASK, task)?.and_then(|answer| answer.process);
        let Some(task) = task else { return Ok(Some(container::named(namespace, record, 0))) };
        match state(&task) {
            alive @ (State::Running | State::Paused) => {
                let paused = alive == State::Paused;
                let container = container::alive(namespace, record, &task, paused, self.packer());
                self.note(&container)?;
                Ok(Some(container))
            }
            State::NotAlive => Ok(Some(container::named(namespace, record, 0))),
            State::Unknown => {
                let message = format!("{TASK}: containerd reports no state of the task, or no PID");
                Err(EngineError::new(ErrorKind::Failed, message))
            }
        }
    }

    /// The engine is asked for its version, or, where the stream was silent for long enough, an event of our own must come
    /// back on it: then both are alive. One that does not come runs into the watcher's time limit.
    async fn probe(&self, _since: Option<SystemTime>) -> Result<Option<SystemTime>, EngineError> {
        self.transport.check_socket()?;
        self.events.probe().await?;
        Ok(None)
    }
}

/// A life whose end the stream reports is no longer one that may end unseen.
fn note_end(event: &EngineEvent, lives: &Lives) {
    if let EngineEvent::Exited { id, pid, .. } = event {
        match pid {
            Some(pid) => _ = lives.end_of(id, *pid),
            None => _ = lives.end(id),
        }
    }
}

/// An answer, unless there is no such thing.
fn found<T>(what: &str, answer: Result<Response<T>, Status>) -> Result<Option<T>, EngineError> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(failure::of_status(what, status)),
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("identity", &self.identity)
            .field("ignored", &self.configured.ignored)
            .finish_non_exhaustive()
    }
}
