//! A watched engine, or a fleet of them, and what a subscriber receives, in few words: for tests of adapters
//! and of programs.
//!
//! Nothing here waits for longer than a minute: what does not come by then panics, with the line of the test
//! that awaited it, the status and the events before.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::time::timeout;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::fleet::{FleetEvent, FleetSubscription};
use whalewatcher_core::{
    Backoff, Container, EngineWatcher, Event, EventKind, Fleet, Portfolio, Settings, Subscription,
    WatchHandle, Watcher, watch_with,
};

/// Says only that something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many events a panic shows.
const SHOWN: usize = 16;

/// A watch of an engine, with a subscriber from the very beginning.
pub struct Watched<C: EngineClient> {
    /// The watch.
    pub watching: WatchHandle<C>,
    events: Events<Subscription>,
}

impl<C: EngineClient> Watched<C> {
    /// Watches with default settings but for the back-off, which is short.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(client: C) -> Self {
        Self::with_settings(client, Settings::default())
    }

    /// Watches with these settings but for the back-off, which is short.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn with_settings(client: C, settings: Settings) -> Self {
        let watching = watch_with(client, impatient(settings));
        let (_, events) = watching.subscribe();
        Self { watching, events: Events::new(events) }
    }

    /// Waits until it is live, and drops the events until then.
    ///
    /// # Panics
    ///
    /// If that does not happen within a minute.
    #[track_caller]
    pub fn live(mut self) -> impl Future<Output = Self> {
        let at = Location::caller();
        async move {
            self.until(at, "synced").await;
            self
        }
    }

    /// Returns the next event.
    ///
    /// # Panics
    ///
    /// If there is none within a minute.
    #[allow(clippy::should_implement_trait, reason = "that of iterators is not asynchronous")]
    #[track_caller]
    pub fn next(&mut self) -> impl Future<Output = Event> {
        let at = Location::caller();
        async move { self.next_at(at, "the next event").await }
    }

    /// Returns the next event in a few words, such as `exited web 137`, `synced 2` or `disconnected REASON`.
    ///
    /// # Panics
    ///
    /// If there is none within a minute.
    #[track_caller]
    pub fn reported(&mut self) -> impl Future<Output = String> {
        let at = Location::caller();
        async move { words(&self.next_at(at, "the next event").await) }
    }

    /// Returns the next so many events, in a few words each.
    ///
    /// # Panics
    ///
    /// If one does not come within a minute.
    #[track_caller]
    pub fn reported_all(&mut self, count: usize) -> impl Future<Output = Vec<String>> {
        let at = Location::caller();
        async move {
            let mut reported = Vec::new();
            for nth in 1..=count {
                reported.push(words(&self.next_at(at, &format!("event {nth} of {count}")).await));
            }
            reported
        }
    }

    /// Returns all events up to one that begins with this, in a few words each.
    ///
    /// # Panics
    ///
    /// If one does not come within a minute.
    #[track_caller]
    pub fn until_reported(&mut self, words: &str) -> impl Future<Output = Vec<String>> {
        let at = Location::caller();
        async move { self.until(at, words).await }
    }

    async fn until(&mut self, at: &Location<'_>, begin: &str) -> Vec<String> {
        let mut reported = Vec::new();
        loop {
            reported.push(words(&self.next_at(at, &format!("'{begin}'")).await));
            if reported.last().is_some_and(|last| last.starts_with(begin)) {
                return reported;
            }
        }
    }

    async fn next_at(&mut self, at: &Location<'_>, awaited: &str) -> Event {
        let Self { watching, events } = self;
        events.next(at, awaited, words, || state(&**watching)).await
    }

    /// Returns the container of this name, as known now.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn container(&self, name: &str) -> Container {
        let portfolio = self.watching.portfolio();
        let container = portfolio.containers().find(|container| container.name() == name);
        let Some(container) = container else {
            panic!("'{name}' is not in the portfolio; {}", state(&*self.watching))
        };
        Container::clone(container)
    }

    /// Returns the names of all that is alive, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        names(&self.watching.portfolio())
    }
}

