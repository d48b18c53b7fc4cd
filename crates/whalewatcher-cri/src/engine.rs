//! A CRI runtime as a kind of engine.

use whalewatcher_adapter::Engine;

/// The runtime: its names in error messages, its default endpoint and the names of its processes.
pub(crate) const ENGINE: Engine = Engine {
    name: "the CRI runtime",
    kind: "a CRI runtime",
    hint: "a containerd may have its CRI plugin switched off, and one before 1.6 is too old",
    default_endpoint: "unix:///run/containerd/containerd.sock",
    processes: &["containerd", "crio"],
};
