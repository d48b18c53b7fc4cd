//! What is alive, in all namespaces.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio::time::timeout;
use tonic::Code;
use whalewatcher_api::containerd::services::containers::v1::containers_client::ContainersClient;
use whalewatcher_api::containerd::services::containers::v1::{Container as Record, ListContainersRequest};
use whalewatcher_api::containerd::services::namespaces::v1::ListNamespacesRequest;
use whalewatcher_api::containerd::services::namespaces::v1::namespaces_client::NamespacesClient;
use whalewatcher_api::containerd::services::tasks::v1::ListTasksRequest;
use whalewatcher_api::containerd::services::tasks::v1::tasks_client::TasksClient;
use whalewatcher_api::containerd::v1::types::Process;
use whalewatcher_core::{EngineError, ErrorKind, Listing, Sighting, Unlisted};
use whalewatcher_grpc::origin;

use crate::connection::Connection;
use crate::container::{self, State, state};
use crate::failure;
use crate::limits::{MAX_CONTAINER, MAX_IDENTITY, MAX_LIST};
use crate::namespace::{is_identifier, within};

const NAMESPACES: &str = "Namespaces.List";
const TASKS: &str = "Tasks.List";
const CONTAINERS: &str = "Containers.List";

/// How many namespaces are listed at once.
const AT_ONCE: usize = 8;

/// Which part of the time for all namespaces one of them may take, so that one that hangs does not hide the others.
pub(crate) const SHARE: u32 = 3;

/// Up to so many containers are asked for by name: of what is not alive nothing has to be told then.
const BY_NAME: usize = 64;

/// Lists all namespaces but those that are ignored.
pub(crate) async fn list(connection: &Connection) -> Result<Listing, EngineError> {
    let mut client =
        NamespacesClient::with_origin(connection.channel(), origin()).max_decoding_message_size(MAX_IDENTITY);
    let answer = client.list(ListNamespacesRequest::default()).await;
    let namespaces = answer.map_err(|status| failure::of_status(NAMESPACES, status))?.into_inner().namespaces;
    let names = namespaces.into_iter().map(|namespace| namespace.name);
    let listing = |namespace: String| async move {
        let limit = connection.namespace_limit();
        let sightings = timeout(limit, sightings(connection, &namespace)).await.unwrap_or_else(|_| {
            let message = format!("no answer within {} s", limit.as_secs_f32());
            Err(EngineError::new(ErrorKind::TimedOut, message))
        });
        (namespace, sightings)
    };
    let mut parts = stream::iter(names.filter(|name| !connection.ignored().contains(name)).map(listing))
        .buffer_unordered(AT_ONCE);
    let mut listing = Listing::default();
    while let Some((namespace, part)) = parts.next().await {
        match part {
            Ok(sightings) => listing.sightings.extend(sightings),
            // That is not the namespace's fault.
            Err(error) if error.kind() == ErrorKind::Disconnected => return Err(error),
            Err(error) => listing.unlisted.push(Unlisted { scope: namespace, error: Arc::new(error) }),
        }
    }
    Ok(listing)
}

/// What is alive in a namespace: nothing if there is no such namespace any more.
///
/// First the tasks, for they say how many containers matter.
async fn sightings(connection: &Connection, namespace: &str) -> Result<Vec<Sighting>, EngineError> {
    let mut client =
        TasksClient::with_origin(connection.channel(), origin()).max_decoding_message_size(MAX_LIST);
    let tasks = match client.list(within(namespace, ListTasksRequest::default())?).await {
        Ok(answer) => answer.into_inner().tasks,
        Err(status) if status.code() == Code::NotFound => return Ok(Vec::new()),
        Err(status) => return Err(failure::of_status(TASKS, status)),
    };
    let tasks = alive(tasks);
    let mut sightings = Vec::with_capacity(tasks.len());
    if tasks.is_empty() {
        return Ok(sightings);
    }
    let request = ListContainersRequest { filters: filters(&tasks) };
    records(connection, namespace, request, |record| {
        if let Some((task, state)) = tasks.get(&record.id) {
            sightings.push(sighting(connection, namespace, record, task, *state));
        }
    })
    .await?;
    Ok(sightings)
}

/// Those that are alive or may be, by their container's ID.
fn alive(tasks: Vec<Process>) -> HashMap<String, (Process, State)> {
    let states = tasks.into_iter().map(|task| (state(&task), task));
    let alive = states.filter(|(state, task)| *state != State::NotAlive && is_identifier(&task.id));
    alive.map(|(state, task)| (task.id.clone(), (task, state))).collect()
}

/// One of these must hold; without any, all containers are told.
fn filters(tasks: &HashMap<String, (Process, State)>) -> Vec<String> {
    if tasks.len() > BY_NAME {
        return Vec::new();
    }
    tasks.keys().map(|id| format!("id==\"{id}\"")).collect()
}

fn sighting(
    connection: &Connection,
    namespace: &str,
    record: Record,
    task: &Process,
    state: State,
) -> Sighting {
    match state {
        // An inspection may tell more.
        State::Unknown | State::NotAlive => {
            Sighting::Partial { container: container::named(namespace, record, 0), started_within: None }
        }
        State::Running | State::Paused => {
            let paused = state == State::Paused;
            Sighting::Whole(container::alive(namespace, record, task, paused, connection.packer()))
        }
    }
}

/// Hands on each record of a namespace. They come one by one, for all together have no limit, or, from a server that
/// knows no other way, as one message.
async fn records(
    connection: &Connection,
    namespace: &str,
    request: ListContainersRequest,
    mut take: impl FnMut(Record),
) -> Result<(), EngineError> {
    let client = || ContainersClient::with_origin(connection.channel(), origin());
    let failed = |status| failure::of_status(CONTAINERS, status);
    let streamed = client()
        .max_decoding_message_size(MAX_CONTAINER)
        .list_stream(within(namespace, request.clone())?)
        .await;
    match streamed {
        Ok(answer) => {
            let mut messages = answer.into_inner();
            while let Some(message) = messages.message().await.map_err(failed)? {
                if let Some(record) = message.container {
                    take(record);
                }
            }
        }
        Err(status) if status.code() == Code::NotFound => {}
        Err(status) if status.code() == Code::Unimplemented => {
            let mut client = client().max_decoding_message_size(MAX_LIST);
            let answer = client.list(within(namespace, request)?).await.map_err(failed)?;
            answer.into_inner().containers.into_iter().for_each(take);
        }
        Err(status) => return Err(failed(status)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use whalewatcher_api::containerd::v1::types::Status;

    use super::*;

    fn task(id: &str, status: Status, pid: u32) -> Process {
        Process { id: id.into(), status: status as i32, pid, ..Process::default() }
    }

    #[test]
    fn only_what_may_be_alive_is_asked_for_by_name() {
        let tasks = alive(vec![
            task("runs", Status::Running, 1),
            task("sleeps", Status::Paused, 2),
            task("made", Status::Created, 3),
            task("over", Status::Stopped, 4),
            task("mute", Status::Unknown, 0),
            task("no \"id\"", Status::Running, 5),
            task("", Status::Running, 6),
        ]);
        let mut filters = filters(&tasks);
        filters.sort();
        assert_eq!(filters, ["id==\"mute\"", "id==\"runs\"", "id==\"sleeps\""]);
    }

    #[test]
    fn many_are_asked_for_all_together() {
        let tasks =
            |count: u32| (1..=count).map(|pid| task(&format!("c{pid}"), Status::Running, pid)).collect();
        assert_eq!(filters(&alive(tasks(64))).len(), 64);
        assert_eq!(filters(&alive(tasks(65))).len(), 0);
    }
}
