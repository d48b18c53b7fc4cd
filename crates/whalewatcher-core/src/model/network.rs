//! The networks and ports of a container.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use super::shared;

/// A network that a container is connected to.
///
/// ```
/// use whalewatcher_core::Network;
///
/// let network = Network::new("shop_default").with_ipv4("172.18.0.2".parse().ok());
/// assert_eq!(network.name(), "shop_default");
/// assert!(network.ipv4().is_some() && network.ipv6().is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Network {
    name: Arc<str>,
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    ipv4: Option<Ipv4Addr>,
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    ipv6: Option<Ipv6Addr>,
}

impl Network {
    /// Creates a network without addresses.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self { name: shared::text(name.as_ref()), ipv4: None, ipv6: None }
    }

    /// Sets the container's IPv4 address.
    #[must_use]
    pub fn with_ipv4(mut self, ipv4: Option<Ipv4Addr>) -> Self {
        self.ipv4 = ipv4;
        self
    }

    /// Sets the container's global IPv6 address.
    #[must_use]
    pub fn with_ipv6(mut self, ipv6: Option<Ipv6Addr>) -> Self {
        self.ipv6 = ipv6;
        self
    }

    /// Returns the network's name; `""` where an engine has one network without a name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the container's IPv4 address in this network, if it has one.
    #[must_use]
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.ipv4
    }

    /// Returns the container's IPv6 address in this network, if it has one.
    #[must_use]
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.ipv6
    }
}

/// A port that a container exposes, and where it is published if it is: one value for each address.
///
/// ```
/// use whalewatcher_core::{Port, Protocol};
///
/// let port = Port::new(80, Protocol::Tcp);
/// assert_eq!(port.to_string(), "80/tcp");
/// assert_eq!(port.published_at("0.0.0.0".parse().unwrap(), 8080).to_string(), "0.0.0.0:8080->80/tcp");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    private: u16,
    protocol: Protocol,
    public: Option<(IpAddr, u16)>,
}

impl Port {
    /// Creates a port that is not published.
    #[must_use]
    pub fn new(private: u16, protocol: Protocol) -> Self {
        Self { private, protocol, public: None }
    }

    /// Sets the host's address and port at which it is published.
    #[must_use]
    pub fn published_at(mut self, address: IpAddr, public: u16) -> Self {
        self.public = Some((address, public));
        self
    }

    /// Returns the port within the container.
    #[must_use]
    pub fn private(&self) -> u16 {
        self.private
    }

    /// Returns the protocol.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Returns the host's port, if it is published.
    #[must_use]
    pub fn public(&self) -> Option<u16> {
        self.public.map(|(_, port)| port)
    }

    /// Returns the host's address at which it is published, such as `0.0.0.0`, if it is.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.public.map(|(address, _)| address)
    }
}

/// As `docker ps` writes it: `0.0.0.0:8080->80/tcp`, or `80/tcp` if it is not published.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.public {
            Some((IpAddr::V6(address), port)) => write!(f, "[{address}]:{port}->")?,
            Some((IpAddr::V4(address), port)) => write!(f, "{address}:{port}->")?,
            None => {}
        }
        write!(f, "{}/{}", self.private, self.protocol)
    }
}

/// The protocol of a [`Port`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Returns `tcp`, `udp` or `sctp`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is no [`Protocol`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown protocol '{}'; known are tcp, udp and sctp", super::escape::Printable(.0))]
pub struct UnknownProtocol(String);

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    /// Accepts both cases, for CRI has upper case.
    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        let mut all = [Self::Tcp, Self::Udp, Self::Sctp].into_iter();
        let known = all.find(|protocol| protocol.as_str().eq_ignore_ascii_case(text));
        known.ok_or_else(|| UnknownProtocol(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_as_docker_does() {
        let published = Port::new(53, Protocol::Udp).published_at(Ipv6Addr::UNSPECIFIED.into(), 5353);
        assert_eq!(published.to_string(), "[::]:5353->53/udp");
        assert_eq!((published.public(), published.private()), (Some(5353), 53));
    }

    #[test]
    fn an_unknown_protocol_is_named() {
        assert_eq!("SCTP".parse(), Ok(Protocol::Sctp));
        let error = "x\n".parse::<Protocol>().unwrap_err().to_string();
        assert_eq!(error, r"unknown protocol 'x\n'; known are tcp, udp and sctp");
    }
}
