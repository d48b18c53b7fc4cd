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
pub use discovery::{Discovery, FindingsFollower, discover};
pub use finding::{Finding, FindingKind};
pub use options::Options;
pub use socket::Socket;
