//! Finds the container engines of a host, as they come and go.
//!
//! ```no_run
//! use std::sync::Arc;
//! use whalewatcher_core::Fleet;
//! use whalewatcher_discover::{Options, discover};
//!
//! # async fn example() {
//! let fleet = Arc::new(Fleet::new());
//! let discovery = discover(&fleet, Options::default());
//! discovery.settled().await;
//! for finding in discovery.findings().iter() {
//!     eprintln!("not watched: {finding}");
//! }
//! # }
//! ```
//!
//! The [page about discovery](https://github.com/whalewatcher-rs/whalewatcher/blob/main/docs/discovery.md)
//! says where engines are looked for, what that needs, and what it takes care of.
//!
//! - [`discover`] does it, until the [`Discovery`] is dropped. [`Options`] say what to look for and where.
//! - [`Finding`] is an engine that was seen and is not watched, with reason and remedy.
//! - [`Detector`] recognises engines of a kind; implement it for others.
//!
//! Watchers of the engines that are found are of the type `EngineWatcher<Located<C>>`, with the client `C` of
//! the engine's crate.
//!
//! # Features
//!
//! `moby`, `podman`, `containerd` and `cri`, all on by default: the kinds of engines to find.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod candidate;
mod detector;
mod detectors;
mod discovery;
mod driver;
#[cfg(target_os = "linux")]
mod enter;
mod finding;
mod folders;
mod gate;
#[cfg(target_os = "linux")]
mod host_pids;
mod located;
mod location;
mod look;
mod lookups;
mod options;
mod probe;
#[cfg(target_os = "linux")]
mod processes;
mod socket;
mod table;
mod usual;

pub use detector::{Detected, Detector};
#[cfg(feature = "containerd")]
pub use detectors::ContainerdDetector;
#[cfg(feature = "cri")]
pub use detectors::CriDetector;
#[cfg(feature = "moby")]
pub use detectors::DockerDetector;
#[cfg(feature = "podman")]
pub use detectors::PodmanDetector;
pub use discovery::{Discovery, FindingsFollower, discover};
pub use finding::{Finding, FindingKind};
pub use located::{Located, LocatedConnection};
pub use location::PREFIX_LABEL;
pub use options::Options;
pub use socket::Socket;
