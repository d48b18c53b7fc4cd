//! Watches the containers of Docker and of what speaks its API, such as podman.
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
//! Docker 20.10 and later (its API 1.41 to 1.52), and podman 4 and later through its Docker-compatible API.
//!
//! The way of an answer: the [`Client`] connects, each connection has its transport, and what comes over it is decoded
//! as leniently as can be: only what is needed is looked at, and what is not known is passed over.
//!
//! # Features
//!
//! - `bollard` (default): [`Client::client`], a bollard client for the application's own requests, and
//!   [`Builder::rucksack`], whose packer gets bollard's types. Without it some 35 crates fewer are compiled, and
//!   [`Builder::rucksack_json`] gives packers the JSON.
//! - `tls`: Docker over TCP with TLS: `https://`, and what `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` ask for.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod api;
mod client;
mod config;
mod connection;
mod decode;
mod http;
mod limits;

#[cfg(feature = "bollard")]
pub use bollard;
pub use client::{Builder, Client};
#[cfg(feature = "tls")]
pub use config::tls::Tls;
pub use connection::Connection;
pub use decode::inspection::{PRIVILEGED_LABEL, RawInspection};
pub use limits::{MAX_EVENT, MAX_ID, MAX_IDENTITY, MAX_INSPECTION, MAX_LABELS, MAX_SELF, MEMORY_LIMIT};
pub use whalewatcher_core::*;

// The README's code is compiled as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
