//! Targets for Prometheus, as its own discovery for Docker has them, for the containers of all engines.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use whalewatcher_core::fleet::{FleetMember, FleetPortfolio};
use whalewatcher_core::{Container, Network, Port, Portfolio, Protocol, Watcher};

use crate::render::json;
use crate::selection::Selection;

/// The port of a target that exposes none, as Prometheus has it.
const DEFAULT_PORT: u16 = 80;

/// Docker's name for the network of the host, and where that is reached.
const HOST_NETWORK: &str = "host";
const HOST: &str = "localhost";

/// How many containers may use each other's networks in a row.
const MOST_SHARED: usize = 8;

/// A target, in the format of `http_sd_configs` and `file_sd_configs`.
#[derive(Debug, Serialize, PartialEq)]
struct Target {
    targets: [String; 1],
    labels: BTreeMap<String, String>,
}

/// Returns the targets of the selected containers as a line of JSON: of each its TCP ports in the first of
/// its networks.
pub(super) fn targets(now: &FleetPortfolio, selection: &Selection) -> Vec<u8> {
    let selected = now.containers().filter(|(member, one)| selection.matches(&**member.watcher(), one));
    let all: Vec<_> = selected.flat_map(|(member, one)| of(member, one)).collect();
    let mut line = Vec::new();
    // Writing to memory does not fail.
    let _ = json::write_line(&mut line, &all);
    line
}

fn of(member: &FleetMember, container: &Container) -> Vec<Target> {
    let watcher = &**member.watcher();
    let connected = connected(member.portfolio(), container);
    let mut networks: Vec<_> = connected.iter().collect();
    networks.sort_by(|one, other| one.name().cmp(other.name()));
    let Some((network, address)) =
        networks.into_iter().find_map(|network| Some((network, address(network)?)))
    else {
        return Vec::new();
    };
    let mut common = common(watcher, container);
    common.insert("__meta_docker_network_name".to_owned(), network.name().to_owned());
    let ip = address.map(|ip| ip.to_string()).unwrap_or_default();
    common.insert("__meta_docker_network_ip".to_owned(), ip);
    let ports = container.ports().iter().filter(|port| port.protocol() == Protocol::Tcp);
    let of_port = |port: &Port| {
        let mut labels = common.clone();
        labels.insert("__meta_docker_port_private".to_owned(), port.private().to_string());
        if let Some(public) = port.public() {
            let ip = port.address().map(|ip| ip.to_string()).unwrap_or_default();
            labels.insert("__meta_docker_port_public".to_owned(), public.to_string());
            labels.insert("__meta_docker_port_public_ip".to_owned(), ip);
        }
        let target = address.map(|ip| SocketAddr::new(ip, port.private()).to_string());
        Target { targets: [target.unwrap_or_else(|| HOST.to_owned())], labels }
    };
    let targets: Vec<_> = ports.map(of_port).collect();
    if !targets.is_empty() {
        return targets;
    }
    let target = address.map(|ip| SocketAddr::new(ip, DEFAULT_PORT).to_string());
    vec![Target { targets: [target.unwrap_or_else(|| HOST.to_owned())], labels: common }]
}

/// Returns the networks of a container; if it has none of its own, those of the container whose networks it uses.
fn connected<'a>(all: &'a Portfolio, container: &'a Container) -> &'a [Network] {
    let mut container = container;
    for _ in 0..MOST_SHARED {
        let other = container.network_mode().and_then(|mode| mode.strip_prefix("container:"));
        match other.filter(|_| container.networks().is_empty()).and_then(|id| all.by_id(id)) {
            Some(other) => container = other,
            None => break,
        }
    }
    container.networks()
}

/// Returns where a container is reached in a network, if it is: `None` within that if it is on this host's.
fn address(network: &Network) -> Option<Option<IpAddr>> {
    let ip = network.ipv4().map(IpAddr::from).or_else(|| network.ipv6().map(IpAddr::from));
    (ip.is_some() || network.name() == HOST_NETWORK).then_some(ip)
}

/// The labels of all targets of a container.
fn common(watcher: &dyn Watcher, container: &Container) -> BTreeMap<String, String> {
    let engine = json::engine(watcher, None);
    let mut labels = BTreeMap::new();
    let mut add = |name: String, value: &str| {
        labels.insert(name, value.to_owned());
    };
    for (key, value) in container.labels().iter() {
        add(format!("__meta_docker_container_label_{}", sanitized(key)), value);
    }
    add("__meta_docker_container_id".to_owned(), container.id().as_str());
    add("__meta_docker_container_name".to_owned(), &format!("/{}", container.name()));
    add("__meta_whalewatcher_engine_type".to_owned(), &engine.engine_type);
    add("__meta_whalewatcher_engine".to_owned(), &engine.endpoint);
    add("__meta_whalewatcher_project".to_owned(), container.project());
    if let Some(mode) = container.network_mode() {
        add("__meta_docker_container_network_mode".to_owned(), mode);
    }
    if let Some(image) = container.image() {
        add("__meta_whalewatcher_image".to_owned(), image.name());
    }
    if let Some(pod) = container.pod() {
        add("__meta_whalewatcher_pod_namespace".to_owned(), pod.namespace());
        add("__meta_whalewatcher_pod_name".to_owned(), pod.name());
    }
    labels
}

/// Returns a key as a label's name may contain it.
fn sanitized(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