/// A fleet with a subscriber from the very beginning.
pub struct WatchedFleet {
    /// The fleet.
    pub fleet: Fleet,
    events: Events<FleetSubscription>,
}

impl Default for WatchedFleet {
    fn default() -> Self {
        let fleet = Fleet::new();
        let (_, events) = fleet.subscribe();
        Self { fleet, events: Events::new(events) }
    }
}

impl WatchedFleet {
    /// A fleet without members.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an engine, which is watched with default settings but for the back-off, which is short.
    ///
    /// # Panics
    ///
    /// If the fleet has it already, or outside of a tokio runtime.
    #[track_caller]
    pub fn add(&self, client: impl EngineClient) -> Arc<dyn Watcher> {
        match self.fleet.add(EngineWatcher::with_settings(client, impatient(Settings::default()))) {
            Ok(watcher) => watcher,
            Err(error) => panic!("cannot add an engine: {error}"),
        }
    }

    /// Returns the next event.
    ///
    /// # Panics
    ///
    /// If there is none within a minute.
    #[allow(clippy::should_implement_trait, reason = "that of iterators is not asynchronous")]
    #[track_caller]
    pub fn next(&mut self) -> impl Future<Output = FleetEvent> {
        let at = Location::caller();
        async move { self.next_at(at, "the next event").await }
    }

    /// Returns the endpoint of the next event, and the event in a few words, as [`Watched::reported`] does.
    ///
    /// # Panics
    ///
    /// If there is none within a minute.
    #[track_caller]
    pub fn reported(&mut self) -> impl Future<Output = (String, String)> {
        let at = Location::caller();
        async move { placed(&self.next_at(at, "the next event").await) }
    }

    /// Returns all events up to one at this endpoint that begins with these words.
    ///
    /// # Panics
    ///
    /// If one does not come within a minute.
    #[track_caller]
    pub fn until_reported(
        &mut self,
        endpoint: &str,
        begin: &str,
    ) -> impl Future<Output = Vec<(String, String)>> {
        let at = Location::caller();
        async move {
            let mut reported = Vec::new();
            loop {
                reported.push(placed(&self.next_at(at, &format!("'{begin}' at {endpoint}")).await));
                if reported.last().is_some_and(|(place, words)| place == endpoint && words.starts_with(begin))
                {
                    return reported;
                }
            }
        }
    }

    async fn next_at(&mut self, at: &Location<'_>, awaited: &str) -> FleetEvent {
        let Self { fleet, events } = self;
        let words = |event: &_| {
            let (endpoint, words) = placed(event);
            format!("{words} at {endpoint}")
        };
        let members = || {
            let watchers = fleet.watchers().into_iter();
            let states = watchers.map(|watcher| format!("{}: {}", watcher.endpoint(), state(&*watcher)));
            states.collect::<Vec<_>>().join("; ")
        };
        events.next(at, awaited, words, members).await
    }
}

/// A stream of events, and the newest of them in a few words.
struct Events<S> {
    stream: S,
    newest: VecDeque<String>,
}

impl<S: Stream + Unpin> Events<S> {
    fn new(stream: S) -> Self {
        Self { stream, newest: VecDeque::new() }
    }

    /// The next one, which this place in a test awaits.
    async fn next(
        &mut self,
        at: &Location<'_>,
        awaited: &str,
        words: impl Fn(&S::Item) -> String,
        state: impl Fn() -> String,
    ) -> S::Item {
        let why = match timeout(PATIENCE, self.stream.next()).await {
            Ok(Some(event)) => {
                self.newest.truncate(SHOWN - 1);
                self.newest.push_front(words(&event));
                return event;
            }
            Ok(None) => Why::Ended,
            Err(_) => Why::Late,
        };
        panic!("{at}: {awaited} {why}; {}; newest events first: {:?}", state(), self.newest);
    }
}

/// Why something did not come.
enum Why {
    Late,
    Ended,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => write!(f, "did not come within {} s", PATIENCE.as_secs()),
            Self::Ended => f.write_str("did not come before the subscription ended"),
        }
    }
}

