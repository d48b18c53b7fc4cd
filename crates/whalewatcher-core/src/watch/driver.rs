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
use crate::model::{ContainerId, EngineError, ErrorKind, is_silence};
use crate::reconciler::{Answer, Input, Reconciler};
use crate::settings::{LONGEST, Settings};
use crate::watch::error::WatchError;
use crate::watch::in_flight::{InFlight, Room};
use crate::watch::liveness::{GRACE, Liveness};
use crate::watch::outage::Outage;
use crate::watch::shared::Shared;
use crate::watch::status::{Counters, Phase, Status};

/// How many events or answers are taken in at most before what they amount to is published.
const TURN: usize = 1024;

/// What the driver waits for.
enum Wake {
    Event(Option<Result<EngineEvent, EngineError>>),
    Listed(Result<Listing, EngineError>),
    Inspected(ContainerId, Answer),
    Retry(ContainerId),
    Suspect(ContainerId),
    /// An inspection became slow, so that another one may begin.
    Room,
    /// The stream may have been silent for long enough to be checked.
    Silence,
    Checked(Result<Option<SystemTime>, EngineError>),
    Audit,
    /// A list that is owed can be asked for again.
    Relist,
}

/// Whether there has to be a list before the next audit is due, for the last one did not tell of all, or events may have
/// been missed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owed {
    No,
    Yes,
    /// It is being asked for.
    Asked,
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
    owed: Owed,
    unlisted: Vec<Unlisted>,
    counters: Counters,
}

