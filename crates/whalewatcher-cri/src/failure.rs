//! What went wrong on the way to a runtime, in words that say what to do.

use tonic::Status;
use whalewatcher_adapter::Engine;
use whalewatcher_core::EngineError;

/// What errors call it, and where it usually is.
pub(crate) const ENGINE: Engine = Engine {
    name: "the CRI runtime",
    kind: "a CRI runtime",
    hint: "a containerd may have its CRI plugin switched off, and one before 1.6 is too old",
    default_endpoint: "unix:///run/containerd/containerd.sock",
    processes: &["containerd", "crio"],
};

/// A question was not answered, or with a complaint.
pub(crate) fn of_status(what: &str, status: Status) -> EngineError {
    ENGINE.of_status(what, status)
}
