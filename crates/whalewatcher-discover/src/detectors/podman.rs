//! podman, through its own API.

use futures_core::future::BoxFuture;
use whalewatcher_core::{EngineError, Settings};
use whalewatcher_podman::{Builder, Client};

use super::builtin::{configurable, detect};
use crate::detector::{Detected, Detector};
use crate::socket::Socket;

/// Detects podman, and watches it through its own API.
pub struct PodmanDetector {
    configure: Box<dyn Fn(Builder) -> Builder + Send + Sync>,
}

configurable!(PodmanDetector, Builder);

impl Detector for PodmanDetector {
    fn processes(&self) -> &[&str] {
        &["podman"]
    }

    fn sockets(&self) -> &[&str] {
        &[
            "/run/podman/podman.sock",
            "/run/user/*/podman/podman.sock",
            // Linked to podman's by its package for users of Docker's tools.
            "/var/run/docker.sock",
            "/run/docker.sock",
        ]
    }

    fn detect<'a>(
        &'a self,
        socket: &'a Socket,
        settings: &'a Settings,
    ) -> BoxFuture<'a, Result<Detected, EngineError>> {
        Box::pin(async move {
            let builder = (self.configure)(Client::builder()).endpoint(socket.endpoint());
            let builder = match socket.path() {
                Some(path) => builder.socket(path),
                None => builder,
            };
            let kept = socket.clone();
            let builder = builder.before_attempt(move || std::future::ready(kept.check()));
            detect(builder.build()?, socket, settings).await
        })
    }
}
