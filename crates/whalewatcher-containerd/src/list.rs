//! Lists the live containers of all namespaces.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio::time::timeout;
use tonic::Code;
use whalewatcher_adapter::containerd::{ENGINE, is_identifier, moment, qualified, split, within};
use whalewatcher_adapter::grpc::origin;
use whalewatcher_api::containerd::services::containers::v1::{Container as Record, ListContainersRequest};
use whalewatcher_api::containerd::services::namespaces::v1::ListNamespacesRequest;
use whalewatcher_api::containerd::services::namespaces::v1::namespaces_client::NamespacesClient;
use whalewatcher_api::containerd::services::tasks::v1::ListTasksRequest;
use whalewatcher_api::containerd::v1::types::{Process, Status};
use whalewatcher_core::adapter::{EngineEvent, Listing, ListingEntry};
use whalewatcher_core::{Container, ContainerId, EngineError, ErrorKind, Unlisted};

use crate::container::{self, State, state};
use crate::session::Session;

const NAMESPACES: &str = "Namespaces.List";
const TASKS: &str = "Tasks.List";
const CONTAINERS: &str = "Containers.List";

/// The number of namespaces that are listed at once.
const AT_ONCE: usize = 4;

/// The share of the time limit for one namespace, so that one that hangs does not hide the others.
const SHARE: u32 = 3;

/// The share of the time limit for checking the ignored namespaces, all together: 3 s of 30 s by default. The
/// result is only a hint for people.
const HINT_SHARE: u32 = 10;

/// The largest number of containers that are requested by name, so that the answer leaves out those that are not alive.
const BY_NAME: usize = 64;

/// The purpose of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The first list of a connection: containerd may still know how a life ended while there was no connection.
    First,
    /// A comparison with the portfolio.
    Audit,
}

/// Lists all namespaces that are not ignored.
pub(crate) async fn list(session: &Session, purpose: Purpose) -> Result<Listing, EngineError> {
    session.transport().check_socket()?;
    let mut client =
        NamespacesClient::with_origin(session.channel(), origin()).max_decoding_message_size(usize::MAX);
    let answer = client.list(ListNamespacesRequest::default()).await;
    let namespaces =
        answer.map_err(|status| ENGINE.status_error(NAMESPACES, status))?.into_inner().namespaces;
    let names = namespaces.into_iter().map(|namespace| namespace.name);
    let (ignored, names): (Vec<_>, Vec<_>) = names.partition(|name| session.ignored().contains(name));
    session.lives().retain(|id| names.iter().any(|name| name == split(id).0));
    let listing = |namespace: String| async move {
        let limit = session.list_limit() / SHARE;
        let entries = entries(session, &namespace, purpose);
        let entries = timeout(limit, entries).await.unwrap_or_else(|_| {
            let message = format!("no answer within {} s", limit.as_secs_f32());
            Err(EngineError::new(ErrorKind::TimedOut, message))
        });
        (namespace, entries)
    };
    let mut parts = stream::iter(names.into_iter().map(listing)).buffer_unordered(AT_ONCE);
    let mut listing = Listing::default();
    while let Some((namespace, part)) = parts.next().await {
        match part {
            Ok(entries) => listing.entries.extend(entries),
            // A lost connection concerns all namespaces.
            Err(error) if error.kind() == ErrorKind::Disconnected => return Err(error),
            Err(error) => listing.unlisted.push(Unlisted { scope: namespace, error: Arc::new(error) }),
        }
    }
    let is_empty = listing.entries.is_empty() && listing.unlisted.is_empty();
    session.left_out().set(if is_empty { with_live_tasks(session, ignored).await } else { Vec::new() });
    Ok(listing)
}

/// Returns those of these namespaces that have a live task, as far as they answer in time.
async fn with_live_tasks(session: &Session, namespaces: Vec<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut answers = stream::iter(namespaces)
        .map(|namespace| async move {
            let tasks = tasks(session, &namespace).await.ok()?;
            (!alive(tasks).is_empty()).then_some(namespace)
        })
        .buffer_unordered(AT_ONCE);
    let checking = async {
        while let Some(namespace) = answers.next().await {
            found.extend(namespace);
        }
    };
    if timeout(session.list_limit() / HINT_SHARE, checking).await.is_err() {
        tracing::debug!("ignored namespaces did not answer in time");
    }
    found.sort_unstable();
    found
}

