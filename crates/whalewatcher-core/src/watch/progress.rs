//! What all connections of a watch share, and how it is published.

use std::mem::replace;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::engine_clock::EngineClock;
use super::outage::Outage;
use super::shared::Shared;
use super::status::{Counters, Phase, Status};
use crate::engine::{ChangeSource, Unlisted};
use crate::model::{EngineError, Event};
use crate::reconciler::{Input, Now, Reconciler};

/// What all connections of a watch share.
pub(super) struct Progress<'a> {
    pub(super) shared: &'a Shared,
    pub(super) reconciler: &'a mut Reconciler,
    pub(super) outage: &'a mut Outage,
    /// Since when the current connection is live.
    pub(super) live: Option<(Instant, SystemTime)>,
    /// Where changes come from on the current connection.
    pub(super) source: Option<ChangeSource>,
    /// Why that is worse than usual.
    pub(super) fallback: Option<Arc<EngineError>>,
    /// The scopes that the newest list did not cover.
    pub(super) unlisted: Vec<Unlisted>,
    /// The engine's clock, as of the newest connection.
    pub(super) clock: Option<EngineClock>,
    pub(super) counters: Counters,
}

impl<'a> Progress<'a> {
    pub(super) fn new(shared: &'a Shared, reconciler: &'a mut Reconciler, outage: &'a mut Outage) -> Self {
        Self {
            live: None,
            source: None,
            fallback: None,
            unlisted: Vec::new(),
            clock: None,
            counters: shared.status().counters,
            shared,
            reconciler,
            outage,
        }
    }

    /// Reports an outage when it begins, and when the watch gives up.
    pub(super) fn report(&mut self, error: &Arc<EngineError>, is_last: bool) {
        let error = match replace(&mut self.outage.reported, true) {
            false => error.clone(),
            true if is_last => Arc::new(
                EngineError::new(error.kind(), format!("gave up: {error}")).with_source(error.clone()),
            ),
            true => return self.reconciler.reset(),
        };
        self.outage.connected = false;
        self.handle(Input::Disconnected(error));
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.reconciler.handle_input(input, Now::read());
    }

    /// Sets the reason why changes come from a worse source than usual, if they do.
    pub(super) fn set_fallback(&mut self, reason: Option<Arc<EngineError>>) {
        if let Some(error) = reason.as_ref().filter(|_| self.fallback != reason) {
            let source = self.source.unwrap_or_default();
            let endpoint = self.shared.client.endpoint();
            tracing::warn!(endpoint, %source, %error, "changes come from a fallback");
        }
        self.fallback = reason;
    }

    /// Publishes events, and the phase that the connection is in.
    pub(super) fn publish_progress(&mut self, events: Vec<Event>) {
        if self.reconciler.is_live() && self.live.is_none() {
            tracing::debug!(containers = self.reconciler.portfolio().total(), "live");
            self.live = Some((Instant::now(), SystemTime::now()));
            self.outage.reported = false;
        }
        self.publish(self.live.map_or(Phase::Synchronizing, |(_, since)| Phase::Live { since }), events);
    }

    /// Publishes the portfolio first, then the status, then the events: what they report is in the portfolio by then.
    pub(super) fn publish(&mut self, phase: Phase, events: Vec<Event>) {
        self.counters.ignored = self.reconciler.ignored();
        let drifted = self.reconciler.drifted().saturating_sub(self.counters.drifted);
        if drifted > 0 {
            let endpoint = self.shared.client.endpoint();
            tracing::warn!(endpoint, containers = drifted, "resync repaired drift: events were lost");
            self.counters.drifted = self.reconciler.drifted();
            self.counters.last_drift = Some(SystemTime::now());
        }
        let status = Status {
            phase,
            source: self.source,
            fallback: self.fallback.clone(),
            unresolved: self.reconciler.unresolved().clone(),
            unlisted: self.unlisted.clone(),
            clock: self.clock,
            counters: self.counters.clone(),
        };
        self.shared
            .publication
            .publish(self.reconciler.portfolio(), events, || self.shared.set_status(status));
    }
}
