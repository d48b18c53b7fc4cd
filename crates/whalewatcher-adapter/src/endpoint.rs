//! The unix socket of an engine.

use std::fmt;
use std::path::{Path, PathBuf};

use whalewatcher_core::{EngineError, ErrorKind, Printable};

use crate::engine::Engine;

/// The longest path of a unix socket, in bytes: `sockaddr_un` has room for 108 with the final NUL.
const MAX_SOCKET_PATH: usize = 107;

/// Checks that a unix socket can have this path.
///
/// # Errors
///
/// The reason why it cannot.
pub fn check_socket_path(path: &str) -> Result<(), String> {
    if path.contains('\0') {
        return Err("no path contains a NUL".into());
    }
    if path.len() > MAX_SOCKET_PATH {
        return Err(format!(
            "the socket's path has {} bytes and a unix socket's may have {MAX_SOCKET_PATH}: link to it from a shorter one",
            path.len()
        ));
    }
    Ok(())
}

/// The unix socket of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    engine: Engine,
    text: String,
    path: PathBuf,
}

impl Endpoint {
    /// Parses `unix:///path` or `/path`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if no socket can have this path. Whether a socket exists there is not checked.
    pub fn parse(engine: &Engine, text: &str) -> Result<Self, EngineError> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        let wrong = if path.contains("://") || path.is_empty() {
            Some(format!("{} has a unix socket: unix:///path or /path", engine.kind))
        } else if !path.starts_with('/') {
            Some(format!("the socket's path must be absolute, as in {}", engine.default_endpoint))
        } else {
            check_socket_path(path).err()
        };
        match wrong {
            None => Ok(Self { engine: *engine, text: format!("unix://{path}"), path: path.into() }),
            Some(why) => {
                let message = format!("endpoint '{}' cannot be used: {why}", Printable(text));
                Err(EngineError::new(ErrorKind::Configuration, message))
            }
        }
    }

    /// Keeps this endpoint as the name of an engine that is connected to at another path, as in the root of
    /// another process.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if the name is not a path, or if no socket can have the other path.
    pub fn parse_named(engine: &Engine, name: &str, path: &str) -> Result<Self, EngineError> {
        let reached = Self::parse(engine, path)?;
        match name.strip_prefix("unix://").unwrap_or(name) {
            named if named.starts_with('/') => Ok(Self { text: format!("unix://{named}"), ..reached }),
            _ => Self::parse(engine, name),
        }
    }

    /// Returns the kind of engine that is expected there.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the endpoint as a URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable(&self.text).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{CONTAINERD, RUNTIME};

    #[test]
    fn the_scheme_is_optional() {
        for text in ["/run/c.sock", "unix:///run/c.sock"] {
            let endpoint = Endpoint::parse(&CONTAINERD, text).unwrap();
            assert_eq!(
                (endpoint.as_str(), endpoint.path()),
                ("unix:///run/c.sock", Path::new("/run/c.sock"))
            );
        }
        assert_eq!(
            Endpoint::parse(&CONTAINERD, CONTAINERD.default_endpoint).unwrap().as_str(),
            CONTAINERD.default_endpoint
        );
    }

    #[test]
    fn invalid_endpoints_are_refused_with_a_reason() {
        let long = format!("/{}", "x".repeat(107));
        for (text, reason) in [
            ("", "unix:///path"),
            ("unix://", "unix:///path"),
            ("tcp://whale:1", "unix:///path"),
            ("containerd.sock", "must be absolute"),
            ("unix://run/c.sock", "must be absolute"),
            ("/a\0b", "NUL"),
            (long.as_str(), "108 bytes"),
            ("/\u{1b}\0", "NUL"),
        ] {
            let error = Endpoint::parse(&CONTAINERD, text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
            assert!(error.to_string().contains(reason), "{text}: {error}");
            assert!(!error.to_string().contains(['\0', '\u{1b}']), "{text}: {error}");
        }
        assert!(Endpoint::parse(&CONTAINERD, &format!("/{}", "x".repeat(106))).is_ok());
    }

    #[test]
    fn a_name_may_be_longer_than_a_path() {
        let name = format!("unix:///proc/1/root/{}", "x".repeat(107));
        let endpoint = Endpoint::parse_named(&CONTAINERD, &name, "/proc/self/fd/3/s").unwrap();
        assert_eq!((endpoint.as_str(), endpoint.path()), (name.as_str(), Path::new("/proc/self/fd/3/s")));
        for (name, path) in [("/run/c.sock", "c.sock"), ("tcp://whale:1", "/run/c.sock"), ("", "/run/c.sock")]
        {
            let error = Endpoint::parse_named(&CONTAINERD, name, path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{name} at {path}");
        }
    }

    #[test]
    fn reasons_name_the_expected_engine() {
        for (engine, begin) in
            [(CONTAINERD, "containerd has a unix socket"), (RUNTIME, "a runtime has a unix socket")]
        {
            let error = Endpoint::parse(&engine, "tcp://whale:1").unwrap_err();
            let text = format!("endpoint 'tcp://whale:1' cannot be used: {begin}: unix:///path or /path");
            assert_eq!(error.to_string(), text);
        }
    }
}
