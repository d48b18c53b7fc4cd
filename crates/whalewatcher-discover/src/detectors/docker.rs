//! Docker, and podman with Docker's API.

use futures_core::future::BoxFuture;
use whalewatcher_core::{EngineError, Settings};
use whalewatcher_moby::{Builder, Client, Contexts};

use super::builtin::{configurable, detect};
use crate::detector::{Detected, Detector};
use crate::socket::Socket;

/// Detects Docker, and podman with Docker's API.
pub struct DockerDetector {
    configure: Box<dyn Fn(Builder) -> Builder + Send + Sync>,
}

configurable!(DockerDetector, Builder);

impl Detector for DockerDetector {
    fn processes(&self) -> &[&str] {
        &["dockerd", "podman"]
    }

    fn sockets(&self) -> &[&str] {
        &[
            "/var/run/docker.sock",
            "/run/docker.sock",
            "/run/user/*/docker.sock",
            "/run/podman/podman.sock",
            "/run/user/*/podman/podman.sock",
            // Docker Desktop, for Linux and for macOS.
            "~/.docker/desktop/docker.sock",
            "~/.docker/run/docker.sock",
        ]
    }

    fn detect<'a>(
        &'a self,
        socket: &'a Socket,
        settings: &'a Settings,
    ) -> BoxFuture<'a, Result<Detected, EngineError>> {
        Box::pin(async move {
            let builder = (self.configure)(Client::builder());
            let builder = match socket.path() {
                Some(path) => builder.endpoint(socket.endpoint()).socket(path),
                // With the certificates of the user's context, if the endpoint is that one's.
                None => match Contexts::from_env()?.current() {
                    Ok(context) if context.endpoint() == socket.endpoint() => builder.context(context),
                    _ => builder.endpoint(socket.endpoint()),
                },
            };
            let kept = socket.clone();
            let builder = builder.before_attempt(move || std::future::ready(kept.check()));
            detect(builder.build()?, socket, settings).await
        })
    }
}
