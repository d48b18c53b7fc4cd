//! The ports of a container, as `docker ps` writes them.

use std::fmt::Write;
use std::net::IpAddr;

use whalewatcher_core::{Port, Protocol};

/// Ports in a row that are published under the same numbers at one address, or not published.
struct Range {
    address: Option<IpAddr>,
    protocol: Protocol,
    first: u16,
    last: u16,
}

/// Returns ports such as `0.0.0.0:80->8080/tcp, 53/udp`. Ranges are joined, such as `8080-8082/tcp`; ports
/// that are published under another number come last.
pub(crate) fn ports(ports: &[Port]) -> String {
    let mut ranges: Vec<Range> = Vec::new();
    let mut mapped = Vec::new();
    let mut sorted = ports.to_vec();
    sorted.sort_by_key(|port| (port.private(), port.address(), port.public(), port.protocol()));
    for port in sorted {
        let current = port.private();
        if port.public().is_some_and(|public| public != current) {
            mapped.push(port.to_string());
            continue;
        }
        let range = ranges
            .iter_mut()
            .rev()
            .find(|range| (range.address, range.protocol) == (port.address(), port.protocol()));
        match range {
            Some(range) if current == range.last || Some(current) == range.last.checked_add(1) => {
                range.last = current;
            }
            _ => ranges.push(Range {
                address: port.address(),
                protocol: port.protocol(),
                first: current,
                last: current,
            }),
        }
    }
    let ranges = ranges.iter().map(Range::text);
    ranges.chain(mapped).collect::<Vec<_>>().join(", ")
}

impl Range {
    fn text(&self) -> String {
        let mut numbers = self.first.to_string();
        if self.first != self.last {
            let _ = write!(numbers, "-{}", self.last);
        }
        match self.address {
            Some(IpAddr::V6(address)) => format!("[{address}]:{numbers}->{numbers}/{}", self.protocol),
            Some(IpAddr::V4(address)) => format!("{address}:{numbers}->{numbers}/{}", self.protocol),
            None => format!("{numbers}/{}", self.protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_and_joined_as_docker_does() {
        let tcp = |port| Port::new(port, Protocol::Tcp);
        let any: [IpAddr; 2] = ["0.0.0.0".parse().unwrap(), "::".parse().unwrap()];
        assert_eq!(ports(&[]), "");
        assert_eq!(ports(&[Port::new(53, Protocol::Udp), tcp(80)]), "53/udp, 80/tcp");
        let published = [tcp(80).published_at(any[0], 8080), tcp(80).published_at(any[1], 8080), tcp(443)];
        assert_eq!(ports(&published), "443/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
        let range = [8082, 8080, 8081, 9000].map(|port| tcp(port).published_at(any[0], port));
        assert_eq!(ports(&range), "0.0.0.0:8080-8082->8080-8082/tcp, 0.0.0.0:9000->9000/tcp");
        assert_eq!(ports(&[tcp(u16::MAX), tcp(1)]), "1/tcp, 65535/tcp");
    }
}
