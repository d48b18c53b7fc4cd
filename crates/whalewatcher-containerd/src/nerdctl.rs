//! Decodes nerdctl's labels. containerd itself has no names, networks and ports.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use serde::Deserialize;
use whalewatcher_core::{Network, Port};

/// The label with a container's name.
pub(crate) const NAME: &str = "nerdctl/name";

/// The label with the names of a container's networks, as JSON. No label has the addresses: `nerdctl/ip` and
/// `nerdctl/ip6` are those that were asked for, and nerdctl itself reads the others from the container's
/// network namespace.
const NETWORKS: &str = "nerdctl/networks";

/// The label with a container's published ports, as JSON. containerd accepts labels of 4 KiB, so newer
/// versions of nerdctl keep them in a file instead: <https://github.com/containerd/nerdctl/pull/4290>.
const PORTS: &str = "nerdctl/ports";

/// A published port, as go-cni's `PortMapping` is encoded.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mapping<'a> {
    host_port: i64,
    container_port: i64,
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    #[serde(borrow, rename = "HostIP")]
    host_ip: Cow<'a, str>,
}

impl Mapping<'_> {
    fn port(&self) -> Option<Port> {
        let port = |number: i64| u16::try_from(number).ok().filter(|number| *number != 0);
        let address: IpAddr = self.host_ip.parse().ok()?;
        let private = Port::new(port(self.container_port)?, self.protocol.parse().ok()?);
        Some(private.published_at(address, port(self.host_port)?))
    }
}

/// Returns the networks of a container, without its addresses. What is malformed is left out.
pub(crate) fn networks(labels: &HashMap<String, String>) -> impl Iterator<Item = Network> + use<> {
    let names: Vec<String> = decoded(labels, NETWORKS);
    // A container can also share the namespace of another one (`container:ID`), or have one of its own (`ns:PATH`).
    let names = names.into_iter().filter(|name| !name.is_empty() && !name.contains([':', '/']));
    names.map(Network::new)
}

/// Returns the published ports of a container. What is malformed is left out.
pub(crate) fn ports(labels: &HashMap<String, String>) -> Vec<Port> {
    let mappings: Vec<Mapping<'_>> = decoded(labels, PORTS);
    mappings.iter().filter_map(Mapping::port).collect()
}

fn decoded<'a, T: Deserialize<'a>>(labels: &'a HashMap<String, String>, label: &str) -> Vec<T> {
    let Some(text) = labels.get(label) else { return Vec::new() };
    // Go writes `null` for none.
    let entries: Option<Vec<T>> = serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::debug!(label, %error, "cannot decode a label of nerdctl");
        None
    });
    entries.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(key: &str, value: &str) -> HashMap<String, String> {
        HashMap::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn networks_have_names_and_no_addresses() {
        for (value, expected) in [
            (r#"["bridge"]"#, &["bridge"][..]),
            (r#"["shop_default","bridge"]"#, &["shop_default", "bridge"]),
            (r#"["host"]"#, &["host"]),
            (r#"["container:4b1ab74f"]"#, &[]),
            (r#"["ns:/run/netns/x",""]"#, &[]),
            (r#"["a\u0062"]"#, &["ab"]),
            ("[]", &[]),
            ("null", &[]),
            ("", &[]),
            ("bridge", &[]),
            (r#"{"bridge":{}}"#, &[]),
            (r#"["bridge",7]"#, &[]),
            (r#"["bridge""#, &[]),
        ] {
            let networks: Vec<_> = networks(&label("nerdctl/networks", value)).collect();
            let expected: Vec<_> = expected.iter().map(|name| Network::new(*name)).collect();
            assert_eq!(networks, expected, "{value}");
        }
        assert_eq!(networks(&HashMap::new()).count(), 0);
    }

    #[test]
    fn ports_are_published_at_an_address() {
        let mapping = r#"{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"0.0.0.0"}"#;
        let v6 = r#"{"HostPort":53,"ContainerPort":53,"Protocol":"udp","HostIP":"::","More":[1]}"#;
        let text = |value: &str| -> Vec<String> {
            ports(&label("nerdctl/ports", value)).iter().map(ToString::to_string).collect()
        };
        assert_eq!(text(&format!("[{mapping},{v6}]")), ["0.0.0.0:8080->80/tcp", "[::]:53->53/udp"]);
        for (of, wrong) in [
            ("8080", "0"),
            ("8080", "-1"),
            ("8080", "65536"),
            ("80,", "65616,"),
            ("tcp", "icmp"),
            ("0.0.0.0", "localhost"),
            ("0.0.0.0", ""),
        ] {
            let odd = mapping.replacen(of, wrong, 1);
            assert_ne!(odd, mapping);
            assert_eq!(text(&format!("[{odd},{v6}]")), ["[::]:53->53/udp"], "{odd}");
        }
        for odd in ["null", "[]", "", "{}", "[{}]", "[null]", r#"[{"HostPort":"8080"}]"#, "[[", mapping] {
            assert_eq!(text(odd), [""; 0], "{odd}");
        }
    }
}
