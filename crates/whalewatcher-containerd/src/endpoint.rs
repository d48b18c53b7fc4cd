//! Where containerd is reached.

use std::fmt;
use std::path::{Path, PathBuf};

use whalewatcher_core::{EngineError, ErrorKind, Printable};

/// Where containerd is when nobody says otherwise.
pub(crate) const DEFAULT_ENDPOINT: &str = "unix:///run/containerd/containerd.sock";

/// What the path of a unix socket may be long, in bytes: `sockaddr_un` has 108 with the final NUL.
const MAX_SOCKET_PATH: usize = 107;

/// The unix socket of a containerd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    text: String,
    path: PathBuf,
}

impl Endpoint {
    /// Takes an endpoint as people write it.
    pub(crate) fn parse(text: &str) -> Result<Self, EngineError> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        let wrong = if path.contains("://") || path.is_empty() {
            Some("containerd has a unix socket: unix:///path or /path".into())
        } else if !path.starts_with('/') {
            Some("the socket's path must be absolute, as in unix:///run/containerd/containerd.sock".into())
        } else if path.contains('\0') {
            Some("no path contains a NUL".into())
        } else if path.len() > MAX_SOCKET_PATH {
            Some(format!(
                "the socket's path has {} bytes and a unix socket's may have {MAX_SOCKET_PATH}: link to it from a \
                 shorter one",
                path.len()
            ))
        } else {
            None
        };
        match wrong {
            None => Ok(Self { text: format!("unix://{path}"), path: path.into() }),
            Some(why) => {
                let message = format!("endpoint '{}' cannot be used: {why}", Printable(text));
                Err(EngineError::new(ErrorKind::Configuration, message))
            }
        }
    }

    /// As an URL.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn path(&self) -> &Path {
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

    #[test]
    fn a_socket_is_written_with_or_without_a_scheme() {
        for text in ["/run/c.sock", "unix:///run/c.sock"] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(
                (endpoint.as_str(), endpoint.path()),
                ("unix:///run/c.sock", Path::new("/run/c.sock"))
            );
        }
        assert_eq!(Endpoint::parse(DEFAULT_ENDPOINT).unwrap().as_str(), DEFAULT_ENDPOINT);
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_reason() {
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
            let error = Endpoint::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
            assert!(error.to_string().contains(reason), "{text}: {error}");
            assert!(!error.to_string().contains(['\0', '\u{1b}']), "{text}: {error}");
        }
        assert!(Endpoint::parse(&format!("/{}", "x".repeat(106))).is_ok());
    }
}
