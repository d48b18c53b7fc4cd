//! An engine that is watched, and what a subscriber is told of it.

use std::time::Duration;

use tokio::time::timeout;
use whalewatcher_containerd::Client;
use whalewatcher_core::{Backoff, Container, Event, EventKind, Settings, Subscription, Watching, watch_with};
use whalewatcher_testkit::containerd::Server;

/// Nothing here takes so long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A watch of an engine, with a subscriber from the very beginning.
pub(crate) struct Watched {
    pub(crate) watching: Watching<Client>,
    events: Subscription,
}

/// Watches a server.
pub(crate) fn watch(server: &Server) -> Watched {
    watch_by(Client::new(server.endpoint()).unwrap())
}

/// Watches what the client is configured for.
pub(crate) fn watch_by(client: Client) -> Watched {
    watch_with_settings(client, Settings::default())
}

/// The same with settings other than for the back-off, which is short.
pub(crate) fn watch_with_settings(client: Client, settings: Settings) -> Watched {
    let backoff = Backoff::default().with_delays(Duration::from_millis(1), Duration::from_millis(10));
    let watching = watch_with(client, settings.with_backoff(backoff));
    let (_, events) = watching.subscribe();
    Watched { watching, events }
}

impl Watched {
    /// The same, once it is live; with what was told until then.
    pub(crate) async fn live(mut self) -> Self {
        self.until_told("synced").await;
        self
    }

    /// The next event, which must come.
    pub(crate) async fn next(&mut self) -> Event {
        in_time(self.events.next()).await.expect("the subscription goes on")
    }

    /// The next event in a few words, such as `exited web 137`.
    pub(crate) async fn told(&mut self) -> String {
        words(&self.next().await)
    }

    /// The next so many events in a few words each.
    pub(crate) async fn told_all(&mut self, count: usize) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..count {
            told.push(self.told().await);
        }
        told
    }

    /// All events up to one that begins with this, in a few words each.
    pub(crate) async fn until_told(&mut self, words: &str) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            told.push(self.told().await);
            if told.last().is_some_and(|last| last.starts_with(words)) {
                return told;
            }
        }
    }

    /// The container of this name, as known now.
    pub(crate) fn container(&self, name: &str) -> Container {
        let portfolio = self.watching.portfolio();
        let container = portfolio.containers().find(|container| container.name() == name);
        Container::clone(container.unwrap_or_else(|| panic!("'{name}' is in the portfolio")))
    }

    /// The picture is what is alive.
    pub(crate) fn assert_true(&self, server: &Server) {
        let portfolio = self.watching.portfolio();
        let known = |container: &Container| {
            let (id, name) = (container.id().to_string(), container.name().to_owned());
            (id, name, container.pid(), container.paused())
        };
        let mut shown: Vec<_> = portfolio.containers().map(|container| known(container)).collect();
        shown.sort();
        let mut alive: Vec<_> = server
            .truth()
            .into_iter()
            .map(|alive| (alive.key, alive.name, alive.pid, alive.paused))
            .collect();
        alive.sort();
        assert_eq!(shown, alive);
    }

    /// The names of all that is alive, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let portfolio = self.watching.portfolio();
        let mut names: Vec<_> = portfolio.containers().map(|container| container.name().to_owned()).collect();
        names.sort();
        names
    }
}

/// What it resolves to, which must be soon.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it comes in time")
}

fn words(event: &Event) -> String {
    let name = event.container().map_or("", |container| container.name());
    match &event.kind {
        EventKind::Exited { code: Some(code), .. } => format!("exited {name} {code}"),
        EventKind::Synced { containers } => format!("synced {containers}"),
        EventKind::Disconnected { error } => format!("disconnected {error}"),
        kind => format!("{} {name}", kind.name()).trim_end().to_owned(),
    }
}
