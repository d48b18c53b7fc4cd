//! What happened just before the subscription to containerd's events stood.
//!
//! No event reports it any more, and CRI may not have noted it when it listed what is alive: it writes a container's new
//! status to the disk before it shows it, and adds a sandbox to its own records only after its task was started. containerd's
//! tasks show it.

use std::collections::HashSet;

use whalewatcher_api::containerd::v1::types::{Process, Status};
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{ContainerId, EngineError};

use crate::rpc::session::Session;

/// The events of what happened, given what CRI listed before this was called: of the start of what has a running task and
/// was not listed, and of the end of what was listed and has no task any more.
pub(crate) async fn missed(
    session: &Session,
    listed: &HashSet<ContainerId>,
) -> Result<Vec<EngineEvent>, EngineError> {
    let tasks = session.hints().tasks().await?;
    let ids: HashSet<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
    let mut events = Vec::new();
    for id in listed.iter().filter(|id| !ids.contains(id.as_str())) {
        if session.hints().lacks_task(id).await? {
            let pid = session.memory().get(id).and_then(|member| member.pid);
            events.push(EngineEvent::Exited { id: id.clone(), pid, at: None, code: None });
        }
    }
    let memory = session.memory();
    for (id, pid) in tasks.iter().filter_map(running) {
        if !listed.contains(&id) && memory.get(&id).is_none() {
            events.push(EngineEvent::Started { id, at: None, pid: Some(pid), preview: None });
        }
    }
    Ok(events)
}

fn running(task: &Process) -> Option<(ContainerId, u32)> {
    let is_running = task.status == Status::Running as i32 && ContainerId::is_plain(&task.id);
    is_running.then(|| (task.id.as_str().into(), task.pid))
}
