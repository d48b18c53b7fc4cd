//! What kept a connection from being made, in words that say what to do.

use std::io;

use whalewatcher_core::{EngineError, ErrorKind};

use crate::endpoint::Endpoint;
use crate::engine::Engine;
use crate::excerpt::Chain;

impl Engine {
    /// No connection could be made.
    #[must_use]
    pub fn of_connecting(&self, endpoint: &Endpoint, error: io::Error) -> EngineError {
        use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound, PermissionDenied};
        let kind = self.kind;
        let (kind, message) = match error.kind() {
            NotFound | NotADirectory => {
                (ErrorKind::Unreachable, format!("no such socket: {endpoint}: is {kind} running?"))
            }
            ConnectionRefused => {
                (ErrorKind::Unreachable, format!("nobody listens at {endpoint}: is {kind} running?"))
            }
            PermissionDenied => (
                ErrorKind::PermissionDenied,
                format!(
                    "no permission to use {endpoint}: run as root, or as one who may write to that socket"
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
    fn the_operating_systems_errors_are_reported_with_a_remedy() {
        for (error, kind, text) in [
            (
                io::ErrorKind::NotFound,
                ErrorKind::Unreachable,
                "no such socket: unix:///run/c.sock: is containerd",
            ),
            (
                io::ErrorKind::ConnectionRefused,
                ErrorKind::Unreachable,
                "nobody listens at unix:///run/c.sock",
            ),
            (
                io::ErrorKind::PermissionDenied,
                ErrorKind::PermissionDenied,
                "no permission to use unix:///run/c",
            ),
            (io::ErrorKind::WouldBlock, ErrorKind::Unreachable, "cannot connect to unix:///run/c.sock"),
        ] {
            let reported = CONTAINERD.of_connecting(&endpoint(), error.into());
            assert_eq!(reported.kind(), kind);
            assert!(reported.to_string().starts_with(text), "{reported}");
        }
    }

    #[test]
    fn an_engine_is_called_as_it_wants_to_be() {
        let endpoint = endpoint();
        let reported = RUNTIME.of_connecting(&endpoint, io::ErrorKind::NotFound.into()).to_string();
        assert_eq!(reported, "no such socket: unix:///run/c.sock: is a runtime running?");
    }
}
