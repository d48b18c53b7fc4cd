//! containerd's own event service, for the adapter to containerd and for adapters to what is built on it, such as its CRI plugin.

mod decode;
mod limits;
mod namespace;
mod service;

pub use decode::{decode, moment};
pub use limits::{MAX_CONTAINER, MAX_EVENT, MAX_TASKS};
pub use namespace::{IGNORED_BY_DEFAULT, IgnoredNamespaces, Scope, is_identifier, qualified, split, within};
pub use service::{DEFAULT_PROBE_EVERY, EventService};

use crate::engine::Engine;

/// What errors call it, and where it usually is.
pub const ENGINE: Engine = Engine {
    name: "containerd",
    kind: "containerd",
    hint: "",
    default_endpoint: "unix:///run/containerd/containerd.sock",
    processes: &["containerd"],
};
