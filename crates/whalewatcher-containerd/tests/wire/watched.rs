//! A watched engine, and the events of its subscriber.

use std::time::SystemTime;

use whalewatcher_containerd::Client;
use whalewatcher_core::{Container, Settings};
use whalewatcher_testkit::containerd::Server;
pub(crate) use whalewatcher_testkit::watched::in_time;

pub(crate) type Watched = whalewatcher_testkit::watched::Watched<Client>;

/// Watches a server with the default client.
pub(crate) fn watch(server: &Server) -> Watched {
    watch_by(Client::new(server.endpoint()).unwrap())
}

/// Watches with this client.
pub(crate) fn watch_by(client: Client) -> Watched {
    Watched::new(client)
}

/// Watches with this client and these settings; the back-off is always short.
pub(crate) fn watch_with_settings(client: Client, settings: Settings) -> Watched {
    Watched::with_settings(client, settings)
}

/// Asserts that the portfolio is true.
pub(crate) fn assert_true(watched: &Watched, server: &Server) {
    let portfolio = watched.watching.portfolio();
    let known = |container: &Container| {
        let (id, name) = (container.id().to_string(), container.name().to_owned());
        let image = container.image().map(|image| image.name().to_owned());
        (id, name, container.pid(), container.paused(), image, container.created_at())
    };
    let mut shown: Vec<_> = portfolio.containers().map(|container| known(container)).collect();
    shown.sort();
    let alive = server.truth().into_iter().map(|alive| {
        let created = SystemTime::try_from(alive.created).unwrap();
        (alive.key, alive.name, alive.pid, alive.paused, Some(alive.image), Some(created))
    });
    let mut alive: Vec<_> = alive.collect();
    alive.sort();
    assert_eq!(shown, alive);
}