/// Returns what a future resolves to.
///
/// # Panics
///
/// If it does not resolve within a minute, with the line that called this and the future's type.
#[track_caller]
pub fn in_time<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let at = Location::caller();
    async move {
        match timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_) => panic!("{at}: {} {}", std::any::type_name::<F>(), Why::Late),
        }
    }
}

/// With a short back-off.
fn impatient(settings: Settings) -> Settings {
    let backoff = Backoff::default().with_delays(Duration::from_millis(1), Duration::from_millis(10));
    settings.with_backoff(backoff)
}

fn names(portfolio: &Portfolio) -> Vec<String> {
    let mut names: Vec<_> = portfolio.containers().map(|container| container.name().to_owned()).collect();
    names.sort();
    names
}

fn state(watcher: &dyn Watcher) -> String {
    format!("{}, alive: {:?}", watcher.status(), names(&watcher.portfolio()))
}

fn placed(FleetEvent { key, event, .. }: &FleetEvent) -> (String, String) {
    (key.endpoint().to_owned(), words(event))
}

fn words(event: &Event) -> String {
    let name = event.container().map_or("", |container| container.name());
    match &event.kind {
        EventKind::Exited { code: Some(code), .. } => format!("exited {name} {code}"),
        EventKind::Synced { containers, unresolved: 0 } => format!("synced {containers}"),
        EventKind::Synced { containers, unresolved } => {
            format!("synced {containers}, {unresolved} unresolved")
        }
        EventKind::Disconnected { error } => format!("disconnected {error}"),
        kind => format!("{} {name}", kind.name()).trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use std::future::pending;
    use std::panic::AssertUnwindSafe;

    use super::*;
    use crate::scripted::Engine;

    /// The message of the panic in which this ends.
    async fn panic_of<T>(future: impl Future<Output = T>) -> String {
        let panic = AssertUnwindSafe(future).catch_unwind().await.err().expect("it panics");
        *panic.downcast::<String>().expect("it is a text")
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_panics_with_place_state_and_events() {
        let engine = Engine::new();
        engine.start(Container::new("1", "web", 7));
        let mut watched = Watched::new(engine).live().await;
        let line = line!() + 1;
        let message = panic_of(watched.until_reported("exited web")).await;
        let place = format!("{}:{line}:", file!());
        assert!(message.starts_with(&place), "{message}");
        for part in
            ["'exited web' did not come within 60 s", "live", "[\"web\"]", "\"synced 1\", \"started web\""]
        {
            assert!(message.contains(part), "{part}: {message}");
        }
        watched.watching.watcher().close();
        let message = panic_of(watched.reported()).await;
        assert!(message.contains("before the subscription ended; closed"), "{message}");

        let line = line!() + 1;
        let message = panic_of(in_time(pending::<u8>())).await;
        assert!(
            message.starts_with(&format!("{}:{line}:", file!())) && message.contains("Pending<u8>"),
            "{message}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_fleet_names_the_endpoint_of_each_event() {
        let (one, two) = (Engine::at("one"), Engine::at("two"));
        let mut watched = WatchedFleet::new();
        watched.add(one.clone());
        assert_eq!(watched.reported().await, ("one".into(), "joined".into()));
        assert_eq!(watched.reported().await, ("one".into(), "synced 0".into()));
        two.start(Container::new("1", "web", 7));
        watched.add(two.clone());
        let reported = watched.until_reported("two", "synced").await;
        let words: Vec<_> = reported.iter().map(|(_, words)| words.as_str()).collect();
        assert_eq!(words, ["joined", "started web", "synced 1"]);
        two.exit("1", Some(3));
        let FleetEvent { key, event, .. } = watched.next().await;
        assert_eq!((key.endpoint(), event.kind.name()), ("two", "exited"));

        let line = line!() + 1;
        let message = panic_of(watched.until_reported("one", "started")).await;
        assert!(message.starts_with(&format!("{}:{line}:", file!())), "{message}");
        for part in [
            "'started' at one did not come",
            "one: live, alive: []; two: live",
            "[\"exited web 3 at two\", \"synced 1 at two\"",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}
