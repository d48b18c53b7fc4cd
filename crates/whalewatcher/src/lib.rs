//! Always knows which containers are alive on this host, and emits an event when one comes, goes, pauses or changes.
//!
//! A program that must know which containers are alive *right now* asks a watcher and gets the answer from memory,
//! without a request to the engine. It never polls, never reads an event stream, and never handles start-up, reconnects
//! or restarts of the engine. If it wants to follow changes, it subscribes:
//!
//! ```no_run
//! # #[cfg(feature = "moby")] mod example {
//! use whalewatcher::{EventKind, moby};
//!
//! # pub async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let docker = whalewatcher::watch(moby::Client::from_env()?); // in a task of its own, until closed or dropped
//! docker.ready().await?;
//!
//! let (now, mut changes) = docker.subscribe(); // a snapshot, and every change after exactly that
//! for container in now.containers() {
//!     println!("{container}");
//! }
//! while let Some(change) = changes.next().await {
//!     match change.kind {
//!         EventKind::Started(container) => println!("{} started with PID {}", container.name(), container.pid()),
//!         EventKind::Exited { container, .. } => println!("{} is over", container.name()),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! # }
//! ```
//!
//! - [`WatchHandle`] derefs to the [`EngineWatcher`]: [`portfolio`](EngineWatcher::portfolio) returns what is alive now,
//!   [`status`](EngineWatcher::status) whether that is up to date.
//! - A [`Portfolio`] is an immutable snapshot, with containers by ID, by name, by compose project and by pod.
//! - A [`Fleet`] watches several engines, which can come and go.
//! - A [rucksack](Container::rucksack) is what an application wants to keep of a container's inspection, such as its image.
//! - Adapters to other engines implement the traits in [`adapter`].
//!
//! This crate is the facade: the kinds of engines are features, everything else comes from [`whalewatcher_core`]. A program
//! that needs one kind only can depend on the crate of that kind alone, which re-exports core as well. The program
//! `whalewatcher` is the feature `cli`: `cargo install whalewatcher --features cli`.
//!
//! The package's folder `examples` has programs: `once`, `follow`, `fleet`, `pods`, `rucksack`, `metrics`, an `adapter` of
//! one's own (to an engine without events), and `testing` without any engine.
//!
//! # Features
//!
//! - `moby` (default): Docker, and what speaks its API, such as podman.
//! - `bollard` (default): with `moby`, a bollard client for the application's own requests, and packers of rucksacks that
//!   get bollard's types. Without it some 35 crates fewer are compiled.
//! - `containerd`: containerd, in all its namespaces but those that are ignored (`moby` and `k8s.io` by default).
//! - `cri`: the runtime of a Kubernetes node (containerd, CRI-O), by the API that the kubelet uses: containers and pod
//!   sandboxes, which [`Portfolio::pods`] groups. Together with `containerd`, a containerd before 2.0 is followed by its own
//!   events; without it, it is asked for its lists every second, for its CRI events would be taken from the kubelet.
//! - `metrics`: the figures of watchers for the recorder of the `metrics` crate.
//! - `tls`: Docker over TCP with TLS, by the certificates that Docker's tools use.
//! - `cli`: the program, as a binary; nothing of it is in the library.
//! - `serde`: `Serialize` for containers, events and engine identities.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "metrics")]
pub mod metrics;

#[cfg(feature = "containerd")]
pub use whalewatcher_containerd as containerd;
pub use whalewatcher_core::*;
#[cfg(feature = "cri")]
pub use whalewatcher_cri as cri;
#[cfg(feature = "moby")]
pub use whalewatcher_moby as moby;

// The README's code is compiled as a test of the documentation.
#[cfg(all(doctest, feature = "moby"))]
#[doc = include_str!("../README.md")]
mod readme {}
