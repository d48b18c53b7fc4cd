//! A guard for the exclusive right to watch, from the call of `watch` until the watch ends for any reason.

use std::any::Any;
use std::mem::take;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::driver::Driver;
use super::error::WatchError;
use super::outage::Outage;
use super::shared::Shared;
use super::status::Phase;
use crate::adapter::message;
use crate::model::{EngineError, ErrorKind};
use crate::reconciler::{Input, Now, Reconciler};

/// The exclusive right to watch, which is returned when it is dropped.
pub(crate) struct WatchGuard {
    shared: Arc<Shared>,
    reconciler: Reconciler,
    outage: Outage,
    /// Why the watch ended; `None` if it is dropped before.
    end: Option<WatchError>,
}

impl WatchGuard {
    /// Begins a watch: from now on `ready` waits for the engine.
    pub(crate) fn begin(shared: &Arc<Shared>) -> Result<Self, WatchError> {
        if shared.closed.is_cancelled() {
            return Err(WatchError::Closed);
        }
        let reconciler = shared.reconciler.lock().unwrap_or_else(PoisonError::into_inner).take();
        let guard = Self {
            reconciler: reconciler.ok_or(WatchError::AlreadyWatching)?,
            shared: shared.clone(),
            outage: Outage::default(),
            end: None,
        };
        // Wakes followers, which run code of the application: the lock is released before.
        shared.rest(Phase::Connecting);
        Ok(guard)
    }
}

impl WatchGuard {
    pub(crate) async fn run(mut self, token: CancellationToken) -> Result<(), WatchError> {
        let shared = self.shared.clone();
        let driver = Driver::new(&shared, &mut self.reconciler, &mut self.outage);
        // Unwind safe: the reconciler runs no code of the application.
        let driving = AssertUnwindSafe(driver.run()).catch_unwind();
        let end = tokio::select! {
            biased;
            () = token.cancelled() => WatchError::Cancelled,
            () = shared.closed.cancelled() => WatchError::Closed,
            result = driving => match result {
                Ok(Ok(never)) => match never {},
                Ok(Err(error)) => error,
                Err(panic) => panicked(&*panic),
            },
        };
        self.end = Some(end.clone());
        if let WatchError::Panicked { error } = &end {
            tracing::error!(endpoint = shared.client.endpoint(), %error, "the watch ended");
        }
        match end {
            WatchError::Cancelled | WatchError::Closed => Ok(()),
            error => Err(error),
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> WatchError {
    let message = message(panic);
    let message =
        format!("the watch panicked, in the engine client or in what the application gave it: {message}");
    WatchError::Panicked { error: Arc::new(EngineError::new(ErrorKind::Failed, message)) }
}

impl Drop for WatchGuard {
    /// Publishes the end to readers, subscribers and waiters for `ready`.
    fn drop(&mut self) {
        let mut reconciler = take(&mut self.reconciler);
        reconciler.reset();
        let (phase, last) = match self.end.take() {
            // The driver published that.
            Some(WatchError::GaveUp { error }) => (Phase::Failed { error }, None),
            Some(WatchError::Refused { error }) => (Phase::Refused { error: error.clone() }, Some(error)),
            Some(WatchError::Panicked { error }) => (Phase::Panicked { error: error.clone() }, Some(error)),
            _ => {
                let cancelled =
                    || Arc::new(EngineError::new(ErrorKind::Disconnected, WatchError::Cancelled.to_string()));
                (Phase::Cancelled, self.outage.is_news().then(cancelled))
            }
        };
        // Subscriptions to a closed watcher end.
        if let Some(error) = last.filter(|_| !self.shared.closed.is_cancelled()) {
            reconciler.handle_input(Input::Disconnected(error), Now::read());
        }
        let events = reconciler.take_events();
        // The next watch begins after this. Wakers run code of the application, which may watch again: they are called
        // when the lock is released.
        let mut changes = false;
        let wakers = {
            let mut place = self.shared.reconciler.lock().unwrap_or_else(PoisonError::into_inner);
            let wakers =
                self.shared.publication.publish_without_waking(reconciler.portfolio(), events, || {
                    changes = self.shared.rest_without_waking(phase);
                });
            *place = Some(reconciler);
            wakers
        };
        if changes {
            self.shared.wake_followers();
        }
        wakers.wake();
    }
}
