//! How lives ended that nobody reported: a runtime knows that until the container is removed.

use std::collections::HashMap;
use std::time::SystemTime;

use futures_util::{StreamExt, stream};
use tokio::time::timeout;
use whalewatcher_api::cri::v1::ContainerStatusRequest;
use whalewatcher_core::ContainerId;
use whalewatcher_core::adapter::EngineEvent;

use crate::decode::container::{State, finished, state};
use crate::rpc::session::Session;

/// How many statuses are asked for at once.
const AT_ONCE: usize = 16;

/// Which part of the time limit of a list they may take altogether, for an end is an end without them: of 30 s by default 3 s.
const PART: u32 = 10;

/// The end of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) pid: u32,
    pub(crate) at: Option<SystemTime>,
    pub(crate) code: Option<i32>,
}

impl End {
    /// The event that reports it.
    pub(crate) fn event(self, id: ContainerId) -> EngineEvent {
        EngineEvent::Exited { id, pid: Some(self.pid), at: self.at, code: self.code }
    }
}

/// Looks up how these lives ended. Those that did not, or of which the runtime knows no more, are not among the answers.
pub(crate) async fn ends(session: &Session, missing: Vec<(ContainerId, u32)>) -> HashMap<ContainerId, End> {
    let mut ends = HashMap::new();
    let mut answers = stream::iter(missing)
        .map(|(id, pid)| async move { Some((end(session, &id, pid).await?, id)) })
        .buffer_unordered(AT_ONCE);
    let asking = async {
        while let Some(answer) = answers.next().await {
            ends.extend(answer.map(|(end, id)| (id, end)));
        }
    };
    if timeout(session.list_limit() / PART, asking).await.is_err() {
        tracing::debug!("the CRI runtime does not report in time how some containers ended");
    }
    ends
}

async fn end(session: &Session, id: &ContainerId, pid: u32) -> Option<End> {
    let request = ContainerStatusRequest { container_id: id.as_str().to_owned(), verbose: false };
    // Of a sandbox there is no such status.
    let answer = session.client(session.limits().status()).container_status(request).await;
    let status = answer.ok()?.into_inner().status?;
    if status.id != id.as_str() || state(status.state) != State::NotAlive {
        return None;
    }
    let (at, code) = finished(&status);
    Some(End { pid, at, code })
}
