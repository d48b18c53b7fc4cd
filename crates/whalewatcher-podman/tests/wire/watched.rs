//! A watched podman.

use std::time::Duration;

use whalewatcher_podman::Client;
use whalewatcher_testkit::docker::{Builder, ContainerSpec, Flavour, Server};
pub(crate) use whalewatcher_testkit::watched::in_time;

pub(crate) type Watched = whalewatcher_testkit::watched::Watched<Client>;

/// Returns a builder of a podman of some version.
pub(crate) fn podman() -> Builder {
    let builder = Server::builder().flavour(Flavour::Podman).version("4.3.1").api_versions("1.41", "1.24");
    builder.new_id_each_time(true).host_name("reef")
}

/// Runs a container, long before it is watched.
pub(crate) fn run_before(server: &Server, spec: impl Into<ContainerSpec>) -> String {
    let id = server.run(spec).unwrap();
    server.clock().advance(Duration::from_secs(60));
    id
}

/// Watches a server.
pub(crate) fn watch(server: &Server) -> Watched {
    Watched::new(Client::new(server.endpoint()).unwrap())
}
