//! What lists and inspections have in common, in dockerd's shape.

use std::collections::BTreeMap;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use whalewatcher_core::Container;

/// A container's place in a network.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Place<'a> {
    /// Its name, because no IDs are known; dockerd takes both.
    #[serde(rename = "NetworkID")]
    network_id: &'a str,
    #[serde(rename = "IPAddress")]
    ip_address: String,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: String,
}

/// Returns a container's networks by name.
pub(super) fn networks(container: &Container) -> BTreeMap<&str, Place<'_>> {
    let all = container.networks().iter().map(|network| {
        let place = Place {
            network_id: network.name(),
            ip_address: network.ipv4().map(|ip| ip.to_string()).unwrap_or_default(),
            global_ipv6_address: network.ipv6().map(|ip| ip.to_string()).unwrap_or_default(),
        };
        (network.name(), place)
    });
    all.collect()
}

/// Returns the network mode that a container was created with; if it is not known, the name of its only
/// network, else `""`.
pub(super) fn network_mode(container: &Container) -> &str {
    container.network_mode().unwrap_or_else(|| match container.networks() {
        [only] => only.name(),
        _ => "",
    })
}

/// Returns a time as dockerd writes it; Go's zero time if it is not known.
pub(super) fn moment(time: Option<SystemTime>) -> String {
    let time = time.and_then(|time| Timestamp::try_from(time).ok());
    time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())
}
