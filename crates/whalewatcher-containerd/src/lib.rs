//! Watches the live containers of containerd in its namespaces, except those of Docker and Kubernetes, under
//! the names that nerdctl uses.
//!
//! ```no_run
//! use whalewatcher_containerd::{Client, Portfolio, watch};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let watching = watch(Client::new("/run/containerd/containerd.sock")?);
//! watching.ready().await?;
//! let portfolio: Portfolio = watching.portfolio();
//! for container in portfolio.containers() {
//!     println!("{container}");
//! }
//! # Ok(()) }
//! ```
//!
//! All of `whalewatcher-core` is re-exported here: this crate alone is enough to depend on.
//!
//! Supports containerd 1.6 and later. The namespaces `moby` and `k8s.io` are ignored unless
//! [configured](Builder::ignored_namespaces): Docker's containers are better watched through Docker, those of
//! Kubernetes through CRI. If no other container is alive, [`Client::ignored_with_tasks`] returns the ignored
//! namespaces that have live ones.
//!
//! A container of the namespace `default` has the ID that containerd uses; others have `NAMESPACE/ID`. Names
//! are formed in the same way, from nerdctl's name where there is one. containerd reports no start times, so
//! lives are distinguished by PID.
//!
//! # Features
//!
//! - `containerd-client`: a client of the crate [`containerd-client`](https://docs.rs/containerd-client) for the
//!   application's own requests. Building that crate requires `protoc`, from Debian's packages `protobuf-compiler` and
//!   `libprotobuf-dev`.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;
mod connection;
mod container;
mod handshake;
mod inspect;
mod limits;
mod list;
#[cfg(test)]
mod mutated;
mod namespace;
mod nerdctl;
mod session;

pub use client::{Builder, Client};
pub use connection::Connection;
pub use container::Details;
#[cfg(feature = "containerd-client")]
pub use containerd_client;
pub use limits::{MAX_IDENTITY, MAX_LIST};
pub use tonic;
pub use whalewatcher_adapter::containerd::{
    DEFAULT_PROBE_EVERY, EventService, IGNORED_BY_DEFAULT, MAX_CONTAINER, MAX_EVENT, MAX_TASKS,
};
/// The generated messages and clients of the calls that are made.
pub use whalewatcher_api::containerd as api;
pub use whalewatcher_core::*;

// The README's code is compiled as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
