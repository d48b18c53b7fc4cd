//! containerd, in all its namespaces but those that its client ignores.

use futures_core::future::BoxFuture;
use whalewatcher_containerd::{Builder, Client};
use whalewatcher_core::{EngineError, ErrorKind, Settings};

use super::builtin::{configurable, detect};
use crate::detector::{Detected, Detector};
use crate::socket::Socket;

/// Detects containerd, in all its namespaces but those that its client ignores.
pub struct ContainerdDetector {
    configure: Box<dyn Fn(Builder) -> Builder + Send + Sync>,
}

configurable!(ContainerdDetector, Builder);

impl Detector for ContainerdDetector {
    fn processes(&self) -> &[&str] {
        &["containerd"]
    }

    fn sockets(&self) -> &[&str] {
        &[
            "/run/containerd/containerd.sock",
            "/run/k3s/containerd/containerd.sock", // k3s and RKE2
            "/var/snap/microk8s/common/run/containerd.sock",
            "/run/docker/containerd/containerd.sock", // started by dockerd
        ]
    }

    fn detect<'a>(
        &'a self,
        socket: &'a Socket,
        settings: &'a Settings,
    ) -> BoxFuture<'a, Result<Detected, EngineError>> {
        Box::pin(async move {
            let Some(path) = socket.path() else {
                return Err(EngineError::new(ErrorKind::NotThisEngine, "no unix socket"));
            };
            let builder = (self.configure)(Client::builder()).endpoint(socket.endpoint()).socket(path);
            let kept = socket.clone();
            let builder = builder.before_attempt(move || std::future::ready(kept.check()));
            detect(builder.build()?, socket, settings).await
        })
    }
}
