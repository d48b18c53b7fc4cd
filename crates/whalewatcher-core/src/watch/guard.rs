//! A turn at watching: from the call until it ends, for whatever reason.

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
use crate::engine::EngineClient;
use crate::model::{EngineError, ErrorKind};
use crate::reconciler::{Input, Now, Reconciler};

/// The right to watch, given back when dropped.
pub(crate) struct Turn<C> {
    shared: Arc<Shared<C>>,
    reconciler: Reconciler,
    outage: Outage,
    /// Why it ended; nothing if it is dropped before.
    end: Option<WatchError>,
}

impl<C> Turn<C> {
    /// Begins: from now on the watcher waits for the engine.
    pub(crate) fn begin(shared: &Arc<Shared<C>>) -> Result<Self, WatchError> {
        if shared.closed.is_cancelled() {
            return Err(WatchError::Closed);
        }
        let mut reconciler = shared.reconciler.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = Self {
            reconciler: reconciler.take().ok_or(WatchError::AlreadyWatching)?,
            shared: shared.clone(),
            outage: Outage::default(),
            end: None,
        };
        shared.rest(Phase::Connecting);
        Ok(turn)
    }
}

impl<C: EngineClient> Turn<C> {
    pub(crate) async fn run(mut self, token: CancellationToken) -> Result<(), WatchError> {
        let shared = self.shared.clone();
        let driver = Driver::new(&shared, &mut self.reconciler, &mut self.outage);
        // The reconciler runs no code but its own.
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

impl<C> Drop for Turn<C> {
    /// Reports the end to readers, to subscribers and to those that wait for it to be ready.
    fn drop(&mut self) {
        let mut reconciler = take(&mut self.reconciler);
        reconciler.reset();
        let (phase, last) = match self.end.take() {
            // The driver has published that.
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
        // The next watch begins after all this.
        let mut place = self.shared.reconciler.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.publication.publish(reconciler.portfolio(), events, || self.shared.rest(phase));
        *place = Some(reconciler);
    }
}
