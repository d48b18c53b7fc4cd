//! Watches the containers of podman, of root or of a user, with the pods that they belong to.
//!
//! ```no_run
//! use whalewatcher_podman::{Client, PODMAN_POD_NAME_LABEL, Portfolio, watch};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let podman = watch(Client::from_env()?);
//! podman.ready().await?;
//! let portfolio: Portfolio = podman.portfolio();
//! for container in portfolio.containers() {
//!     println!("{container} in pod {:?}", container.labels().get(PODMAN_POD_NAME_LABEL));
//! }
//! # Ok(()) }
//! ```
//!
//! All of `whalewatcher-core` is re-exported here: this crate alone is enough to depend on.
//!
//! Supported is podman 4 and later. podman is no daemon: its service has to be enabled, by `systemctl enable --now
//! podman.socket`, or with `--user` for the containers of a user.
//!
//! # What is known of a container
//!
//! podman's own list contains nearly everything, so watching begins with one request, whatever the number of
//! containers. Of the containers that were alive before, it does not contain the addresses in their networks,
//! the time of their start below a second, whether they are [privileged](Container::privileged), and, before
//! podman 5, how often they were restarted. That stays unknown unless [`Builder::inspect_all`] is set.
//! Containers that start later are inspected once.
//!
//! Containers in pods have the labels [`PODMAN_POD_NAME_LABEL`] and [`PODMAN_POD_ID_LABEL`]; the one that
//! holds the pod's namespaces has [`PODMAN_INFRA_LABEL`].
//!
//! # Which API is used
//!
//! podman's service has two: its own, and one that is compatible with Docker's. The latter is used where a
//! proxy refuses podman's own list. [`Status::fallback`] then contains the reason. Without podman's own API,
//! all containers are inspected, and their pods are not known.
//!
//! `whalewatcher-moby` always uses the compatible API, for podman too. Both report the same containers with
//! the same IDs, PIDs and names, of an engine with the same type and ID.
//!
//! # A service that ends
//!
//! `podman system service` ends by itself when it had no request for 5 s, or as long as `--time` says. While
//! a watcher is subscribed to events, it does not end. If it ends all the same, that is a lost connection and
//! no exit: containers do not depend on it. With systemd's socket activation the next attempt to connect
//! starts it again.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;
mod socket;

pub use client::{Builder, Client};
pub use whalewatcher_core::*;
pub use whalewatcher_moby::{
    Connection, PODMAN_INFRA_LABEL, PODMAN_POD_ID_LABEL, PODMAN_POD_NAME_LABEL, RawInspection,
};

// The README's code is compiled as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
