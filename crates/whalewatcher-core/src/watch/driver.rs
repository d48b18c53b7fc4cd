//! The future that does all I/O of a watch: connects again and again, and drives the reconciler on each connection.
//!
//! It has no task of its own, so dropping it ends everything. It never waits for a subscriber: the engine's stream is read
//! as fast as events come.

use std::convert::Infallible;
use std::mem::replace;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until};

use super::call::{limited, subscribed};
use super::connected::Connected;
use super::early::EarlyAttempts;
use super::error::WatchError;
use super::outage::Outage;
use super::shared::Shared;
use super::status::{Counters, Phase, Status};
use crate::engine::{ChangeSource, EngineClient, EngineConnection, Unlisted};
use crate::model::{EngineError, ErrorKind, Event};
use crate::reconciler::{Input, Now, Reconciler};

/// Runs one watch.
pub(crate) struct Driver<'a, C> {
    pub(super) shared: &'a Shared<C>,
    pub(super) reconciler: &'a mut Reconciler,
    outage: &'a mut Outage,
    /// Since when the current connection is live.
    live: Option<(Instant, SystemTime)>,
    /// Where changes come from on the current connection.
    pub(super) source: Option<ChangeSource>,
    /// Why that is worse than usual.
    fallback: Option<Arc<EngineError>>,
    /// The scopes that the newest list did not cover.
    pub(super) unlisted: Vec<Unlisted>,
    pub(super) counters: Counters,
}

impl<'a, C: EngineClient> Driver<'a, C> {
    pub(crate) fn new(shared: &'a Shared<C>, reconciler: &'a mut Reconciler, outage: &'a mut Outage) -> Self {
        Self {
            live: None,
            source: None,
            fallback: None,
            unlisted: Vec::new(),
            counters: shared.status().counters,
            shared,
            reconciler,
            outage,
        }
    }

    /// Connects again and again, until the back-off is exhausted.
    pub(crate) async fn run(mut self) -> Result<Infallible, WatchError> {
        let backoff = self.shared.settings.backoff();
        self.shared
            .client
            .before_watch()
            .await
            .map_err(|error| WatchError::Refused { error: Arc::new(error) })?;
        let mut delays = backoff.delays();
        let mut early = EarlyAttempts::default();
        let mut logged = None;
        loop {
            self.live = None;
            self.unlisted.clear();
            self.publish(Phase::Connecting, Vec::new());
            self.counters.connects += 1;
            let Err(error) = self.connect().await;
            (self.source, self.fallback) = (None, None);
            self.counters.malformed += u64::from(error.kind() == ErrorKind::Malformed);
            let error = Arc::new(error);
            if self.live.is_some_and(|(since, _)| since.elapsed() >= backoff.healthy_after()) {
                delays = backoff.delays();
            }
            let delay = delays.next();
            if logged.as_ref() != Some(&error.to_string()) || self.live.is_some() {
                tracing::warn!(endpoint = self.shared.client.endpoint(), %error, "disconnected");
            }
            logged = Some(error.to_string());
            self.report(&error, delay.is_none());
            let phase = match delay {
                Some(_) => Phase::Disconnected { error: error.clone() },
                None => Phase::Failed { error: error.clone() },
            };
            let events = self.reconciler.take_events();
            self.publish(phase, events);
            match delay {
                Some(delay) => self.pause(delay, &mut early).await,
                None => return Err(WatchError::GaveUp { error }),
            }
        }
    }

    /// Waits until the next attempt: for the delay, or until the engine is likely to be reachable again.
    async fn pause(&self, delay: Duration, early: &mut EarlyAttempts) {
        let reachable = async {
            self.shared.client.reachable().await;
            sleep_until(early.next()).await;
        };
        let is_early = tokio::select! {
            biased;
            () = reachable => true,
            () = sleep(delay) => false,
        };
        if is_early {
            tracing::debug!(endpoint = self.shared.client.endpoint(), "the engine is likely reachable again");
            early.record(Instant::now());
        }
    }

    /// Reports an outage when it begins, and when the watch gives up.
    fn report(&mut self, error: &Arc<EngineError>, is_last: bool) {
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

    /// Connects, subscribes to the engine's events, and follows it until the connection is lost.
    async fn connect(&mut self) -> Result<Infallible, EngineError> {
        let Shared { client, settings, .. } = self.shared;
        let connecting = async {
            client.before_attempt().await?;
            client.connect(settings).await
        };
        let connection = limited(settings.connect_limit(), "connecting", connecting).await?;
        let identity = Arc::new(connection.identity());
        self.shared.set_identity(identity.clone());
        let mut events = pin!(connection.events());
        let subscribing = subscribed(&mut events);
        let (source, fallback) =
            limited(settings.connect_limit(), "subscribing to events", subscribing).await?;
        tracing::debug!(endpoint = client.endpoint(), %source, "subscribed");
        self.source = Some(source);
        self.set_fallback(fallback);
        self.outage.connected = true;
        self.counters.resyncs += 1;
        self.reconciler.set_engine(&identity, connection.packs());
        self.shared.refreshes.clear();
        Connected::new(self, &connection, events).run().await
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
    fn publish(&mut self, phase: Phase, events: Vec<Event>) {
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
            counters: self.counters.clone(),
        };
        self.shared
            .publication
            .publish(self.reconciler.portfolio(), events, || self.shared.set_status(status));
    }
}
