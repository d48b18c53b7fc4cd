//! What errors call a runtime, and where it usually is.

use whalewatcher_adapter::Engine;

/// What errors call it, and where it usually is.
pub(crate) const ENGINE: Engine = Engine {
    name: "the CRI runtime",
    kind: "a CRI runtime",
    hint: "a containerd may have its CRI plugin switched off, and one before 1.6 is too old",
    default_endpoint: "unix:///run/containerd/containerd.sock",
    processes: &["containerd", "crio"],
};
