//! Watches the containers of Docker, and of engines with its API, such as podman.
//!
//! ```no_run
//! use whalewatcher_moby::{Client, Portfolio, watch};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let docker = watch(Client::from_env()?);
//! docker.ready().await?;
//! let portfolio: Portfolio = docker.portfolio();
//! for container in portfolio.containers() {
//!     println!("{container}");
//! }
//! # Ok(()) }
//! ```
//!
//! All of `whalewatcher-core` is re-exported here: this crate alone is enough to depend on.
//!
//! Supported are Docker 20.10 and later (its API 1.41 to 1.52), and podman 4 and later through its
//! Docker-compatible API.
//!
//! `whalewatcher-podman` watches podman through podman's own API, which takes fewer requests and contains pods.
//!
//! A [`Client`] makes a [`Connection`] each time a watcher connects. Answers are decoded as leniently as can
//! be: only what is needed is looked at, and what is not known is skipped.
//!
//! # Features
//!
//! - `bollard` (default): [`Client::client`], a bollard client for the application's own requests, and
//!   [`Builder::rucksack`], whose packer receives bollard's types. Without it 35 crates fewer are compiled, and packers
//!   receive the JSON from [`Builder::rucksack_json`].
//! - `tls`: Docker over TCP with TLS, for `https://` endpoints, contexts, `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`.
//! - `ssh`: Docker on other machines through the program `ssh`, for `ssh://` endpoints.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod api;
mod builder;
mod client;
mod config;
mod connection;
mod decode;
mod http;
mod inspector;
mod limits;
#[cfg(feature = "bollard")]
mod with_bollard;

#[cfg(feature = "bollard")]
pub use bollard;
pub use builder::Builder;
pub use client::Client;
pub use config::context::{Context, Contexts};
#[cfg(feature = "tls")]
pub use config::tls::Tls;
pub use connection::Connection;
#[doc(hidden)]
pub use decode::libpod::{PODMAN_INFRA_LABEL, PODMAN_POD_ID_LABEL, PODMAN_POD_NAME_LABEL};
pub use decode::raw_inspection::RawInspection;
pub use limits::{
    MAX_EVENT, MAX_ID, MAX_IDENTITY, MAX_INSPECTION, MAX_LABELS, MAX_NETWORKS, MAX_PORTS, MAX_SELF,
    MEMORY_LIMIT,
};
pub use whalewatcher_core::*;

// The README's code is compiled as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
