//! Decodes networks and ports, which lists and inspections contain in different forms. What is malformed is skipped.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use whalewatcher_core::{Network, Port};

use crate::decode::json;
use crate::decode::labels::Text;
use crate::limits::{MAX_NETWORKS, MAX_PORTS};

/// The networks or ports that could be decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded<T> {
    pub(crate) values: Vec<T>,
    /// Whether none was skipped.
    is_complete: bool,
}

impl<T> Decoded<T> {
    /// Returns nothing, for what is malformed as a whole.
    fn malformed() -> Self {
        Self { values: Vec::new(), is_complete: false }
    }

    /// Returns the values if none was skipped.
    pub(crate) fn complete(self) -> Option<Vec<T>> {
        self.is_complete.then_some(self.values)
    }
}

/// Of lists and inspections: the endpoints by their networks' names.
pub(crate) fn networks(raw: &RawValue) -> Decoded<Network> {
    let Some(Entries(entries)) = json::lenient::<Entries<'_, MAX_NETWORKS>>(raw) else {
        return Decoded::malformed();
    };
    let mut decoded = Decoded { values: Vec::with_capacity(entries.len()), is_complete: true };
    for (name, endpoint) in entries {
        match json::lenient::<Option<Endpoint<'_>>>(endpoint) {
            Some(endpoint) => decoded.values.push(network(&name, endpoint.unwrap_or_default())),
            None => decoded.is_complete = false,
        }
    }
    decoded
}

fn network(name: &str, endpoint: Endpoint<'_>) -> Network {
    // Without an address the text is empty.
    let ipv4 = endpoint.ipv4.and_then(|text| text.parse().ok());
    let ipv6 = endpoint.ipv6.and_then(|text| text.parse().ok());
    Network::new(name).with_ipv4(ipv4).with_ipv6(ipv6)
}

#[derive(Deserialize, Default)]
struct Endpoint<'a> {
    #[serde(rename = "IPAddress", default, borrow)]
    ipv4: Option<Text<'a>>,
    #[serde(rename = "GlobalIPv6Address", default, borrow)]
    ipv6: Option<Text<'a>>,
}

/// Of a list: an array with an object for each port and address.
pub(crate) fn listed_ports(raw: &RawValue) -> Decoded<Port> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Listed<'a> {
        #[serde(rename = "IP", default, borrow)]
        address: Option<Text<'a>>,
        private_port: u16,
        #[serde(default)]
        public_port: Option<u16>,
        #[serde(rename = "Type", borrow)]
        protocol: Text<'a>,
    }
    let Some(entries) = json::lenient::<Vec<&RawValue>>(raw).filter(|entries| entries.len() <= MAX_PORTS)
    else {
        return Decoded::malformed();
    };
    let mut decoded = Decoded { values: Vec::with_capacity(entries.len()), is_complete: true };
    for entry in entries {
        let port = json::lenient::<Listed<'_>>(entry).and_then(|listed| {
            let port = Port::new(listed.private_port, listed.protocol.parse().ok()?);
            published(port, listed.address.as_deref(), listed.public_port.unwrap_or(0))
        });
        match port {
            Some(port) => decoded.values.push(port),
            None => decoded.is_complete = false,
        }
    }
    decoded
}

/// Of an inspection: an object by ports such as `80/tcp`, with the addresses at which each is published, or `null`.
pub(crate) fn inspected_ports(raw: &RawValue) -> Decoded<Port> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Binding<'a> {
        #[serde(default, borrow)]
        host_ip: Option<Text<'a>>,
        #[serde(default, borrow)]
        host_port: Option<Text<'a>>,
    }
    let Some(Entries(entries)) = json::lenient::<Entries<'_, MAX_PORTS>>(raw) else {
        return Decoded::malformed();
    };
    let mut decoded = Decoded { values: Vec::with_capacity(entries.len()), is_complete: true };
    for (key, bindings) in entries {
        let port = key
            .split_once('/')
            .and_then(|(number, protocol)| Some(Port::new(number.parse().ok()?, protocol.parse().ok()?)));
        let bindings = json::lenient::<Option<Vec<&RawValue>>>(bindings);
        let (Some(port), Some(bindings)) = (port, bindings) else {
            decoded.is_complete = false;
            continue;
        };
        let bindings = bindings.unwrap_or_default();
        if bindings.is_empty() {
            decoded.values.push(port);
        }
        for binding in bindings {
            let port = json::lenient::<Binding<'_>>(binding).and_then(|binding| {
                let public = binding.host_port.as_deref().filter(|public| !public.is_empty());
                published(port, binding.host_ip.as_deref(), public.unwrap_or("0").parse().ok()?)
            });
            match port {
                Some(port) if decoded.values.len() < MAX_PORTS => decoded.values.push(port),
                _ => decoded.is_complete = false,
            }
        }
    }
    decoded
}

