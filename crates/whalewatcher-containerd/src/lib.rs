//! Watches the containers of containerd, in its namespaces but those of Docker and Kubernetes; it knows what nerdctl calls
//! them.
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
//! containerd 1.6 and later. The namespaces `moby` and `k8s.io` are left out unless [asked for](Builder::ignored_namespaces):
//! Docker's containers are better watched through Docker, and Kubernetes' through CRI. Where nothing else is alive,
//! [`Client::ignored_with_tasks`] returns which of them have containers.
//!
//! A container of the namespace `default` has the ID that containerd gives it, others have `NAMESPACE/ID`. Their names are
//! formed alike, of nerdctl's name where there is one. containerd tells no start times, so lives are told apart by PID.
//!
//! # Features
//!
//! - `containerd-client`: a client of the crate [`containerd-client`](https://docs.rs/containerd-client) for the
//!   application's own requests. Building that crate takes `protoc`, of Debian's packages `protobuf-compiler` and
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
