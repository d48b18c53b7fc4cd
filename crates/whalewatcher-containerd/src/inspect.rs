//! Inspects one container: its record and its task.

use tonic::{Code, Response, Status};
use whalewatcher_adapter::containerd::{ENGINE, split, within};
use whalewatcher_api::containerd::services::containers::v1::GetContainerRequest;
use whalewatcher_api::containerd::services::tasks::v1::GetRequest;
use whalewatcher_api::containerd::v1::types::Process;
use whalewatcher_core::{Container, ContainerId, EngineError, ErrorKind};

use crate::container::{self, State, state};
use crate::session::Session;

const CONTAINER: &str = "Containers.Get";
const TASK: &str = "Tasks.Get";

pub(crate) async fn inspect(session: &Session, id: &ContainerId) -> Result<Option<Container>, EngineError> {
    let (namespace, own_id) = split(id);
    let mut containers = session.containers(session.limits().container());
    let mut tasks = session.tasks(session.limits().task());
    let record = within(namespace, GetContainerRequest { id: own_id.to_owned() })?;
    let task = within(namespace, GetRequest { container_id: own_id.to_owned(), ..GetRequest::default() })?;
    let (record, task) = tokio::join!(containers.get(record), tasks.get(task));
    let Some(record) = found(CONTAINER, record)?.and_then(|answer| answer.container) else {
        return Ok(None);
    };
    let task = found(TASK, task)?.and_then(|answer| answer.process);
    let Some(task) = task else { return Ok(Some(container::named(namespace, record, 0))) };
    match state(&task) {
        alive @ (State::Running | State::Paused) => {
            let paused = alive == State::Paused;
            let container = container::alive(namespace, record, &task, paused, session.packer());
            session.note(&container)?;
            Ok(Some(container))
        }
        State::NotAlive => {
            // As long as the task exists, a packer can be called for a life that ended before it was inspected.
            let task = Process { pid: 0, ..task };
            Ok(Some(container::alive(namespace, record, &task, false, session.packer())))
        }
        State::Unknown => {
            let message = format!("{TASK}: containerd reports no state of the task, or no PID");
            Err(EngineError::new(ErrorKind::Failed, message))
        }
    }
}

/// Returns the answer; `None` if there is no such container or task.
fn found<T>(what: &str, answer: Result<Response<T>, Status>) -> Result<Option<T>, EngineError> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(ENGINE.status_error(what, status)),
    }
}
