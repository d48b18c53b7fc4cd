//! One connection, from its subscription to the engine's events until it is lost.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::mem::take;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::task::coop::unconstrained;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};

use super::call::{ended, inspect, limited};
use super::in_flight::InFlight;
use super::probe::Probe;
use super::progress::Progress;
use crate::engine::{EngineEvent, ErasedConnection, Listing, Unlisted, UnlistedScopes};
use crate::model::{Container, ContainerId, EngineError, is_silence};
use crate::reconciler::{Answer, Effect, Input, Now};
use crate::settings::LONGEST;

/// How many events or answers are handled at most before their effects are dispatched and published.
const TURN: usize = 1024;

/// What the connection waited for.
enum Wake {
    Event(Option<Result<EngineEvent, EngineError>>),
    Listed(Result<Listing, EngineError>),
    Inspected(ContainerId, Answer),
    Probed(Result<Option<SystemTime>, EngineError>),
    /// The witness reports the end of a life.
    Ended(Arc<Container>),
    /// The application wants containers inspected.
    Refresh,
    /// A deadline may have passed: of the reconciler, of the next probe, or of an inspection that is slow
    /// from now on, so that another one may begin.
    Timer,
}

/// The state of one connection. Its calls borrow the connection, and end with it when this is dropped.
pub(super) struct Connected<'c, 'd> {
    progress: &'c mut Progress<'d>,
    connection: &'c dyn ErasedConnection,
    events: BoxStream<'c, Result<EngineEvent, EngineError>>,
    list: Option<BoxFuture<'c, Result<Listing, EngineError>>>,
    probing: Option<BoxFuture<'c, Result<Option<SystemTime>, EngineError>>>,
    /// When the newest probe began.
    probed: Instant,
    /// When the witness reported an end, without a sign of life of the engine since.
    unanswered_end: Option<Instant>,
    inspections: FuturesUnordered<BoxFuture<'c, (ContainerId, Answer)>>,
    in_flight: InFlight,
    probe: Probe,
    /// Wakes at the earliest deadline or before.
    timer: Pin<Box<Sleep>>,
    /// Whether there may be more events or answers than one turn takes.
    is_behind: bool,
}

impl<'c, 'd> Connected<'c, 'd> {
    pub(super) fn new(
        progress: &'c mut Progress<'d>,
        connection: &'c dyn ErasedConnection,
        events: BoxStream<'c, Result<EngineEvent, EngineError>>,
    ) -> Self {
        let settings = &progress.shared.settings;
        let probe = Probe::new(settings.probe_every().unwrap_or(LONGEST), Instant::now());
        Self {
            connection,
            events,
            list: None,
            probing: None,
            probed: Instant::now(),
            unanswered_end: None,
            inspections: FuturesUnordered::new(),
            in_flight: InFlight::new(settings.inspections()),
            timer: Box::pin(sleep_until(probe.due())),
            probe,
            is_behind: false,
            progress,
        }
    }

    /// Follows the engine until the connection is lost: waits, handles the events and the answer that came,
    /// dispatches what that leads to.
    pub(super) async fn run(mut self) -> Result<Infallible, EngineError> {
        self.progress.handle(Input::Connected);
        loop {
            let now = Instant::now();
            self.dispatch(now);
            // Other tasks run in between, and cancelling works, however fast the engine is.
            if take(&mut self.is_behind) {
                yield_now().await;
            }
            self.set_timer(now);
            match self.wait().await {
                Wake::Event(event) => {
                    self.handle_event(event)?;
                    self.drain_events()?;
                }
                // Events that are here already are handled before an answer, which may be older than they are.
                answer => {
                    self.drain_events()?;
                    self.handle_wake(answer)?;
                }
            }
            self.drain_inspections();
        }
    }

