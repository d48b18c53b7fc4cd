//! Keeps one engine's portfolio in sync: the watcher, the future that drives it, and what its readers and subscribers see.

mod call;
mod connected;
mod driver;
mod guard;
mod handle;
mod in_flight;
mod probe;
mod publication;
mod status;
mod subscription;
mod watcher;

pub use handle::{WatchHandle, watch, watch_with};
pub(crate) use probe::is_silence;
pub use status::{Counters, Phase, Status, StatusFollower};
pub use subscription::Subscription;
pub use watcher::{EngineWatcher, WatchError, Watcher};