/// Of podman's own list: an array of ranges of published ports.
pub(crate) fn mapped_ports(raw: &RawValue) -> Vec<Port> {
    #[derive(Deserialize)]
    struct Mapped<'a> {
        #[serde(default, borrow)]
        host_ip: Option<Text<'a>>,
        container_port: u16,
        #[serde(default)]
        host_port: u16,
        #[serde(default)]
        range: u16,
        #[serde(default, borrow)]
        protocol: Option<Text<'a>>,
    }
    let mut ports = Vec::new();
    for raw in json::lenient::<Option<Vec<&RawValue>>>(raw).flatten().unwrap_or_default() {
        let Some(mapped) = json::lenient::<Mapped<'_>>(raw) else { continue };
        let protocols = mapped.protocol.as_deref().unwrap_or("tcp");
        for protocol in protocols.split(',').filter_map(|protocol| protocol.parse().ok()) {
            for offset in 0..mapped.range.max(1) {
                let numbers =
                    mapped.container_port.checked_add(offset).zip(mapped.host_port.checked_add(offset));
                let Some((private, public)) = numbers.filter(|_| ports.len() < MAX_PORTS) else { break };
                ports.extend(published(Port::new(private, protocol), mapped.host_ip.as_deref(), public));
            }
        }
    }
    ports
}

