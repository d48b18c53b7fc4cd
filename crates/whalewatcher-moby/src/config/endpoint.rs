//! Endpoints of engines: parsing and validation.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use http::uri::Authority;
use whalewatcher_adapter::check_socket_path;
use whalewatcher_core::{EngineError, ErrorKind, Printable};

use crate::config::ssh_target::SshTarget;

/// Docker's default endpoint.
pub(crate) const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";

const SUPPORTED: &str = "unix:///path, /path, tcp://host:port, http://host:port, https://host:port or \
     ssh://user@host is supported";

/// The endpoint of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    text: String,
    address: Address,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp {
        /// A name or an IP address, without brackets.
        host: String,
        port: u16,
        /// Whether to use TLS.
        secure: bool,
    },
    Ssh(SshTarget),
}

impl Endpoint {
    /// Parses an endpoint. `tls` decides whether `tcp://` uses TLS.
    pub(crate) fn parse(text: &str, tls: bool) -> Result<Self, EngineError> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None if text.starts_with('/') => ("unix", text),
            None => return Err(wrong(text, SUPPORTED)),
        };
        match scheme {
            "unix" => Self::unix(text, rest),
            "tcp" => Self::tcp(text, rest, tls, if tls { 2376 } else { 2375 }),
            "http" if tls => Err(wrong(text, "TLS is required: use tcp:// or https://")),
            "http" => Self::tcp(text, rest, false, 80),
            "https" => Self::tcp(text, rest, true, 443),
            "ssh" => Self::ssh(text, rest),
            "npipe" | "fd" => Err(wrong(text, &format!("{scheme}:// is not supported, while {SUPPORTED}"))),
            _ => Err(wrong(text, SUPPORTED)),
        }
    }

    /// Parses the name of an engine that is connected to at the socket with this path.
    pub(crate) fn unix_named(text: &str, path: &str) -> Result<Self, EngineError> {
        let name = text.strip_prefix("unix://").unwrap_or(text);
        if !name.starts_with('/') {
            return Err(wrong(text, "an engine with another socket is named unix:///path"));
        }
        Ok(Self { text: format!("unix://{name}"), ..Self::unix(path, path)? })
    }

    fn unix(text: &str, path: &str) -> Result<Self, EngineError> {
        if !path.starts_with('/') {
            let meant = if path.is_empty() { "run/docker.sock" } else { path };
            let message = format!("the socket's path must be absolute, as in unix:///{}", Printable(meant));
            return Err(wrong(text, &message));
        }
        check_socket_path(path).map_err(|why| wrong(text, &why))?;
        Ok(Self { text: format!("unix://{path}"), address: Address::Unix(path.into()) })
    }

    fn tcp(text: &str, rest: &str, secure: bool, default_port: u16) -> Result<Self, EngineError> {
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let authority: Authority =
            rest.parse().map_err(|_| wrong(text, "after the scheme comes host:port and nothing else"))?;
        if rest.contains('@') {
            return Err(wrong(text, "it must not contain a user name"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = match rest.strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':')) {
            None => Some(default_port),
            Some(port) => port.parse().ok().filter(|port| *port != 0),
        };
        let port = port.ok_or_else(|| wrong(text, "the port must be a number from 1 to 65535"))?;
        if host.is_empty() {
            return Err(wrong(text, "the host is missing"));
        }
        Ok(Self { text: text.into(), address: Address::Tcp { host: host.into(), port, secure } })
    }

    fn ssh(text: &str, rest: &str) -> Result<Self, EngineError> {
        if cfg!(not(feature = "ssh")) {
            let why = "ssh:// needs the feature `ssh` of whalewatcher-moby: build with it";
            return Err(wrong(text, why));
        }
        let target = SshTarget::parse(rest).map_err(|why| wrong(text, why))?;
        Ok(Self { text: text.into(), address: Address::Ssh(target) })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Whether to use TLS.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self.address, Address::Tcp { secure: true, .. })
    }

    /// Whether to use TCP without TLS.
    pub(crate) fn is_plain_tcp(&self) -> bool {
        matches!(self.address, Address::Tcp { secure: false, .. })
    }

    /// The endpoint as a URL.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The `Host` header. A socket has no host, but Go's server requires a well-formed one.
    pub(crate) fn authority(&self) -> String {
        match &self.address {
            Address::Unix(_) | Address::Ssh(_) => "docker".into(),
            Address::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable(&self.text).fmt(f)
    }
}

fn wrong(text: &str, why: &str) -> EngineError {
    let message = format!("endpoint '{}' cannot be used: {why}", Printable(&without_password(text)));
    EngineError::new(ErrorKind::Configuration, message)
}

