//! Finds what happened just before the subscription to containerd's events.
//!
//! No event reports it, and CRI may not have listed it: it writes a container's new status to the disk before
//! it reports it, and records a sandbox only after its task was started. containerd's tasks show it.

use std::collections::HashSet;

use whalewatcher_api::containerd::v1::types::{Process, Status};
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{ContainerId, EngineError};

use crate::rpc::session::Session;

/// Returns the missed events, given the list that CRI answered before: the start of each running task that
/// was not listed, and the end of each listed container that has no task any more.
pub(crate) async fn missed(
    session: &Session,
    listed: &HashSet<ContainerId>,
) -> Result<Vec<EngineEvent>, EngineError> {
    let tasks = session.containerd().tasks().await?;
    let ids: HashSet<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
    let mut events = Vec::new();
    for id in listed.iter().filter(|id| !ids.contains(id.as_str())) {
        if session.containerd().lacks_task(id).await? {
            events.push(EngineEvent::Exited { id: id.clone(), pid: None, at: None, code: None });
        }
    }
    let cache = session.cache();
    for (id, pid) in tasks.iter().filter_map(running) {
        if !listed.contains(&id) && cache.get(&id).is_none() {
            events.push(EngineEvent::Started { id, at: None, pid: Some(pid), preview: None });
        }
    }
    Ok(events)
}

fn running(task: &Process) -> Option<(ContainerId, u32)> {
    let is_running = task.status == Status::Running as i32 && ContainerId::is_plain(&task.id);
    is_running.then(|| (task.id.as_str().into(), task.pid))
}
