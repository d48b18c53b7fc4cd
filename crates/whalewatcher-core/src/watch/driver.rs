//! The I/O around the reconciler: connects, reads events, lists, inspects, retries, publishes.
//!
//! Everything runs within one future, [`Driver::run`], and ends when that is dropped. It never waits for a subscriber:
//! the engine's stream is read as fast as it comes.

use std::convert::Infallible;
use std::future::Future;
use std::mem::{replace, take};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use futures_util::future::{Fuse, FusedFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::task::coop::{consume_budget, unconstrained};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::engine::{
    ChangeSource, EngineClient, EngineConnection, EngineEvent, Listing, Unlisted, UnlistedScopes,
};
use crate::model::{ContainerId, EngineError, ErrorKind, Event};
use crate::reconciler::{Answer, Effect, Input, Now, Reconciler};
use crate::settings::{LONGEST, Settings};
use crate::watch::guard::Outage;
use crate::watch::in_flight::InFlight;
use crate::watch::liveness::{Liveness, is_silence};
use crate::watch::status::{Counters, Phase, Status};
use crate::watch::watcher::{Shared, WatchError};

/// How many events or answers are taken in at most before what they amount to is published.
const TURN: usize = 1024;

/// What the driver waits for.
enum Wake {
    Event(Option<Result<EngineEvent, EngineError>>),
    Listed(Result<Listing, EngineError>),
    Inspected(ContainerId, Answer),
    /// A deadline of the reconciler is due.
    Timeout,
    /// An inspection became slow, so that another one may begin.
    Room,
    /// The stream may have been silent for long enough to be checked.
    Silence,
    Checked(Result<Option<SystemTime>, EngineError>),
}

/// Longer than any watch lasts.
const NEVER: Duration = LONGEST;

/// Runs one watch.
pub(crate) struct Driver<'a, C> {
    shared: &'a Shared<C>,
    reconciler: &'a mut Reconciler,
    outage: &'a mut Outage,
    /// Since when the current connection is live.
    live: Option<(Instant, SystemTime)>,
    /// How the current connection learns of changes.
    source: Option<ChangeSource>,
    /// Why that is worse than usual.
    fallback: Option<Arc<EngineError>>,
    unlisted: Vec<Unlisted>,
    counters: Counters,
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
        let mut logged = None;
        loop {
            self.live = None;
            self.unlisted.clear();
            self.publish(Phase::Connecting, Vec::new());
            self.counters.connects += 1;
            let Err(error) = self.connection().await;
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
                Some(delay) => sleep(delay).await,
                None => return Err(WatchError::GaveUp { error }),
            }
        }
    }

    /// Reports an outage once, and that it is the last one.
    fn report(&mut self, error: &Arc<EngineError>, is_last: bool) {
        let error = match replace(&mut self.outage.reported, true) {
            false => error.clone(),
            true if is_last => Arc::new(
                EngineError::new(error.kind(), format!("gave up: {error}")).with_source(error.clone()),
            ),
            true => return self.reconciler.reset(),
        };
        self.outage.connected = false;
        self.take(Input::Disconnected(error));
    }

    /// One connection, from the attempt to get it until it is lost.
    async fn connection(&mut self) -> Result<Infallible, EngineError> {
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
        self.fall_back(fallback);
        self.outage.connected = true;
        self.counters.resyncs += 1;
        self.reconciler.set_engine(&identity);
        self.take(Input::Connected);

        let mut liveness = Liveness::new(settings.probe_every().unwrap_or(NEVER));
        let mut silence = pin!(sleep_until(liveness.due()));
        let mut checking = pin!(Fuse::terminated());
        let mut listing = pin!(Fuse::terminated());
        let mut inspections = FuturesUnordered::new();
        let mut in_flight = InFlight::new(settings.inspections());
        // Whether there may be more events or answers than one turn takes.
        let mut more = false;
        loop {
            let now = Instant::now();
            let mut published = Vec::new();
            while let Some(effect) = self.reconciler.poll_effect(in_flight.room(now)) {
                match effect {
                    Effect::List | Effect::Audit => {
                        let (connection, is_audit) = (&connection, matches!(effect, Effect::Audit));
                        self.counters.lists += 1;
                        self.counters.audits += u64::from(is_audit);
                        let list = async move {
                            if is_audit { connection.audit().await } else { connection.list().await }
                        };
                        listing.set(limited(settings.list_limit(), "listing containers", list).fuse());
                    }
                    Effect::Inspect { id, is_retry } => {
                        self.counters.inspections += 1;
                        self.counters.retries += u64::from(is_retry);
                        tracing::trace!(%id, "inspecting");
                        in_flight.begin(id.clone(), is_retry, now);
                        inspections.push(inspect(&connection, id, settings));
                    }
                    Effect::Publish(events) => published = events,
                }
            }
            self.publish_progress(published);
            // However fast it goes on, others run in between, and cancelling works.
            if take(&mut more) {
                yield_now().await;
            }
            let (room, timeout) = (in_flight.next_room(now), self.reconciler.poll_timeout());

            let wake = tokio::select! {
                event = events.next() => Wake::Event(event),
                list = &mut listing, if !listing.is_terminated() => Wake::Listed(list),
                Some((id, answer)) = inspections.next(), if !inspections.is_empty() => Wake::Inspected(id, answer),
                () = sleep_until(timeout.unwrap_or(now)), if timeout.is_some() => Wake::Timeout,
                () = sleep_until(room.unwrap_or(now)), if room.is_some() => Wake::Room,
                () = &mut silence, if checking.is_terminated() => Wake::Silence,
                answer = &mut checking, if !checking.is_terminated() => Wake::Checked(answer),
            };
            // Events that are here already go before answers: what they hint at may make those stale.
            let mut wake = Some(wake);
            if let Some(Wake::Event(event)) = wake.take_if(|wake| matches!(wake, Wake::Event(_))) {
                self.take_event(event, &mut liveness)?;
            }
            // Beyond tokio's budget for a task, which would cut bursts into pieces that cost an inspection each.
            for nth in 1..=TURN {
                let Some(event) = unconstrained(events.next()).now_or_never() else { break };
                self.take_event(event, &mut liveness)?;
                more |= nth == TURN;
            }
            match wake {
                Some(Wake::Listed(list)) => self.take_list::<C::Connection>(list)?,
                Some(Wake::Inspected(id, answer)) => {
                    in_flight.end(&id);
                    self.take(Input::Inspected(id, answer));
                }
                Some(Wake::Timeout) => self.reconciler.handle_timeout(Now::read()),
                Some(Wake::Silence) if liveness.due() > Instant::now() => {
                    silence.as_mut().reset(liveness.due());
                }
                Some(Wake::Silence) => {
                    let check = connection.probe(liveness.newest());
                    checking.set(
                        limited(settings.probe_limit(), "checking the silent event stream", check).fuse(),
                    );
                }
                Some(Wake::Checked(answer)) => {
                    liveness.checked(answer)?;
                    silence.as_mut().reset(liveness.due());
                }
                // What has room now is inspected above.
                Some(Wake::Event(_) | Wake::Room) | None => {}
            }
            for nth in 1..=TURN {
                let Some(Some((id, answer))) = unconstrained(inspections.next()).now_or_never() else {
                    break;
                };
                in_flight.end(&id);
                self.take(Input::Inspected(id, answer));
                more |= nth == TURN;
            }
        }
    }

    fn take(&mut self, input: Input) {
        self.reconciler.handle_input(input, Now::read());
    }

    fn take_event(
        &mut self,
        event: Option<Result<EngineEvent, EngineError>>,
        liveness: &mut Liveness,
    ) -> Result<(), EngineError> {
        let event = event.unwrap_or_else(|| Err(ended()))?;
        tracing::trace!(?event);
        match event {
            // An adapter may find these out by itself: they are no sign of life.
            EngineEvent::Gap => {
                self.take(Input::Event(event));
                return Ok(());
            }
            EngineEvent::Source(source) => {
                self.source = Some(source);
                return Ok(());
            }
            EngineEvent::Fallback(why) => {
                self.fall_back(why);
                return Ok(());
            }
            _ => {}
        }
        liveness.heard(event.at());
        self.counters.events += 1;
        self.take(Input::Event(event));
        Ok(())
    }

    /// Notes why changes are learned of in a worse way than usual, or that they are not any more.
    fn fall_back(&mut self, why: Option<Arc<EngineError>>) {
        if let Some(error) = why.as_ref().filter(|_| self.fallback != why) {
            let source = self.source.unwrap_or_default();
            tracing::warn!(endpoint = self.shared.client.endpoint(), %error, %source, "changes are learned of in a worse way");
        }
        self.fallback = why;
    }

    /// Takes in a list, or that it failed: without the first one there is no picture, but an audit can wait.
    fn take_list<E: EngineConnection>(
        &mut self,
        list: Result<Listing, EngineError>,
    ) -> Result<(), EngineError> {
        match list {
            Ok(Listing { entries, unlisted }) => {
                for Unlisted { scope, error } in &unlisted {
                    if self.unlisted.iter().all(|known| known.scope != *scope) {
                        tracing::warn!(endpoint = self.shared.client.endpoint(), scope, %error, "cannot list");
                    }
                }
                self.take(Input::Listed(entries, UnlistedScopes::new::<E>(&unlisted)));
                self.unlisted = unlisted;
                Ok(())
            }
            Err(error) if !self.reconciler.is_live() || is_silence(&error) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "no audit this time");
                self.take(Input::ListFailed);
                Ok(())
            }
        }
    }

    fn publish_progress(&mut self, events: Vec<Event>) {
        if self.reconciler.is_live() && self.live.is_none() {
            tracing::debug!(containers = self.reconciler.portfolio().total(), "live");
            self.live = Some((Instant::now(), SystemTime::now()));
            self.outage.reported = false;
        }
        self.publish(self.live.map_or(Phase::Synchronizing, |(_, since)| Phase::Live { since }), events);
    }

    /// Readers see the picture before anybody hears of it, be it by the status or by an event.
    fn publish(&mut self, phase: Phase, events: Vec<Event>) {
        self.counters.ignored = self.reconciler.ignored();
        if self.counters.drifted != self.reconciler.drifted() {
            tracing::warn!(
                endpoint = self.shared.client.endpoint(),
                "an audit found and mended what events had not reported"
            );
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

async fn inspect<C: EngineConnection>(
    connection: &C,
    id: ContainerId,
    settings: &Settings,
) -> (ContainerId, Answer) {
    let answer =
        match limited(settings.inspect_limit(), "inspecting a container", connection.inspect(&id)).await {
            Ok(truth) => {
                tracing::trace!(%id, ?truth, "inspected");
                Answer::Truth(truth)
            }
            Err(error) => {
                tracing::debug!(%id, %error, "cannot inspect");
                Answer::Unknown(Arc::new(error))
            }
        };
    (id, answer)
}

/// Waits until the subscription stands, and says how changes are learned of.
async fn subscribed(
    mut events: impl Stream<Item = Result<EngineEvent, EngineError>> + Unpin,
) -> Result<(ChangeSource, Option<Arc<EngineError>>), EngineError> {
    let (mut source, mut fallback) = (ChangeSource::default(), None);
    loop {
        // A stream that yields nothing else does not hold up the time limit.
        consume_budget().await;
        match events.next().await.unwrap_or_else(|| Err(ended()))? {
            EngineEvent::Subscribed => return Ok((source, fallback)),
            EngineEvent::Source(reported) => source = reported,
            EngineEvent::Fallback(why) => fallback = why,
            other => {
                let message = format!("an event came before the subscription was confirmed: {other:?}");
                return Err(EngineError::new(ErrorKind::Malformed, message));
            }
        }
    }
}

async fn limited<T>(
    limit: Duration,
    what: &str,
    call: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    timeout(limit, call).await.unwrap_or_else(|_| {
        Err(EngineError::new(
            ErrorKind::TimedOut,
            format!("{what}: no answer within {} s", limit.as_secs_f32()),
        ))
    })
}

fn ended() -> EngineError {
    EngineError::new(ErrorKind::Disconnected, "the engine ended the event stream")
}
