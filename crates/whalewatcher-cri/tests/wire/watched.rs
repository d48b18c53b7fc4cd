//! A watched runtime, and the events of its subscriber.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use whalewatcher_core::{Container, Settings};
use whalewatcher_cri::Client;
use whalewatcher_testkit::cri::{Alive, Flavour, Method, Server, Stats};
pub(crate) use whalewatcher_testkit::watched::in_time;

pub(crate) type Watched = whalewatcher_testkit::watched::Watched<Client>;

/// Starts a server that behaves like this runtime.
pub(crate) fn server(flavour: Flavour) -> Server {
    Server::builder().flavour(flavour).start().unwrap()
}

/// A client that polls often, if it has to poll.
pub(crate) fn client(server: &Server) -> Client {
    Client::builder().endpoint(server.endpoint()).poll_every(Duration::from_millis(10)).build().unwrap()
}

/// Watches a server with the default client.
pub(crate) fn watch(server: &Server) -> Watched {
    watch_by(client(server))
}

/// Watches with this client.
pub(crate) fn watch_by(client: Client) -> Watched {
    Watched::new(client)
}

/// Watches with this client and these settings; the back-off is always short.
pub(crate) fn watch_with_settings(client: Client, settings: Settings) -> Watched {
    Watched::with_settings(client, settings)
}

type Known = (String, String, u32, BTreeMap<String, String>, Option<SystemTime>, Details);

/// The image's name, the time of creation, the restart count, and the addresses.
type Details = (Option<String>, Option<SystemTime>, Option<u32>, Vec<String>);

/// Returns the addresses of a container.
pub(crate) fn addresses(container: &Container) -> Vec<String> {
    let networks = container.networks().iter();
    let addresses = networks.flat_map(|network| {
        let ipv4 = network.ipv4().map(|address| address.to_string());
        ipv4.into_iter().chain(network.ipv6().map(|address| address.to_string()))
    });
    addresses.collect()
}

fn known(container: &Container) -> Known {
    let labels = container.labels().iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let (id, name) = (container.id().to_string(), container.name().to_owned());
    let image = container.image().map(|image| image.name().to_owned());
    let details = (image, container.created_at(), container.restart_count(), addresses(container));
    (id, name, container.pid(), labels, container.started_at(), details)
}

fn expected(alive: Alive) -> Known {
    let mut labels = alive.labels;
    let mut add = |key: &str, value: &str| labels.insert(key.to_owned(), value.to_owned());
    add("io.kubernetes.pod.name", &alive.pod.name);
    add("io.kubernetes.pod.namespace", &alive.pod.namespace);
    add("io.kubernetes.pod.uid", &alive.pod.uid);
    match &alive.sandbox {
        Some(_) => add("io.kubernetes.container.name", &alive.name),
        None => add("io.kubernetes.sandbox", ""),
    };
    for (key, value) in &alive.annotations {
        add(&format!("io.kubernetes.annotation/{key}"), value);
    }
    let times = [alive.created, alive.since];
    let [created, since] = times.map(|at| Some(SystemTime::try_from(at).unwrap()));
    let attempt = alive.sandbox.map(|_| alive.attempt);
    let details = (Some(alive.image), created, attempt, alive.pod.addresses);
    (alive.id, alive.name, alive.pid, labels, since, details)
}

/// Asserts that the portfolio is true.
pub(crate) fn assert_true(watched: &Watched, server: &Server) {
    let portfolio = watched.watching.portfolio();
    let mut shown: Vec<_> = portfolio.containers().map(|container| known(container)).collect();
    shown.sort();
    let mut alive: Vec<_> = server.truth().into_iter().map(expected).collect();
    alive.sort();
    assert_eq!(shown, alive);
}

/// Returns the number of lists of both kinds.
pub(crate) fn lists(stats: &Stats) -> (u64, u64) {
    (stats.requests.of(Method::ListContainers), stats.requests.of(Method::ListPodSandbox))
}

/// Returns the number of requested statuses of both kinds.
pub(crate) fn statuses(stats: &Stats) -> (u64, u64) {
    (stats.requests.of(Method::ContainerStatus), stats.requests.of(Method::PodSandboxStatus))
}
