//! Watches the live containers and pod sandboxes of any CRI runtime, without taking events from the kubelet.
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
//! Supports containerd 1.6 and later, CRI-O, and other runtimes that implement `runtime.v1`.
//!
//! A container is alive while it runs, and is named as within its pod. The sandbox of a pod is a container
//! too, alive while it is ready; its name is its ID, and the label [`SANDBOX_LABEL`] marks it. Labels name
//! the pod of either. Annotations are labels too, with the prefix [`ANNOTATION_LABEL_PREFIX`]. CRI has no
//! pauses.
//!
//! # Where changes come from
//!
//! The source of changes is chosen with each connection, and the watcher's status names it:
//!
//! 1. *Events*: the runtime's `GetContainerEvents`, where each subscriber receives all of them. So it is with
//!    containerd 2.0 and later, and with CRI-O if `enable_pod_events` is on.
//! 2. *ContainerdApi*: containerd before 2.0 has one queue of container events for all subscribers, so the
//!    kubelet would miss those that are read here. With the feature `containerd`, containerd's own event
//!    service is subscribed to in its place. It is a broadcast, and its events name the containers to
//!    inspect.
//! 3. *Polling*: where neither is available, both lists are requested every second, or as
//!    [configured](Builder::poll_every); [`Builder::polling`] chooses this always. Polling misses lives that
//!    begin and end between two lists, and exit codes.
//!
//! # PIDs
//!
//! CRI reports PIDs only in a verbose status, in the runtime's own JSON. A running container without one is
//! unresolved as long as it runs. With cri-dockerd that is so for all containers: watch Docker itself there.
//! CRI-O's sandboxes have no process if it runs no infra containers (`drop_infra_ctr`): they are not alive.
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
/// The generated messages and clients of the calls that are used.
pub use whalewatcher_api::cri as api;
pub use whalewatcher_core::*;

// The README's code is compiled as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
