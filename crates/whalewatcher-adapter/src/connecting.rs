//! Errors of connecting, each with a remedy.

use std::io;

use whalewatcher_core::{EngineError, ErrorKind};

use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::excerpt::Chain;

impl Engine {
    /// Describes why no connection to the endpoint was made, and what to do about it.
    #[must_use]
    pub fn connect_error(&self, endpoint: &Endpoint, error: io::Error) -> EngineError {
        use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound, PermissionDenied};
        let kind = self.kind;
        let (kind, message) = match error.kind() {
            NotFound | NotADirectory => {
                (ErrorKind::Unreachable, format!("no such socket: {endpoint}; is {kind} running?"))
            }
            ConnectionRefused => {
                (ErrorKind::Unreachable, format!("nothing listens at {endpoint}; is {kind} running?"))
            }
            PermissionDenied => (
                ErrorKind::PermissionDenied,
                format!(
                    "no permission to use {endpoint}: run as root, or as a user with write access to the socket"
                ),
            ),
            _ => (ErrorKind::Unreachable, format!("cannot connect to {endpoint}: {}", Chain(&error))),
        };
        EngineError::new(kind, message).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{CONTAINERD, RUNTIME};

    fn endpoint() -> Endpoint {
        Endpoint::parse(&CONTAINERD, "/run/c.sock").unwrap()
    }

    #[test]
    fn connect_errors_name_a_remedy() {
        for (error, kind, text) in [
            (
                io::ErrorKind::NotFound,
                ErrorKind::Unreachable,
                "no such socket: unix:///run/c.sock; is containerd",
            ),
            (
                io::ErrorKind::ConnectionRefused,
                ErrorKind::Unreachable,
                "nothing listens at unix:///run/c.sock",
            ),
            (
                io::ErrorKind::PermissionDenied,
                ErrorKind::PermissionDenied,
                "no permission to use unix:///run/c",
            ),
            (io::ErrorKind::WouldBlock, ErrorKind::Unreachable, "cannot connect to unix:///run/c.sock"),
        ] {
            let reported = CONTAINERD.connect_error(&endpoint(), error.into());
            assert_eq!(reported.kind(), kind);
            assert!(reported.to_string().starts_with(text), "{reported}");
        }
    }

    #[test]
    fn errors_use_the_engines_own_name() {
        let endpoint = endpoint();
        let reported = RUNTIME.connect_error(&endpoint, io::ErrorKind::NotFound.into()).to_string();
        assert_eq!(reported, "no such socket: unix:///run/c.sock; is a runtime running?");
    }
}
