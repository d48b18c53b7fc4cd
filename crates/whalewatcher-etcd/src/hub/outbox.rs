//! The events on their way to one connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use whalewatcher_core::EngineError;
use whalewatcher_core::adapter::EngineEvent;

/// The most events that wait. A watcher reads all the time, so more of them wait only if its task does not
/// run; then the list makes up for them.
const MAX_WAITING: usize = 4_096;

/// The events on their way to one connection, and how that ends.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<EngineEvent>,
    end: Option<Arc<EngineError>>,
}

impl Outbox {
    pub(super) fn push(&self, event: EngineEvent) {
        self.change(|queue| {
            if queue.events.len() >= MAX_WAITING {
                queue.events.clear();
                queue.events.push_back(EngineEvent::Gap);
            }
            queue.events.push_back(event);
        });
    }

    /// Ends the connection once it has received what waits.
    pub(super) fn end(&self, reason: Arc<EngineError>) {
        self.change(|queue| queue.end = queue.end.take().or(Some(reason)));
    }

    /// Returns the next event. There is one reader. Cancel safe.
    pub(super) async fn next(&self) -> Result<EngineEvent, EngineError> {
        loop {
            if let Some(next) = self.change_silently(|queue| match queue.events.pop_front() {
                Some(event) => Some(Ok(event)),
                None => queue.end.as_ref().map(|end| Err(EngineError::new(end.kind(), end.to_string()))),
            }) {
                return next;
            }
            self.changed.notified().await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Queue)) {
        self.change_silently(change);
        self.changed.notify_one();
    }

    fn change_silently<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        change(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::ErrorKind;

    use super::*;

    fn touched(id: &str) -> EngineEvent {
        EngineEvent::Touched { id: id.into(), at: None }
    }

    #[tokio::test]
    async fn what_waits_is_received_before_the_end() {
        let outbox = Outbox::default();
        outbox.push(touched("1"));
        outbox.end(Arc::new(EngineError::new(ErrorKind::Disconnected, "first")));
        outbox.end(Arc::new(EngineError::new(ErrorKind::Disconnected, "second")));
        assert_eq!(outbox.next().await.unwrap(), touched("1"));
        assert_eq!(outbox.next().await.unwrap_err().to_string(), "first");
    }

    #[tokio::test]
    async fn too_many_events_become_a_gap() {
        let outbox = Outbox::default();
        (0..=MAX_WAITING).for_each(|number| outbox.push(touched(&number.to_string())));
        assert_eq!(outbox.next().await.unwrap(), EngineEvent::Gap);
        assert_eq!(outbox.next().await.unwrap(), touched(&MAX_WAITING.to_string()));
    }
}
