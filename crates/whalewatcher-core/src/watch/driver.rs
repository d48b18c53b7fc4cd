//! The future that does all I/O of a watch: connects again and again, and drives the reconciler on each connection.
//!
//! It has no task of its own, so dropping it ends everything. It never waits for a subscriber: the engine's
//! stream is read as fast as events come.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::call::{limited, subscribed};
use super::connected::Connected;
use super::early::EarlyAttempts;
use super::engine_clock::EngineClock;
use super::error::WatchError;
use super::outage::Outage;
use super::progress::Progress;
use super::shared::Shared;
use super::status::Phase;
use crate::model::{EngineError, ErrorKind};
use crate::reconciler::Reconciler;

/// Runs one watch.
pub(crate) struct Driver<'a> {
    progress: Progress<'a>,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(shared: &'a Shared, reconciler: &'a mut Reconciler, outage: &'a mut Outage) -> Self {
        Self { progress: Progress::new(shared, reconciler, outage) }
    }

    /// Connects again and again, until the back-off is exhausted.
    pub(crate) async fn run(mut self) -> Result<Infallible, WatchError> {
        let backoff = self.progress.shared.settings.backoff();
        self.progress
            .shared
            .client
            .before_watch()
            .await
            .map_err(|error| WatchError::Refused { error: Arc::new(error) })?;
        let mut delays = backoff.delays();
        let mut early = EarlyAttempts::default();
        let mut logged = None;
        loop {
            self.progress.live = None;
            self.progress.unlisted.clear();
            self.progress.publish(Phase::Connecting, Vec::new());
            self.progress.counters.connects += 1;
            let Err(error) = self.connect().await;
            (self.progress.source, self.progress.fallback) = (None, None);
            self.progress.counters.malformed += u64::from(error.kind() == ErrorKind::Malformed);
            let error = Arc::new(error);
            if self.progress.live.is_some_and(|(since, _)| since.elapsed() >= backoff.healthy_after()) {
                delays = backoff.delays();
            }
            let delay = delays.next();
            if logged.as_ref() != Some(&error.to_string()) || self.progress.live.is_some() {
                tracing::warn!(endpoint = self.progress.shared.client.endpoint(), %error, "disconnected");
            }
            logged = Some(error.to_string());
            self.progress.report(&error, delay.is_none());
            let phase = match delay {
                Some(_) => Phase::Disconnected { error: error.clone() },
                None => Phase::Failed { error: error.clone() },
            };
            let events = self.progress.reconciler.take_events();
            self.progress.publish(phase, events);
            match delay {
                Some(delay) => {
                    let shared = self.progress.shared;
                    self.progress.attend(pause(shared, delay, &mut early)).await;
                }
                None => return Err(WatchError::GaveUp { error }),
            }
        }
    }

    /// Connects, subscribes to the engine's events, and follows it until the connection is lost.
    async fn connect(&mut self) -> Result<Infallible, EngineError> {
        let Shared { client, settings, .. } = self.progress.shared;
        let connecting = async {
            client.before_attempt().await?;
            client.connect(settings).await
        };
        let connecting = limited(settings.connect_limit(), "connecting", connecting);
        let connection = self.progress.attend(connecting).await?;
        let identity = Arc::new(connection.identity());
        self.progress.shared.set_identity(identity.clone());
        self.progress.clock = connection.clock().map(EngineClock::new);
        let mut events = connection.events();
        let subscribing = subscribed(&mut events);
        let subscribing = limited(settings.connect_limit(), "subscribing to events", subscribing);
        let (source, fallback) = self.progress.attend(subscribing).await?;
        tracing::debug!(endpoint = client.endpoint(), %source, "subscribed");
        self.progress.source = Some(source);
        self.progress.set_fallback(fallback);
        self.progress.outage.connected = true;
        self.progress.counters.resyncs += 1;
        let has_one_life_per_id = connection.has_one_life_per_id();
        self.progress.reconciler.set_engine(&identity, connection.packs(), has_one_life_per_id);
        self.progress.shared.refreshes.clear();
        Connected::new(&mut self.progress, &*connection, events).run().await
    }
}

/// Waits until the next attempt: for the delay, or until the engine is likely to be reachable again.
async fn pause(shared: &Shared, delay: Duration, early: &mut EarlyAttempts) {
    let reachable = async {
        shared.client.reachable().await;
        sleep_until(early.next()).await;
    };
    let is_early = tokio::select! {
        biased;
        () = reachable => true,
        () = sleep(delay) => false,
    };
    if is_early {
        tracing::debug!(endpoint = shared.client.endpoint(), "the engine is likely reachable again");
        early.record(Instant::now());
    }
}
