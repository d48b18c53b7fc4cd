//! What distinguishes the engines of a fleet.

use std::fmt;
use std::sync::Arc;

use super::escape::Printable;

/// Endpoint and type of an engine: what distinguishes the members of a [`Fleet`](crate::Fleet).
///
/// It is known before the first connection and never changes, also if another engine answers at the endpoint
/// later, which [`EngineIdentity`](crate::EngineIdentity) reports. Both parts are needed, because one socket
/// may serve several APIs: that of containerd serves its own and CRI. Clones share the texts. Keys are sorted
/// by endpoint, then by type.
///
/// ```
/// use whalewatcher_core::EngineKey;
///
/// let key = EngineKey::new("docker.com", "unix:///run/docker.sock");
/// assert_eq!(key.to_string(), "docker.com at unix:///run/docker.sock");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineKey {
    endpoint: Arc<str>,
    engine_type: Arc<str>,
}

impl EngineKey {
    /// Creates the key of an engine of this type at this endpoint.
    pub fn new(engine_type: impl Into<Arc<str>>, endpoint: impl Into<Arc<str>>) -> Self {
        Self { endpoint: endpoint.into(), engine_type: engine_type.into() }
    }

    /// Returns the engine's type, such as `docker.com`.
    #[must_use]
    pub fn engine_type(&self) -> &str {
        &self.engine_type
    }

    /// Returns the endpoint, such as `unix:///run/docker.sock`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the host of the endpoint in lower case, without user and port; empty for this host. Of an
    /// engine that its host publishes in etcd it is all but the last part of the endpoint, which is the
    /// engine's.
    #[must_use]
    pub fn host(&self) -> String {
        let Some((scheme, rest)) = self.endpoint.split_once("://") else { return String::new() };
        if scheme.starts_with("etcd") {
            return rest.rsplit_once('/').map_or(rest, |(host, _)| host).to_owned();
        }
        if !["tcp", "http", "https", "ssh"].contains(&scheme) {
            return String::new();
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = match authority.strip_prefix('[').and_then(|address| address.split_once(']')) {
            Some((address, _)) => address,
            None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
        };
        let is_loopback = host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        if is_loopback || host == "localhost" { String::new() } else { host.to_lowercase() }
    }
}

impl fmt::Debug for EngineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EngineKey({self})")
    }
}

impl fmt::Display for EngineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", Printable(&self.engine_type), Printable(&self.endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_by_endpoint_and_displayed_on_one_line() {
        let mut keys = [("b", "1"), ("a", "2"), ("a", "1")].map(|(kind, at)| EngineKey::new(kind, at));
        keys.sort();
        assert_eq!(keys.map(|key| key.to_string()), ["a at 1", "b at 1", "a at 2"]);
        assert_eq!(format!("{:?}", EngineKey::new("a", "1\n")), r"EngineKey(a at 1\n)");
    }

    fn host_of(endpoint: &str) -> String {
        EngineKey::new("docker.com", endpoint).host()
    }

    #[test]
    fn endpoints_of_this_host_have_no_host_and_others_have_theirs() {
        for here in [
            "unix:///run/docker.sock",
            "memory:",
            "tcp://127.0.0.1:2375",
            "tcp://[::1]:2375",
            "ssh://me@localhost",
        ] {
            assert_eq!(host_of(here), "", "{here}");
        }
        for there in [
            "tcp://Whale:2376",
            "ssh://me@whale",
            "ssh://me@whale:22/run/docker.sock",
            "https://whale/docker",
        ] {
            assert_eq!(host_of(there), "whale", "{there}");
        }
        assert_eq!(host_of("tcp://[fd00::2]:2375"), "fd00::2");
        assert_eq!(host_of("etcd://one:2379,two:2379/web-3/d0c"), "one:2379,two:2379/web-3");
    }
}
