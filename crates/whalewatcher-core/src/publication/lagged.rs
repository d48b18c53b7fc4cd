//! Counts how many times subscribers lagged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counter of lagging subscribers, which subscribers increment: the rest of a status is written by the watch.
#[derive(Clone, Default)]
pub(crate) struct Lagged(Arc<AtomicU64>);

impl Lagged {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
