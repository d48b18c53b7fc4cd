//! What all connections of a watch share, and how it is published.

use std::future::poll_fn;
use std::mem::replace;
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::HashSet;
use tokio::time::Instant;

use super::engine_clock::EngineClock;
use super::outage::Outage;
use super::shared::Shared;
use super::status::{Counters, Phase, Status};
use super::witnesses::Witnesses;
use crate::engine::{ChangeSource, ListingEntry, Unlisted, UnlistedScopes};
use crate::model::{Container, ContainerId, EngineError, Event};
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
    pub(super) witnesses: Witnesses,
    /// The phase that was published last.
    phase: Phase,
}

impl<'a> Progress<'a> {
    pub(super) fn new(shared: &'a Shared, reconciler: &'a mut Reconciler, outage: &'a mut Outage) -> Self {
        let mut witnesses = Witnesses::new(shared.settings.witness());
        let (known, engine) = (reconciler.portfolio(), shared.identity());
        known.ids().for_each(|id| witnesses.follow(id, known, engine.as_deref()));
        Self {
            witnesses,
            phase: Phase::Connecting,
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

    /// Runs a future of which no connection is needed. Ends of lives that the witness reports meanwhile are
    /// published at once.
    pub(super) async fn attend<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                output = &mut future => return output,
                life = poll_fn(|context| self.witnesses.poll_end(context)) => self.handle_end(life, true),
            }
            let events = self.reconciler.take_events();
            self.publish(self.phase.clone(), events);
        }
    }

    /// Whether the known life of a container goes on, as the witness knows.
    pub(super) fn goes_on(&self, id: &ContainerId) -> bool {
        self.reconciler.portfolio().by_id(id).is_some_and(|known| self.witnesses.goes_on(known))
    }

    /// Returns the members of the portfolio that a list lacks, though their lives go on.
    pub(super) fn survivors(&self, entries: &[ListingEntry], unlisted: &UnlistedScopes) -> Vec<ContainerId> {
        let listed: HashSet<_> = entries.iter().map(|entry| entry.container().id()).collect();
        let is_gone = |id: &&ContainerId| !listed.contains(id) && !unlisted.contains(id);
        self.reconciler.portfolio().ids().filter(is_gone).filter(|id| self.goes_on(id)).cloned().collect()
    }

    /// Handles the end of a life that the witness reports.
    pub(super) fn handle_end(&mut self, life: Arc<Container>, is_silent: bool) {
        tracing::trace!(id = %life.id(), pid = life.pid(), is_silent, "ended by the witness' word");
        self.handle(Input::Ended { life, is_silent });
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

    /// Publishes the portfolio first, then the status, then the events: what they report is in the portfolio
    /// by then. Subscribers do not wait for the witness: it is asked about new lives after that, and then the
    /// status counts them.
    pub(super) fn publish(&mut self, phase: Phase, events: Vec<Event>) {
        self.phase = phase.clone();
        self.counters.ignored = self.reconciler.ignored();
        self.counters.contradictions = self.reconciler.contradictions();
        let drifted = self.reconciler.drifted().saturating_sub(self.counters.drifted);
        if drifted > 0 {
            let endpoint = self.shared.client.endpoint();
            tracing::warn!(endpoint, containers = drifted, "resync repaired drift: events were lost");
            self.counters.drifted = self.reconciler.drifted();
            self.counters.last_drift = Some(SystemTime::now());
        }
        let changed = self.witnesses.concerned(&events);
        let (witnessed, unwitnessed) = self.witnesses.totals();
        let status = Status {
            phase,
            source: self.source,
            fallback: self.fallback.clone(),
            unresolved: self.reconciler.unresolved().clone(),
            unlisted: self.unlisted.clone(),
            clock: self.clock,
            witnessed,
            unwitnessed,
            counters: self.counters.clone(),
        };
        let (shared, now) = (self.shared, self.reconciler.portfolio());
        let counted = (!changed.is_empty()).then(|| status.clone());
        shared.publication.publish(now, events, || shared.set_status(status));
        let Some(mut counted) = counted else { return };
        let engine = shared.identity();
        changed.iter().for_each(|id| self.witnesses.follow(id, now, engine.as_deref()));
        (counted.witnessed, counted.unwitnessed) = self.witnesses.totals();
        if (counted.witnessed, counted.unwitnessed) != (witnessed, unwitnessed) {
            shared.set_status(counted);
        }
    }
}