    /// Begins the calls that the reconciler asks for, and publishes its events.
    fn dispatch(&mut self, now: Instant) {
        let mut published = Vec::new();
        while let Some(effect) = self.progress.reconciler.poll_effect(self.in_flight.room(now)) {
            match effect {
                Effect::List => self.begin_list(false),
                Effect::Audit => self.begin_list(true),
                Effect::Inspect { id, is_retry } => self.begin_inspection(id, is_retry, now),
                Effect::Verify(life) => {
                    let engine = self.progress.shared.identity();
                    let goes_on = self.progress.witnesses.is_alive(&life, engine.as_deref());
                    self.progress.handle(Input::Verified { life, goes_on });
                }
                Effect::Publish(events) => published = events,
            }
        }
        self.progress.publish_progress(published);
    }

    fn begin_list(&mut self, is_audit: bool) {
        self.progress.counters.lists += 1;
        self.progress.counters.audits += u64::from(is_audit);
        let connection = self.connection;
        let list = async move { if is_audit { connection.audit().await } else { connection.list().await } };
        let limit = self.progress.shared.settings.list_limit();
        self.list = Some(limited(limit, "listing containers", list).boxed());
    }

    fn begin_inspection(&mut self, id: ContainerId, is_retry: bool, now: Instant) {
        self.progress.counters.inspections += 1;
        self.progress.counters.retries += u64::from(is_retry);
        tracing::trace!(%id, "inspecting");
        self.in_flight.begin(id.clone(), is_retry, now);
        let limit = self.progress.shared.settings.inspect_limit();
        self.inspections.push(inspect(self.connection, id, limit).boxed());
    }

    fn begin_probe(&mut self) {
        let probe = self.connection.probe(self.probe.newest());
        let limit = self.progress.shared.settings.probe_limit();
        self.probed = Instant::now();
        self.probing = Some(limited(limit, "probing the silent event stream", probe).boxed());
    }

