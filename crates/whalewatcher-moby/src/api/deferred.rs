//! Events that are held back for a moment.
//!
//! Each leads to an inspection, which is needless or too early at once: dockerd disconnects a container from
//! its networks just before it emits the exit (26.1 and later; 20.10 just after it, and before the next
//! start), and podman emits the event of a health probe before it has the result (seen with 4.3.1).

use std::collections::VecDeque;
use std::future;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use whalewatcher_core::ContainerId;
use whalewatcher_core::adapter::EngineEvent;

/// How long events are held back: less than the grace period of audits and probes, which is a second.
const DELAY: Duration = Duration::from_millis(500);

/// How many events are held back at most.
const MOST: usize = 1024;

/// The events that are held back, one per container.
#[derive(Debug, Default)]
pub(crate) struct Deferred(VecDeque<(Instant, EngineEvent)>);

impl Deferred {
    /// Holds an event back. Returns it if there are too many already.
    pub(crate) fn push(&mut self, event: EngineEvent) -> Option<EngineEvent> {
        if let Some((_, former)) = self.0.iter_mut().find(|(_, former)| id(former) == id(&event)) {
            *former = event;
        } else if self.0.len() < MOST {
            self.0.push_back((Instant::now() + DELAY, event));
        } else {
            return Some(event);
        }
        None
    }

    /// Drops what this event makes needless: after a start or a malformed event the container is inspected,
    /// and after an exit it is not alive.
    pub(crate) fn supersede(&mut self, event: &EngineEvent) {
        match event {
            EngineEvent::Started { .. } | EngineEvent::Touched { .. } => {
                self.0.retain(|(_, held)| id(held) != id(event));
            }
            EngineEvent::Exited { at, .. } => {
                self.0.retain(|(_, held)| id(held) != id(event) || at.is_some() && held.at() > *at);
            }
            _ => {}
        }
    }

    /// Returns the next event whose time has come.
    pub(crate) fn take_due(&mut self) -> Option<EngineEvent> {
        let (due, _) = self.0.front()?;
        if *due > Instant::now() {
            return None;
        }
        self.0.pop_front().map(|(_, event)| event)
    }

    /// Waits until the next event is due.
    pub(crate) async fn due(&self) {
        match self.0.front() {
            Some((due, _)) => sleep_until(*due).await,
            None => future::pending().await,
        }
    }
}

fn id(event: &EngineEvent) -> Option<&ContainerId> {
    match event {
        EngineEvent::Started { id, .. }
        | EngineEvent::Exited { id, .. }
        | EngineEvent::Touched { id, .. }
        | EngineEvent::Changed { id, .. } => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    fn at(second: u64) -> Option<SystemTime> {
        Some(UNIX_EPOCH + Duration::from_secs(second))
    }

    fn changed(id: &str, second: u64) -> EngineEvent {
        EngineEvent::Changed { id: id.into(), at: at(second) }
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_held_back_unless_another_makes_them_needless() {
        let mut deferred = Deferred::default();
        let started = EngineEvent::Started { id: "started".into(), at: at(2), pid: None, preview: None };
        let exited = |id: &str, at| EngineEvent::Exited { id: id.into(), pid: None, at, code: None };
        for id in ["alive", "started", "touched", "exited", "exited before", "exited some time"] {
            assert_eq!(deferred.push(changed(id, 1)), None);
        }
        assert_eq!(deferred.push(changed("exited before", 5)), None);
        deferred.supersede(&started);
        deferred.supersede(&EngineEvent::Touched { id: "touched".into(), at: None });
        deferred.supersede(&exited("exited", at(1)));
        deferred.supersede(&exited("exited before", at(4)));
        deferred.supersede(&exited("exited some time", None));
        deferred.supersede(&changed("alive", 3));
        assert_eq!(deferred.take_due(), None);
        let begun = Instant::now();
        deferred.due().await;
        assert_eq!(begun.elapsed().as_millis() / 10, DELAY.as_millis() / 10);
        assert_eq!(deferred.take_due(), Some(changed("alive", 1)));
        assert_eq!(deferred.take_due(), Some(changed("exited before", 5)));
        assert_eq!(deferred.take_due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_limit_are_held_back() {
        let mut deferred = Deferred::default();
        for number in 0..MOST {
            assert_eq!(deferred.push(changed(&number.to_string(), 1)), None);
        }
        assert_eq!(deferred.push(changed("one more", 1)), Some(changed("one more", 1)));
        assert_eq!(deferred.push(changed("0", 2)), None);
    }
}
