//! Detectors of the engines that have a crate of their own.

#[cfg(feature = "containerd")]
mod containerd;
#[cfg(feature = "cri")]
mod cri;
#[cfg(feature = "moby")]
mod docker;
#[cfg(feature = "podman")]
mod podman;

#[cfg(feature = "containerd")]
pub use containerd::ContainerdDetector;
#[cfg(feature = "cri")]
pub use cri::CriDetector;
#[cfg(feature = "moby")]
pub use docker::DockerDetector;
#[cfg(feature = "podman")]
pub use podman::PodmanDetector;

#[cfg(any(feature = "containerd", feature = "cri", feature = "moby", feature = "podman"))]
mod builtin {
    use whalewatcher_core::adapter::{EngineClient, EngineConnection};
    use whalewatcher_core::{EngineError, EngineWatcher, Settings};

    use crate::detector::Detected;
    use crate::located::Located;
    use crate::socket::Socket;

    /// Connects as a watcher does, and so with the limits of the adapter.
    pub(super) async fn detect<C: EngineClient>(
        client: C,
        socket: &Socket,
        settings: &Settings,
    ) -> Result<Detected, EngineError> {
        let connection = client.connect(settings).await?;
        let identity = connection.identity();
        let client = Located::connected(client, connection, socket);
        Ok(Detected::new(identity, EngineWatcher::with_settings(client, settings.clone())))
    }

    /// Implements a detector by a function that changes the client's builder.
    macro_rules! configurable {
        ($detector:ident, $builder:ty) => {
            impl $detector {
                /// Creates a detector whose clients have their default options.
                #[must_use]
                pub fn new() -> Self {
                    Self::configured(|builder| builder)
                }

                /// Creates a detector whose clients are built with the options that `configure` sets, except
                /// for the endpoint and the hook before attempts.
                #[must_use]
                pub fn configured(configure: impl Fn($builder) -> $builder + Send + Sync + 'static) -> Self {
                    Self { configure: Box::new(configure) }
                }
            }

            impl Default for $detector {
                fn default() -> Self {
                    Self::new()
                }
            }

            impl std::fmt::Debug for $detector {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str(stringify!($detector))
                }
            }
        };
    }
    pub(super) use configurable;
}
