//! The engine-independent core of whalewatcher: the portfolio of live containers, the reconciler that keeps
//! it in sync, and the watcher that drives both.
//!
//! The crate root is the view of applications. Applications depend on the crate of their engine, or on the facade
//! `whalewatcher`, which re-export it. Adapters to other engines implement the traits in [`adapter`].
//!
//! Events flow from the adapter through driver, reconciler and portfolio to subscriptions.
//!
//! # Features
//!
//! - `serde`: `Serialize` for containers, events and engine identities.
//! - `test-util`: an engine in memory, [`scripted`](mod@scripted), that `whalewatcher-testkit` re-exports.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod adapter;
mod engine;
mod figures;
pub mod fleet;
pub mod history;
mod model;
mod persistent;
mod portfolio;
mod publication;
mod reconciler;
#[cfg(feature = "test-util")]
pub mod scripted;
mod settings;
mod watch;
mod witness;

pub use engine::{ChangeSource, Unlisted};
pub use figures::{Figure, FigureKind, FleetFigures};
pub use fleet::{Fleet, FleetEvent, FleetPortfolio};
pub use model::{
    COMPOSE_PROJECT_LABEL, Container, ContainerId, CrashLoop, EngineError, EngineIdentity, EngineKey,
    ErrorKind, Event, EventKind, Health, Host, Image, Labels, Layer, Life, Network, POD_NAME_LABEL,
    POD_NAMESPACE_LABEL, POD_UID_LABEL, PRIVILEGED_LABEL, PodIdentity, Port, Printable, Protocol,
    SANDBOX_LABEL, SeenBy, UnknownProtocol, Unresolved, UnresolvedContainer,
};
pub use portfolio::{Pod, Pods, Portfolio, Project, difference};
pub use settings::{Backoff, Settings};
pub use watch::{
    Counters, EngineClock, EngineWatcher, Phase, PortfolioFollower, Status, StatusFollower, Subscription,
    WatchError, WatchHandle, Watcher, watch, watch_with,
};
pub use witness::{Witness, WitnessedLife};

// The README's code is compiled as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
