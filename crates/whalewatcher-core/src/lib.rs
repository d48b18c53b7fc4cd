//! Which containers are alive right now: the portfolio, the reconciler and the generic watcher.
//!
//! Applications depend on the crate of the engine they need, or on the facade `whalewatcher`, and find all of this
//! re-exported there. Adapters to other engines implement [`EngineClient`]; what they must guarantee is said in [`adapter`].
//!
//! An event's way: engine client → driver → reconciler → portfolio → subscription.
//!
//! # Features
//!
//! - `serde`: `Serialize` for containers, events and engine identities.
//! - `test-util`: an engine in memory, [`scripted`](mod@scripted), that `whalewatcher-testkit` re-exports.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod adapter;
mod backoff;
mod container;
mod difference;
mod driver;
mod engine;
mod error;
mod escape;
mod event;
pub mod fleet;
mod hook;
mod id;
mod in_flight;
mod liveness;
mod pack;
mod pod;
mod polling;
mod portfolio;
mod publication;
mod reconciler;
#[cfg(feature = "test-util")]
pub mod scripted;
#[cfg(feature = "serde")]
mod serial;
mod settings;
mod status;
mod subscription;
mod tasks;
mod turn;
mod unresolved;
mod watcher;
mod watching;

pub use backoff::Backoff;
pub use container::{COMPOSE_PROJECT_LABEL, Container, ContainerId, Labels, Life};
pub use difference::difference;
pub use engine::{
    ChangeSource, EngineClient, EngineConnection, EngineEvent, EngineIdentity, Listing, ListingEntry,
    Unlisted,
};
pub use error::{EngineError, ErrorKind};
pub use escape::Printable;
pub use event::{Event, EventKind};
pub use fleet::Fleet;
pub use hook::Hook;
pub use pod::{POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL, Pod, PodIdentity, Pods, SANDBOX_LABEL};
pub use portfolio::{Portfolio, Project};
pub use settings::Settings;
pub use status::{Counters, Phase, Status, StatusFollower};
pub use subscription::Subscription;
pub use tasks::{Spawner, Tasks};
pub use unresolved::{Unresolved, UnresolvedContainer};
pub use watcher::{EngineWatcher, WatchError, Watcher};
pub use watching::{WatchHandle, watch, watch_with};

// The README's code is compiled as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
