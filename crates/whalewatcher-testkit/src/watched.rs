//! A watched engine, and what a subscriber is told of it, in few words: for tests of adapters to engines.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;
use whalewatcher_core::{
    Backoff, Container, EngineClient, Event, EventKind, Settings, Subscription, Watching, watch_with,
};

/// Nothing takes so long in a test, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A watch of an engine, with a subscriber from the very beginning.
pub struct Watched<C: EngineClient> {
    /// The watch.
    pub watching: Watching<C>,
    events: Subscription,
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
        let backoff = Backoff::default().with_delays(Duration::from_millis(1), Duration::from_millis(10));
        let watching = watch_with(client, settings.with_backoff(backoff));
        let (_, events) = watching.subscribe();
        Self { watching, events }
    }

    /// The same, once it is live; what was told until then is gone.
    ///
    /// # Panics
    ///
    /// If that does not happen within a minute.
    pub async fn live(mut self) -> Self {
        self.until_told("synced").await;
        self
    }

    /// The next event.
    ///
    /// # Panics
    ///
    /// If there is none within a minute.
    pub async fn next(&mut self) -> Event {
        in_time(self.events.next()).await.expect("the subscription goes on")
    }

    /// The next event in a few words, such as `exited web 137`, `synced 2` or `disconnected REASON`.
    ///
    /// # Panics
    ///
    /// If there is none within a minute.
    pub async fn told(&mut self) -> String {
        words(&self.next().await)
    }

    /// The next so many events in a few words each.
    ///
    /// # Panics
    ///
    /// If one does not come within a minute.
    pub async fn told_all(&mut self, count: usize) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..count {
            told.push(self.told().await);
        }
        told
    }

    /// All events up to one that begins with this, in a few words each.
    ///
    /// # Panics
    ///
    /// If one does not come within a minute.
    pub async fn until_told(&mut self, words: &str) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            told.push(self.told().await);
            if told.last().is_some_and(|last| last.starts_with(words)) {
                return told;
            }
        }
    }

    /// The container of this name, as known now.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn container(&self, name: &str) -> Container {
        let portfolio = self.watching.portfolio();
        let container = portfolio.containers().find(|container| container.name() == name);
        Container::clone(container.unwrap_or_else(|| panic!("'{name}' is in the portfolio")))
    }

    /// The names of all that is alive, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let portfolio = self.watching.portfolio();
        let mut names: Vec<_> = portfolio.containers().map(|container| container.name().to_owned()).collect();
        names.sort();
        names
    }
}

/// What it resolves to.
///
/// # Panics
///
/// If it does not within a minute.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it comes in time")
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
