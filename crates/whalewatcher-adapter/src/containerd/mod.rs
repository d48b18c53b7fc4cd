//! containerd's event service, for the adapter to containerd and for adapters to services built on it, such
//! as its CRI plugin.

mod decode;
mod engine;
mod limits;
mod namespace;
mod service;

pub use decode::{decode, moment};
pub use engine::ENGINE;
pub use limits::{MAX_CONTAINER, MAX_EVENT, MAX_TASKS};
pub use namespace::{IGNORED_BY_DEFAULT, IgnoredNamespaces, Scope, is_identifier, qualified, split, within};
pub use service::{DEFAULT_PROBE_EVERY, EventService};
