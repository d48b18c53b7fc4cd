//! containerd as a kind of engine.

use crate::engine::Engine;

/// containerd: its names in error messages, its default endpoint and the name of its process.
pub const ENGINE: Engine = Engine {
    name: "containerd",
    kind: "containerd",
    hint: "",
    default_endpoint: "unix:///run/containerd/containerd.sock",
    processes: &["containerd"],
};
