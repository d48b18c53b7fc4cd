//! A watched engine, and the events that a subscriber receives.

use whalewatcher_core::Settings;
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::Server;
pub(crate) use whalewatcher_testkit::watched::in_time;

pub(crate) type Watched = whalewatcher_testkit::watched::Watched<Client>;

/// Watches a server.
pub(crate) fn watch(server: &Server) -> Watched {
    watch_by(Client::new(server.endpoint()).unwrap())
}

/// Watches the engine of a client.
pub(crate) fn watch_by(client: Client) -> Watched {
    Watched::new(client)
}

/// Watches with these settings, except for the back-off, which is short.
pub(crate) fn watch_with_settings(client: Client, settings: Settings) -> Watched {
    Watched::with_settings(client, settings)
}
