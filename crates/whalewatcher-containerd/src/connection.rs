//! A connection to containerd, for as long as it lasts: what the watcher asks.

use std::fmt;
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use tonic::{Code, Response, Status};
use whalewatcher_api::containerd::services::containers::v1::GetContainerRequest;
use whalewatcher_api::containerd::services::containers::v1::containers_client::ContainersClient;
use whalewatcher_api::containerd::services::tasks::v1::GetRequest;
use whalewatcher_api::containerd::services::tasks::v1::tasks_client::TasksClient;
use whalewatcher_core::{
    Container, ContainerId, EngineConnection, EngineError, EngineEvent, EngineIdentity, ErrorKind, Listing,
    Settings,
};
use whalewatcher_grpc::{Channel, Transport, origin};

use crate::container::{self, Packer, State, state};
use crate::failure;
use crate::limits::MAX_CONTAINER;
use crate::list::{self, SHARE};
use crate::namespace::{Ignored, Scope, split, within};
use crate::subscription::EventService;

const CONTAINER: &str = "Containers.Get";
const TASK: &str = "Tasks.Get";

/// A connection to containerd, made by [`Client`](crate::Client). Dropping it closes its descriptor and ends every task
/// that belongs to it.
pub struct Connection {
    transport: Transport,
    identity: EngineIdentity,
    ignored: Ignored,
    packer: Option<Packer>,
    events: EventService,
    namespace_limit: Duration,
}

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        identity: EngineIdentity,
        ignored: Ignored,
        packer: Option<Packer>,
    ) -> Self {
        let events = EventService::new(transport.channel(), Scope::AllBut(ignored.clone()));
        let namespace_limit = Settings::default().list_limit() / SHARE;
        Self { transport, identity, ignored, packer, events, namespace_limit }
    }

    pub(crate) fn channel(&self) -> Channel {
        self.transport.channel()
    }

    pub(crate) fn ignored(&self) -> &Ignored {
        &self.ignored
    }

    /// How long the list of one namespace may take.
    pub(crate) fn namespace_limit(&self) -> Duration {
        self.namespace_limit
    }

    pub(crate) fn packer(&self) -> Option<&Packer> {
        self.packer.as_ref()
    }
}

impl EngineConnection for Connection {
    fn configure(&mut self, settings: &Settings) {
        self.namespace_limit = settings.list_limit() / SHARE;
    }

    fn identity(&self) -> EngineIdentity {
        self.identity.clone()
    }

    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        self.events.events()
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        list::list(self).await
    }

    fn scope_of(id: &ContainerId) -> &str {
        split(id).0
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Container>, EngineError> {
        let (namespace, own_id) = split(id);
        let mut containers =
            ContainersClient::with_origin(self.channel(), origin()).max_decoding_message_size(MAX_CONTAINER);
        let mut tasks =
            TasksClient::with_origin(self.channel(), origin()).max_decoding_message_size(MAX_CONTAINER);
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
                Ok(Some(container::alive(namespace, record, &task, paused, self.packer())))
            }
            State::NotAlive => Ok(Some(container::named(namespace, record, 0))),
            State::Unknown => {
                let message = format!("{TASK}: containerd does not know how the task fares");
                Err(EngineError::new(ErrorKind::Failed, message))
            }
        }
    }

    /// Published, an event of our own must come back on the stream: then both are alive. One that does not come runs
    /// into the watcher's time limit.
    async fn check(&self, _since: Option<SystemTime>) -> Result<Option<SystemTime>, EngineError> {
        self.events.check().await?;
        Ok(None)
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
            .field("ignored", &self.ignored)
            .finish_non_exhaustive()
    }
}
