//! Watches the containers and pod sandboxes of any CRI runtime, without hurting the kubelet.
//!
//! ```no_run
//! use whalewatcher_cri::{Client, POD_NAME_LABEL, Portfolio, watch};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let watching = watch(Client::new("/run/containerd/containerd.sock")?);
//! watching.ready().await?;
//! let portfolio: Portfolio = watching.portfolio();
//! for container in portfolio.containers() {
//!     let pod = container.labels().get(POD_NAME_LABEL).unwrap_or_default();
//!     println!("{pod}: {container}");
//! }
//! # Ok(()) }
//! ```
//!
//! All of `whalewatcher-core` is re-exported here: this crate alone is enough to depend on.
//!
//! containerd 1.6 and later, CRI-O, and whatever else speaks `runtime.v1`.
//!
//! Containers are those that are running, under the names that they have within their pods. The sandbox of a pod is one
//! too while it is ready; its name is its ID, and the label [`SANDBOX_LABEL`] tells it from others. Labels tell the pod of
//! either; annotations are labels too, with [`ANNOTATION_LABEL_PREFIX`] before their keys. CRI knows no pauses.
//!
//! # Where changes come from
//!
//! That is chosen at each connection, and the watcher's status tells it:
//!
//! 1. *Events* of the runtime, `GetContainerEvents`: where each subscriber gets them all. That is so with containerd 2.0
//!    and later, and with CRI-O where `enable_pod_events` is on.
//! 2. *Hints*: containerd before 2.0 has one queue of such events for all who ask, so whatever one takes from it the
//!    kubelet misses. Its own event service has no such flaw. With the feature `containerd` it is subscribed to, and tells
//!    whom to ask about.
//! 3. *Polling*: where there is neither, both lists are asked for every second, or as often as
//!    [configured](Builder::poll_every). So it is as well for who [wants no more](Builder::polling). A life that is over
//!    between two lists is not seen then, and exit codes are not known.
//!
//! # PIDs
//!
//! CRI has no PIDs but in a verbose status, in JSON of the runtime's own. What runs and has none there is unresolved for as
//! long as it runs: with cri-dockerd so is everything, and Docker itself is to be watched instead. CRI-O's sandboxes have no
//! process where it runs no infra containers (`drop_infra_ctr`): they are not alive.
//!
//! # Features
//!
//! - `containerd`: hints, as above.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod client;
mod connection;
mod decode;
mod engine;
mod limits;
#[cfg(test)]
mod mutated;
mod rpc;
mod source;

pub use client::{Builder, Client, DEFAULT_POLL_EVERY};
pub use connection::Connection;
pub use decode::container::{ANNOTATION_LABEL_PREFIX, CONTAINER_NAME_LABEL, Details};
pub use limits::{MAX_EVENT, MAX_ID, MAX_IDENTITY, MAX_LIST, MAX_STATUS};
pub use tonic;
/// The generated messages and clients of the calls that are made.
pub use whalewatcher_api::cri as api;
pub use whalewatcher_core::*;

// The README's code is compiled as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
