//! Looks up how lives ended whose exit no event reported: a runtime knows that until the container is removed.

use std::collections::HashMap;
use std::time::SystemTime;

use futures_util::{StreamExt, stream};
use tokio::time::timeout;
use whalewatcher_api::cri::v1::ContainerStatusRequest;
use whalewatcher_core::ContainerId;
use whalewatcher_core::adapter::EngineEvent;

use crate::decode::container::{State, finished, state};
use crate::decode::details::is_oom_killed;
use crate::rpc::session::Session;

/// The number of statuses that are requested at once.
const AT_ONCE: usize = 16;

/// The share of the time limit for lists that they may take together: 3 s of 30 s by default. Without them
/// the exits are reported without codes.
const PART: u32 = 10;

/// The exit of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) at: Option<SystemTime>,
    pub(crate) code: Option<i32>,
    pub(crate) is_oom_killed: bool,
}

impl Exit {
    /// Returns the events that report the exit.
    pub(crate) fn events(self, id: ContainerId) -> Vec<EngineEvent> {
        // When it was is not reported.
        let oom = self.is_oom_killed.then(|| EngineEvent::OomKilled { id: id.clone(), at: None });
        let exited = EngineEvent::Exited { id, pid: None, at: self.at, code: self.code };
        oom.into_iter().chain([exited]).collect()
    }
}

/// Looks up how these lives ended. The answer lacks those that have not ended, or that the runtime no longer knows.
pub(crate) async fn look_up_exits(
    session: &Session,
    missing: Vec<ContainerId>,
) -> HashMap<ContainerId, Exit> {
    let mut ends = HashMap::new();
    let mut answers = stream::iter(missing)
        .map(|id| async move { Some((end(session, &id).await?, id)) })
        .buffer_unordered(AT_ONCE);
    let asking = async {
        while let Some(answer) = answers.next().await {
            ends.extend(answer.map(|(end, id)| (id, end)));
        }
    };
    if timeout(session.list_limit() / PART, asking).await.is_err() {
        tracing::debug!("the runtime did not report in time how some containers ended");
    }
    ends
}

async fn end(session: &Session, id: &ContainerId) -> Option<Exit> {
    let request = ContainerStatusRequest { container_id: id.as_str().to_owned(), verbose: false };
    // A sandbox has no such status.
    let answer = session.client(session.limits().status()).container_status(request).await;
    let status = answer.ok()?.into_inner().status?;
    if status.id != id.as_str() || state(status.state) != State::NotAlive {
        return None;
    }
    let (at, code) = finished(&status);
    Some(Exit { at, code, is_oom_killed: is_oom_killed(&status) })
}