/// Lists a namespace; the list is empty if the namespace no longer exists.
///
/// Tasks are listed first: they show which containers are needed.
async fn entries(
    session: &Session,
    namespace: &str,
    purpose: Purpose,
) -> Result<Vec<ListingEntry>, EngineError> {
    let tasks = tasks(session, namespace).await?;
    if purpose == Purpose::First {
        report_ended(session, namespace, &tasks);
    }
    let mut tasks = alive(tasks);
    let is_gone = |id: &str| !tasks.contains_key(id);
    session.lives().retain(|id| split(id).0 != namespace || !is_gone(split(id).1));
    let mut entries = Vec::with_capacity(tasks.len());
    if tasks.is_empty() {
        return Ok(entries);
    }
    let request = ListContainersRequest { filters: filters(&tasks) };
    records(session, namespace, request, |record| {
        // Each container only once, even if the answer repeats it.
        if let Some((task, state)) = tasks.remove(&record.id) {
            entries.push(entry(session, namespace, record, &task, state));
        }
    })
    .await?;
    Ok(entries)
}

/// Lists all tasks of a namespace.
async fn tasks(session: &Session, namespace: &str) -> Result<Vec<Process>, EngineError> {
    let mut client = session.tasks(session.limits().tasks());
    match client.list(within(namespace, ListTasksRequest::default())?).await {
        Ok(answer) => Ok(answer.into_inner().tasks),
        Err(status) if status.code() == Code::NotFound => Ok(Vec::new()),
        Err(status) => Err(ENGINE.status_error(TASKS, status)),
    }
}

/// Makes the event stream report the ends of recorded lives: until its task is deleted, containerd knows when
/// and how a life ended. Other ends are reported by events, and in order.
fn report_ended(session: &Session, namespace: &str, tasks: &[Process]) {
    for task in tasks.iter().filter(|task| task.status == Status::Stopped as i32 && is_identifier(&task.id)) {
        let id = ContainerId::from(qualified(namespace, &task.id));
        if session.lives().end_of(&id, task.pid) {
            session.report(EngineEvent::Exited {
                id,
                pid: Some(task.pid),
                at: task.exited_at.and_then(moment),
                code: i32::try_from(task.exit_status).ok(),
            });
        }
    }
}

/// Returns the tasks that are or may be alive, by container ID.
fn alive(tasks: Vec<Process>) -> HashMap<String, (Process, State)> {
    let states = tasks.into_iter().map(|task| (state(&task), task));
    let alive = states.filter(|(state, task)| *state != State::NotAlive && is_identifier(&task.id));
    alive.map(|(state, task)| (task.id.clone(), (task, state))).collect()
}

/// Returns the filters of the request: a container passes if it meets one of them; without any, all do.
fn filters(tasks: &HashMap<String, (Process, State)>) -> Vec<String> {
    if tasks.len() > BY_NAME {
        return Vec::new();
    }
    tasks.keys().map(|id| format!("id==\"{id}\"")).collect()
}

fn entry(session: &Session, namespace: &str, record: Record, task: &Process, state: State) -> ListingEntry {
    let partial = |container| ListingEntry::Partial { container, started_within: None };
    match state {
        // An inspection may know more.
        State::Unknown | State::NotAlive => partial(container::named(namespace, record, 0)),
        State::Running | State::Paused => {
            let paused = state == State::Paused;
            let container = container::alive(namespace, record, task, paused, session.packer());
            match session.note(&container) {
                Ok(()) => ListingEntry::Whole(container),
                // There is no room for its labels. An inspection fails for the same reason, unless there is
                // room by then.
                Err(_) => partial(Container::new(container.id().clone(), container.id().as_str(), 0)),
            }
        }
    }
}

/// Passes on each record of a namespace. They arrive one by one, because all together have no limit, or in
/// one message from a containerd that cannot stream them.
async fn records(
    session: &Session,
    namespace: &str,
    request: ListContainersRequest,
    mut take: impl FnMut(Record),
) -> Result<(), EngineError> {
    let limits = session.limits();
    let failed = |status| ENGINE.status_error(CONTAINERS, status);
    let mut client = session.containers(limits.container());
    let streamed = client.list_stream(within(namespace, request.clone())?).await;
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
            let mut client = session.containers(limits.list());
            let answer = client.list(within(namespace, request)?).await.map_err(failed)?;
            answer.into_inner().containers.into_iter().for_each(take);
        }
        Err(status) => return Err(failed(status)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, status: Status, pid: u32) -> Process {
        Process { id: id.into(), status: status as i32, pid, ..Process::default() }
    }

    #[test]
    fn only_tasks_that_may_be_alive_are_requested() {
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
    fn many_containers_are_requested_without_filters() {
        let tasks =
            |count: u32| (1..=count).map(|pid| task(&format!("c{pid}"), Status::Running, pid)).collect();
        assert_eq!(filters(&alive(tasks(64))).len(), 64);
        assert_eq!(filters(&alive(tasks(65))).len(), 0);
    }
}