    /// Sets the timer to the earliest deadline since the dispatch: an inspection that has become slow in
    /// between makes room. A timer that is set to an earlier time stays: deadlines move with each event, and
    /// a needless wake-up now and then costs less.
    fn set_timer(&mut self, dispatched: Instant) {
        let probe = self.probing.is_none().then(|| self.probe.due());
        let deadlines =
            [self.progress.reconciler.poll_timeout(), self.in_flight.next_room(dispatched), probe];
        let due = deadlines.into_iter().flatten().min().unwrap_or(dispatched + LONGEST);
        if due < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(due);
        }
    }

    async fn wait(&mut self) -> Wake {
        tokio::select! {
            event = self.events.next() => Wake::Event(event),
            list = finished(&mut self.list) => Wake::Listed(list),
            Some((id, answer)) = self.inspections.next(), if !self.inspections.is_empty() => {
                Wake::Inspected(id, answer)
            }
            answer = finished(&mut self.probing) => Wake::Probed(answer),
            () = self.progress.shared.refreshes.requested() => Wake::Refresh,
            life = poll_fn(|context| self.progress.witnesses.poll_end(context)) => Wake::Ended(life),
            () = &mut self.timer => Wake::Timer,
        }
    }

    fn handle_wake(&mut self, wake: Wake) -> Result<(), EngineError> {
        match wake {
            Wake::Event(event) => self.handle_event(event)?,
            Wake::Listed(list) => self.handle_list(list)?,
            Wake::Inspected(id, answer) => self.handle_inspection(id, answer),
            Wake::Probed(answer) => {
                self.probe.record_answer(answer, Instant::now())?;
                self.unanswered_end = None;
            }
            Wake::Ended(life) => {
                self.progress.handle_end(life, self.is_silent());
                self.drain_ends();
                self.unanswered_end.get_or_insert_with(Instant::now);
            }
            Wake::Refresh => {
                for id in self.progress.shared.refreshes.take() {
                    self.progress.handle(Input::Refresh(id));
                }
            }
            Wake::Timer => {
                let now = Now::read();
                self.progress.reconciler.handle_timeout(now);
                if self.probing.is_none() && self.probe.due() <= now.instant {
                    self.begin_probe();
                }
            }
        }
        Ok(())
    }

    /// Handles the events that are here already, beyond tokio's budget for a task: that would cut bursts into
    /// pieces that cost an inspection each.
    fn drain_events(&mut self) -> Result<(), EngineError> {
        for nth in 1..=TURN {
            let Some(event) = unconstrained(self.events.next()).now_or_never() else { break };
            self.handle_event(event)?;
            self.is_behind |= nth == TURN;
        }
        Ok(())
    }

    fn drain_inspections(&mut self) {
        for nth in 1..=TURN {
            let Some(Some((id, answer))) = unconstrained(self.inspections.next()).now_or_never() else {
                break;
            };
            self.handle_inspection(id, answer);
            self.is_behind |= nth == TURN;
        }
    }

    fn drain_ends(&mut self) {
        let is_silent = self.is_silent();
        for nth in 1..=TURN {
            let end = unconstrained(poll_fn(|context| self.progress.witnesses.poll_end(context)));
            let Some(life) = end.now_or_never() else { break };
            self.progress.handle_end(life, is_silent);
            self.is_behind |= nth == TURN;
        }
    }

    /// Whether the engine left a probe without an answer, or an end without an event, so that no event is to be
    /// expected soon.
    fn is_silent(&self) -> bool {
        let unanswered_probe = self.probing.as_ref().map(|_| self.probed);
        let grace = self.progress.shared.settings.witness_grace();
        [unanswered_probe, self.unanswered_end].into_iter().flatten().any(|since| since.elapsed() >= grace)
    }

    fn handle_event(&mut self, event: Option<Result<EngineEvent, EngineError>>) -> Result<(), EngineError> {
        let event = event.unwrap_or_else(|| Err(ended()))?;
        tracing::trace!(?event);
        match event {
            EngineEvent::Source(source) => self.progress.source = Some(source),
            EngineEvent::Fallback(reason) => self.progress.set_fallback(reason),
            // An adapter may find a gap by itself: it is no sign of life.
            EngineEvent::Gap => self.progress.handle(Input::Event(event)),
            event => {
                let now = Now::read();
                self.probe.record_event(event.at(), now.instant);
                self.unanswered_end = None;
                self.progress.counters.events += 1;
                let input = match &event {
                    EngineEvent::Started { id, .. } | EngineEvent::Exited { id, .. }
                        if self.progress.goes_on(id) =>
                    {
                        Input::Disputed(event)
                    }
                    _ => Input::Event(event),
                };
                self.progress.reconciler.handle_input(input, now);
            }
        }
        Ok(())
    }

    fn handle_inspection(&mut self, id: ContainerId, answer: Answer) {
        self.in_flight.end(&id);
        let answer = match answer {
            Answer::Truth(truth)
                if truth.as_ref().is_none_or(|truth| truth.pid() == 0) && self.progress.goes_on(&id) =>
            {
                Answer::Disputed
            }
            answer => answer,
        };
        self.progress.handle(Input::Inspected(id, answer));
    }

    /// Without its first list a connection is of no use; a failed audit can wait, unless nothing answers.
    fn handle_list(&mut self, list: Result<Listing, EngineError>) -> Result<(), EngineError> {
        let progress = &mut *self.progress;
        match list {
            Ok(Listing { entries, unlisted }) => {
                let endpoint = progress.shared.client.endpoint();
                for Unlisted { scope, error } in &unlisted {
                    if progress.unlisted.iter().all(|known| known.scope != *scope) {
                        tracing::warn!(endpoint, scope, %error, "cannot list scope");
                    }
                }
                let unlisted_scopes = UnlistedScopes::new(&unlisted, self.connection.scope_of());
                if !progress.reconciler.is_live() && !progress.witnesses.is_empty() {
                    let survivors = progress.survivors(&entries, &unlisted_scopes);
                    progress.handle(Input::Survivors(survivors));
                }
                progress.handle(Input::Listed(entries, unlisted_scopes));
                progress.unlisted = unlisted;
            }
            Err(error) if !progress.reconciler.is_live() || is_silence(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(endpoint = progress.shared.client.endpoint(), %error, "audit failed");
                progress.handle(Input::ListFailed);
            }
        }
        Ok(())
    }
}

/// Waits for a call, and removes it; for ever if there is none.
async fn finished<T>(call: &mut Option<BoxFuture<'_, T>>) -> T {
    match call {
        Some(future) => {
            let output = future.await;
            *call = None;
            output
        }
        None => pending().await,
    }
}
