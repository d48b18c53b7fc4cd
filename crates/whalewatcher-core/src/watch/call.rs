//! The calls on a connection, each with its time limit.

use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt;
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use crate::engine::{ChangeSource, EngineEvent, ErasedConnection};
use crate::model::{ContainerId, EngineError, ErrorKind};
use crate::reconciler::Answer;

/// Fails a call that takes longer than the limit.
pub(super) async fn limited<T>(
    limit: Duration,
    what: &str,
    call: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    timeout(limit, call).await.unwrap_or_else(|_| {
        Err(EngineError::new(
            ErrorKind::TimedOut,
            format!("{what}: no answer within {} s", limit.as_secs_f32()),
        ))
    })
}

/// Inspects a container.
pub(super) async fn inspect(
    connection: &dyn ErasedConnection,
    id: ContainerId,
    limit: Duration,
) -> (ContainerId, Answer) {
    let answer = match limited(limit, "inspecting a container", connection.inspect(&id)).await {
        Ok(truth) => {
            tracing::trace!(%id, ?truth, "inspected");
            Answer::Truth(truth)
        }
        Err(error) => {
            tracing::debug!(%id, %error, "cannot inspect");
            Answer::Unknown(Arc::new(error))
        }
    };
    (id, answer)
}

/// Waits until the subscription is confirmed, and returns where changes come from, and why that is worse than usual.
pub(super) async fn subscribed(
    mut events: impl Stream<Item = Result<EngineEvent, EngineError>> + Unpin,
) -> Result<(ChangeSource, Option<Arc<EngineError>>), EngineError> {
    let (mut source, mut fallback) = (ChangeSource::default(), None);
    loop {
        // A stream that is always ready does not keep the time limit from being noticed.
        consume_budget().await;
        match events.next().await.unwrap_or_else(|| Err(ended()))? {
            EngineEvent::Subscribed => return Ok((source, fallback)),
            EngineEvent::Source(reported) => source = reported,
            EngineEvent::Fallback(reason) => fallback = reason,
            other => {
                let message = format!("an event came before the subscription was confirmed: {other:?}");
                return Err(EngineError::new(ErrorKind::Malformed, message));
            }
        }
    }
}

/// The error of a connection whose event stream has ended.
pub(super) fn ended() -> EngineError {
    EngineError::new(ErrorKind::Disconnected, "the engine ended the event stream")
}