impl<'a, C: EngineClient> Driver<'a, C> {
    pub(crate) fn new(shared: &'a Shared<C>, reconciler: &'a mut Reconciler, outage: &'a mut Outage) -> Self {
        Self {
            live: None,
            source: None,
            fallback: None,
            owed: Owed::No,
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
            (self.live, self.owed) = (None, Owed::No);
            self.unlisted.clear();
            self.publish(Phase::Connecting);
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
            self.publish(match delay {
                Some(_) => Phase::Disconnected { error: error.clone() },
                None => Phase::Failed { error: error.clone() },
            });
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
        let mut audit = pin!(sleep(settings.next_audit().unwrap_or(NEVER)));
        let mut listing = pin!(Fuse::terminated());
        let mut relist = pin!(Fuse::terminated());
        let mut incomplete = 0;
        let mut inspections = FuturesUnordered::new();
        let mut in_flight = InFlight::new(settings.inspections());
        let mut retries = FuturesUnordered::new();
        let mut suspects = FuturesUnordered::new();
        // Whether there may be more events or answers than one turn takes.
        let mut more = false;
        loop {
            if self.reconciler.take_list_owed() {
                self.owed = Owed::Yes;
            }
            if self.owed == Owed::Yes && relist.is_terminated() && listing.is_terminated() {
                self.audit();
            }
            if self.reconciler.take_list_wanted() {
                self.counters.lists += 1;
                if self.owed == Owed::Yes {
                    self.owed = Owed::Asked;
                }
                let (connection, known) = (&connection, self.reconciler.is_live());
                let list =
                    async move { if known { connection.audit().await } else { connection.list().await } };
                listing.set(limited(settings.list_limit(), "listing containers", list).fuse());
            }
            let now = Instant::now();
            while let room = in_flight.room(now)
                && room != Room::None
                && let Some((id, is_retry)) = self.reconciler.next_inspection(room == Room::Any)
            {
                self.counters.inspections += 1;
                self.counters.retries += u64::from(is_retry);
                tracing::trace!(%id, "inspecting");
                in_flight.begin(id.clone(), is_retry, now);
                inspections.push(inspect(&connection, id, settings));
            }
            for (id, failures) in self.reconciler.take_deferred() {
                let delay = settings.backoff().nth_delay(failures);
                retries.push(sleep(delay).map(|()| id));
            }
            for id in self.reconciler.take_suspects() {
                suspects.push(sleep(GRACE).map(|()| id));
            }
            self.publish_progress();
            // However fast it goes on, others run in between, and cancelling works.
            if take(&mut more) {
                yield_now().await;
            }
            let room = in_flight.next_room(now);

            let wake = tokio::select! {
                event = events.next() => Wake::Event(event),
                list = &mut listing, if !listing.is_terminated() => Wake::Listed(list),
                Some((id, answer)) = inspections.next(), if !inspections.is_empty() => Wake::Inspected(id, answer),
                Some(id) = retries.next(), if !retries.is_empty() => Wake::Retry(id),
                Some(id) = suspects.next(), if !suspects.is_empty() => Wake::Suspect(id),
                () = sleep_until(room.unwrap_or(now)), if room.is_some() => Wake::Room,
                () = &mut silence, if checking.is_terminated() => Wake::Silence,
                answer = &mut checking, if !checking.is_terminated() => Wake::Checked(answer),
                () = &mut audit => Wake::Audit,
                () = &mut relist, if !relist.is_terminated() => Wake::Relist,
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
                Some(Wake::Listed(list)) => {
                    let reported_all = self.take_list::<C::Connection>(list)?;
                    if !reported_all {
                        incomplete += 1;
                        self.owed = Owed::Yes;
                        relist.set(sleep(settings.backoff().nth_delay(incomplete)).fuse());
                    } else {
                        incomplete = 0;
                        if self.owed == Owed::Asked {
                            self.owed = Owed::No;
                        }
                    }
                }
                Some(Wake::Inspected(id, answer)) => {
                    in_flight.end(&id);
                    self.take(Input::Inspected(id, answer));
                }
                Some(Wake::Retry(id)) => self.take(Input::Retry(id)),
                Some(Wake::Suspect(id)) => self.take(Input::Suspect(id)),
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
                Some(Wake::Audit) => {
                    if self.reconciler.is_live() && listing.is_terminated() {
                        self.audit();
                    }
                    audit.as_mut().reset(Instant::now() + settings.next_audit().unwrap_or(NEVER));
                }
                // What is owed or has room now is asked for above.
                Some(Wake::Event(_) | Wake::Relist | Wake::Room) | None => {}
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
        self.reconciler.handle(input, SystemTime::now());
    }

    /// Compares the portfolio with a list, or completes one, if it is the time for that.
    fn audit(&mut self) {
        if self.reconciler.takes_audits() {
            self.counters.audits += u64::from(self.reconciler.is_live());
            self.take(Input::Audit);
        }
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
                self.owed = Owed::Yes;
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

    /// Without a list there is no picture to begin with, but an audit can wait for the next time. Whether all was told
    /// that is owed.
    fn take_list<E: EngineConnection>(
        &mut self,
        list: Result<Listing, EngineError>,
    ) -> Result<bool, EngineError> {
        match list {
            Ok(Listing { entries, unlisted }) => {
                for Unlisted { scope, error } in &unlisted {
                    if self.unlisted.iter().all(|known| known.scope != *scope) {
                        tracing::warn!(endpoint = self.shared.client.endpoint(), scope, %error, "cannot list");
                    }
                }
                self.take(Input::Listed(entries, UnlistedScopes::new::<E>(&unlisted)));
                self.unlisted = unlisted;
                Ok(self.unlisted.is_empty())
            }
            Err(error) if !self.reconciler.is_live() || is_silence(&error) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "no audit this time");
                self.take(Input::AuditFailed);
                Ok(self.owed == Owed::No)
            }
        }
    }

    fn publish_progress(&mut self) {
        if self.reconciler.is_live() && self.live.is_none() {
            tracing::debug!(containers = self.reconciler.portfolio().total(), "live");
            self.live = Some((Instant::now(), SystemTime::now()));
            self.outage.reported = false;
        }
        self.publish(self.live.map_or(Phase::Synchronizing, |(_, since)| Phase::Live { since }));
    }

    /// Readers see the picture before anybody hears of it, be it by the status or by an event.
    fn publish(&mut self, phase: Phase) {
        let events = self.reconciler.take_published();
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