/// Returns where a port is published. Port 0 means that it is not; podman omits the address if it is any.
fn published(port: Port, address: Option<&str>, public: u16) -> Option<Port> {
    if public == 0 {
        return Some(port);
    }
    let address = match address.filter(|address| !address.is_empty()) {
        Some(address) => address.parse().ok()?,
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    Some(port.published_at(address, public))
}

/// The keys and values of an object, at most so many; none of `null`.
struct Entries<'a, const MAX: usize>(Vec<(Text<'a>, &'a RawValue)>);

impl<'de: 'a, 'a, const MAX: usize> Deserialize<'de> for Entries<'a, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<const MAX: usize>;

        impl<'de, const MAX: usize> Visitor<'de> for Pairs<MAX> {
            type Value = Entries<'de, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object, or null")
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Entries(Vec::new()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    if entries.len() == MAX {
                        return Err(A::Error::custom(format_args!("more than {MAX} entries")));
                    }
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_any(Pairs::<MAX>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn shown(ports: &Decoded<Port>) -> (Vec<String>, bool) {
        let mut shown: Vec<_> = ports.values.iter().map(ToString::to_string).collect();
        shown.sort();
        (shown, ports.is_complete)
    }

    #[test]
    fn networks_have_their_addresses() {
        let json = r#"{"shop":{"IPAddress":"172.18.0.2","GlobalIPv6Address":"fd00::2","Links":null,"GwPriority":0},
            "none":{"IPAddress":"","GlobalIPv6Address":""},"later":{},"null":null}"#;
        let shop =
            Network::new("shop").with_ipv4("172.18.0.2".parse().ok()).with_ipv6("fd00::2".parse().ok());
        let others = ["none", "later", "null"].map(Network::new);
        assert_eq!(networks(&raw(json)).complete().unwrap(), [&[shop][..], &others].concat());
        assert_eq!(networks(&raw("null")).complete(), Some(Vec::new()));
    }

    #[test]
    fn malformed_networks_are_skipped() {
        let json = r#"{"a":7,"b":{"IPAddress":7},"c":{"IPAddress":"nowhere"},"d":"","e":{"IPAddress":"","IPAddress":""}}"#;
        let decoded = networks(&raw(json));
        assert_eq!((decoded.values.as_slice(), decoded.is_complete), (&[Network::new("c")][..], false));
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for malformed in ["7", "[]", "\"\"", &deep, &format!(r#"{{"a":{deep}}}"#)] {
            assert_eq!(networks(&raw(malformed)), Decoded::malformed(), "{malformed:.80}");
        }
    }

    #[test]
    fn a_list_and_an_inspection_show_the_same_ports() {
        let listed = r#"[{"PrivatePort":99,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
            {"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"","PrivatePort":9,"Type":"sctp"},
            {"IP":"127.0.0.1","PrivatePort":53,"PublicPort":5353,"Type":"udp"},{"PrivatePort":7,"PublicPort":7,"Type":"udp"}]"#;
        let inspected = r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}],
            "99/tcp":null,"9/sctp":[],"53/udp":[{"HostIp":"127.0.0.1","HostPort":"5353"}],
            "7/udp":[{"HostIp":"","HostPort":"7"}]}"#;
        let expected = [
            "0.0.0.0:7->7/udp",
            "0.0.0.0:8080->80/tcp",
            "127.0.0.1:5353->53/udp",
            "9/sctp",
            "99/tcp",
            "[::]:8080->80/tcp",
        ];
        let expected = (expected.map(str::to_owned).to_vec(), true);
        assert_eq!(shown(&listed_ports(&raw(listed))), expected);
        assert_eq!(shown(&inspected_ports(&raw(inspected))), expected);
        let none = (Vec::new(), true);
        assert_eq!(shown(&listed_ports(&raw("[]"))), none);
        assert_eq!(shown(&inspected_ports(&raw("{}"))), none);
        assert_eq!(shown(&inspected_ports(&raw("null"))), none);
    }

    #[test]
    fn malformed_ports_are_skipped() {
        let listed = r#"[7,{},{"PrivatePort":-1,"Type":"tcp"},{"PrivatePort":65536,"Type":"tcp"},{"PrivatePort":1},
            {"PrivatePort":1,"Type":"quic"},{"IP":"x","PrivatePort":1,"PublicPort":1,"Type":"tcp"},
            {"PrivatePort":1,"Type":"tcp"}]"#;
        let inspected = r#"{"x":null,"80":null,"-1/tcp":null,"65536/tcp":null,"1/quic":null,"2/tcp":7,"3/tcp":[7],
            "4/tcp":[{"HostIp":"x","HostPort":"1"},{"HostIp":"","HostPort":"x"}],"1/tcp":null}"#;
        let expected = (vec!["1/tcp".to_owned()], false);
        assert_eq!(shown(&listed_ports(&raw(listed))), expected);
        assert_eq!(shown(&inspected_ports(&raw(inspected))), expected);
        for malformed in ["7", "\"\""] {
            assert_eq!(listed_ports(&raw(malformed)), Decoded::malformed());
            assert_eq!(inspected_ports(&raw(malformed)), Decoded::malformed());
        }
        assert_eq!(listed_ports(&raw("{}")), Decoded::malformed());
        assert_eq!(inspected_ports(&raw("[]")), Decoded::malformed());
    }

    #[test]
    fn of_more_than_the_limit_none_is_taken() {
        let object = |entry: &str, count| format!("{{{}}}", vec![entry; count].join(","));
        for (count, taken) in [(MAX_NETWORKS, MAX_NETWORKS), (MAX_NETWORKS + 1, 0)] {
            assert_eq!(networks(&raw(&object(r#""a":null"#, count))).values.len(), taken);
        }
        for (count, taken) in [(MAX_PORTS, MAX_PORTS), (MAX_PORTS + 1, 0)] {
            assert_eq!(inspected_ports(&raw(&object(r#""1/tcp":null"#, count))).values.len(), taken);
            let list = format!("[{}]", vec![r#"{"PrivatePort":1,"Type":"tcp"}"#; count].join(","));
            assert_eq!(listed_ports(&raw(&list)).values.len(), taken);
        }
        let bindings = vec![r#"{"HostPort":"1"}"#; MAX_PORTS + 1].join(",");
        let ports = inspected_ports(&raw(&format!(r#"{{"1/tcp":[{bindings}]}}"#)));
        assert_eq!((ports.values.len(), ports.is_complete), (MAX_PORTS, false));
    }
}
