//! Statistics that tests read and wait for.

use tokio::sync::watch;

/// The statistics of a server.
#[derive(Debug, Default)]
pub(crate) struct Counting<S>(watch::Sender<S>);

impl<S: Clone> Counting<S> {
    pub(crate) fn now(&self) -> S {
        self.0.borrow().clone()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut S)) {
        self.0.send_modify(change);
    }

    pub(crate) async fn until(&self, wanted: impl FnMut(&S) -> bool) -> S {
        match self.0.subscribe().wait_for(wanted).await {
            Ok(stats) => stats.clone(),
            // The sender is borrowed, so it exists.
            Err(_) => self.now(),
        }
    }
}