/// Replaces a password by stars.
pub(crate) fn without_password(text: &str) -> Cow<'_, str> {
    let begin = text.find("://").map_or(0, |at| at + "://".len());
    match text[begin..].rfind('@').map(|at| begin + at) {
        Some(at) => match text[begin..at].find(':') {
            Some(colon) => format!("{}:***{}", &text[..begin + colon], &text[at..]).into(),
            None => text.into(),
        },
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.into(), port, secure: false }
    }

    #[test]
    fn endpoints_are_parsed() {
        for (text, address, endpoint, authority) in [
            ("unix:///run/d.sock", Address::Unix("/run/d.sock".into()), "unix:///run/d.sock", "docker"),
            ("/run/d.sock", Address::Unix("/run/d.sock".into()), "unix:///run/d.sock", "docker"),
            ("tcp://10.0.0.1:2375", tcp("10.0.0.1", 2375), "tcp://10.0.0.1:2375", "10.0.0.1:2375"),
            ("tcp://whale", tcp("whale", 2375), "tcp://whale", "whale:2375"),
            ("tcp://whale:2375/", tcp("whale", 2375), "tcp://whale:2375/", "whale:2375"),
            ("http://whale", tcp("whale", 80), "http://whale", "whale:80"),
            ("http://[::1]:99", tcp("::1", 99), "http://[::1]:99", "[::1]:99"),
        ] {
            let parsed = Endpoint::parse(text, false).unwrap();
            assert_eq!((parsed.address(), parsed.as_str()), (&address, endpoint), "{text}");
            assert_eq!(parsed.authority(), authority, "{text}");
        }
    }

    #[test]
    fn an_unusable_endpoint_is_refused_with_a_reason() {
        let long = format!("unix:///{}", "x".repeat(107));
        for (text, reason) in [
            ("", "unix:///path"),
            ("docker.sock", "unix:///path"),
            ("unix://run/d.sock", "must be absolute, as in unix:///run/d.sock"),
            ("unix://", "must be absolute"),
            ("unix:///a\0b", "NUL"),
            (long.as_str(), "108 bytes"),
            ("npipe:////./pipe/docker_engine", "npipe:// is not supported"),
            ("fd://", "fd:// is not supported"),
            ("ftp://whale", "unix:///path"),
            ("tcp://", "host:port"),
            ("tcp://:2375", "host"),
            ("tcp://whale:", "port"),
            ("tcp://whale:0", "port"),
            ("tcp://whale:70000", "port"),
            ("tcp://whale:2375/docker", "host:port and nothing else"),
            ("tcp://me@whale:2375", "user name"),
            ("tcp://me:secret@whale:2375", "endpoint 'tcp://me:***@whale:2375' cannot be used"),
            ("tcp://me:se@cr/et@whale:2375", "tcp://me:***@whale:2375"),
            ("me:secret@whale", "me:***@whale"),
            ("tcp://wh ale", "host:port"),
        ] {
            let error = Endpoint::parse(text, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
            assert!(error.to_string().contains(reason), "{text}: {error}");
            assert!(!error.to_string().contains(['\n', '\0']), "{text}: {error}");
            assert!(
                ["secret", "cr/et"].iter().all(|part| !error.to_string().contains(part)),
                "{text}: {error}"
            );
        }
    }

    #[cfg(feature = "ssh")]
    #[test]
    fn ssh_is_parsed_and_a_password_in_it_is_refused_unprinted() {
        let endpoint = Endpoint::parse("ssh://me@whale:22", false).unwrap();
        assert_eq!((endpoint.as_str(), &*endpoint.authority()), ("ssh://me@whale:22", "docker"));
        assert!(!endpoint.is_secure() && !endpoint.is_plain_tcp());
        let error = Endpoint::parse("ssh://me:secret@whale", false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(
            error.to_string().starts_with("endpoint 'ssh://me:***@whale' cannot be used: a password"),
            "{error}"
        );
    }

    #[cfg(not(feature = "ssh"))]
    #[test]
    fn ssh_without_the_feature_is_refused() {
        let error = Endpoint::parse("ssh://me@whale", false).unwrap_err().to_string();
        assert!(error.contains("needs the feature `ssh`"), "{error}");
    }

    #[test]
    fn a_socket_path_of_the_longest_length_is_accepted() {
        assert!(Endpoint::parse(&format!("/{}", "x".repeat(106)), false).is_ok());
    }

    #[test]
    fn https_and_tcp_on_request_use_tls() {
        for (text, tls, expected) in [
            ("tcp://whale", true, ("whale", 2376, true)),
            ("tcp://whale:1", true, ("whale", 1, true)),
            ("https://whale", false, ("whale", 443, true)),
            ("https://whale", true, ("whale", 443, true)),
            ("http://whale", false, ("whale", 80, false)),
        ] {
            let endpoint = Endpoint::parse(text, tls).unwrap();
            let (host, port, secure) = expected;
            assert_eq!(endpoint.address(), &Address::Tcp { host: host.into(), port, secure }, "{text}");
            assert_eq!(endpoint.is_secure(), secure);
        }
        assert!(!Endpoint::parse("/run/d.sock", true).unwrap().is_secure());
        let error = Endpoint::parse("http://whale", true).unwrap_err().to_string();
        assert!(error.ends_with("TLS is required: use tcp:// or https://"), "{error}");
    }
}
