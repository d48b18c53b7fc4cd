//! From when on the event stream of a connection reports events.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// From when on the event stream of a connection reports events. [`changes`](crate::api::changes) sets it, and the
/// [probe](crate::api::probe) compares the engine's events with it.
#[derive(Debug)]
pub(crate) struct StreamStart(Mutex<Start>);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// It reports events from then on, where that moment is known.
    Since(Option<Timestamp>),
    /// There is no event stream.
    NoStream,
}

impl StreamStart {
    pub(crate) fn new(since: Option<Timestamp>) -> Self {
        Self(Mutex::new(Start::Since(since)))
    }

    pub(crate) fn get(&self) -> Start {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, start: Start) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = start;
    }
}
