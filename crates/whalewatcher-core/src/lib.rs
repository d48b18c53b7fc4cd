//! Which containers are alive right now: the portfolio, the reconciler and the generic watcher.
//!
//! Applications depend on the crate of the engine they need, or on the facade `whalewatcher`, and find all of this
//! re-exported there. Adapters to other engines implement the traits in [`adapter`].
//!
//! An event's way: engine client → driver → reconciler → portfolio → subscription.
//!
//! # Features
//!
//! - `serde`: `Serialize` for containers, events and engine identities.
//! - `test-util`: an engine in memory, [`scripted`](mod@scripted), that `whalewatcher-testkit` re-exports.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod adapter;
mod engine;
pub mod fleet;
mod model;
mod persistent;
mod portfolio;
mod reconciler;
#[cfg(feature = "test-util")]
pub mod scripted;
mod settings;
mod watch;

pub use engine::{ChangeSource, Unlisted};
pub use fleet::Fleet;
pub use model::{
    COMPOSE_PROJECT_LABEL, Container, ContainerId, EngineError, EngineIdentity, ErrorKind, Event, EventKind,
    Labels, Life, POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL, PodIdentity, Printable, SANDBOX_LABEL,
    Unresolved, UnresolvedContainer,
};
pub use portfolio::{Pod, Pods, Portfolio, Project, difference};
pub use settings::{Backoff, Settings};
pub use watch::{
    Counters, EngineWatcher, Phase, Status, StatusFollower, Subscription, WatchError, WatchHandle, Watcher,
    watch, watch_with,
};

// The README's code is compiled as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
