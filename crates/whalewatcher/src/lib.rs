//! Always knows which containers are alive on this host, and emits an event when one starts, exits, pauses or changes.
//!
//! A program that must know which containers are alive *right now* asks a watcher and gets the answer from
//! memory, without a request to the engine. Your program never polls, never reads an engine's event stream,
//! and never handles start-up, reconnects or restarts of the engine. To follow changes, it subscribes:
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
//!         EventKind::Exited { container, .. } => println!("{} exited", container.name()),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! # }
//! ```
//!
//! - [`WatchHandle`] derefs to the [`EngineWatcher`]: [`portfolio`](EngineWatcher::portfolio) returns what is alive,
//!   [`status`](EngineWatcher::status) whether that is up to date.
//! - A [`Portfolio`] is an immutable snapshot, with containers by ID, by name, by compose project and by pod.
//! - A [`Fleet`] watches several engines, which can come and go: [one portfolio](Fleet::portfolio) and
//!   [one subscription](Fleet::subscribe) for all.
//! - A [rucksack](Container::rucksack) is a value that your application keeps of a container's inspection,
//!   such as its image.
//! - Adapters to other engines implement the traits in [`adapter`].
//!
//! This crate is the facade: the kinds of engines are features, everything else is re-exported from
//! [`whalewatcher_core`]. A program that needs one kind of engine can depend on the crate of that engine
//! alone, which re-exports core as well. The feature `cli` builds the program:
//! `cargo install whalewatcher --features cli`.
//!
//! The package's folder `examples` has programs: `once`, `follow`, `fleet`, `discover`, `pods`, `rucksack`,
//! `metrics`, `adapter` (an adapter to an engine without events), and `testing` (tests without an engine).
//!
//! # Features
//!
//! - `moby` (default): Docker, and engines with its API, such as podman.
//! - `bollard` (default): with `moby`, a bollard client for your own requests, and rucksacks made from bollard's types.
//!   Without it, some 35 fewer crates are compiled.
//! - `containerd`: containerd, in all its namespaces except ignored ones (`moby` and `k8s.io` by default).
//! - `cri`: the runtime of a Kubernetes node (containerd, CRI-O) through CRI: containers and pod sandboxes,
//!   which [`Portfolio::pods`] groups. With `containerd` as well, containerd's own events report changes on
//!   containerd before 2.0; without it, that is polled every second, because reading its CRI events would
//!   take them from the kubelet.
//! - `discover`: finds the engines of this host, of the kinds whose features are enabled, and adds them to a
//!   [`Fleet`] as they come and go.
//! - `etcd`: many hosts, which publish their engines in etcd: a hub has them join a [`Fleet`]. It turns on `serde`.
//! - `podman`: podman through its own API: one request lists everything, and containers have the labels of
//!   their pods. With `moby` alone, podman is watched through its Docker-compatible API.
//! - `host`: on Linux, the container that a process or a control group belongs to.
//! - `kernel`: on Linux, ends of containers as the kernel reports them, also while an engine hangs, is wrong
//!   or is gone.
//! - `metrics`: the counters and gauges of watchers and fleets for the recorder of the `metrics` crate.
//! - `tls`: Docker over TCP with TLS, with the certificates that Docker's tools use.
//! - `ssh`: Docker on other machines through the program `ssh`.
//! - `cli`: the program, as a binary; it adds nothing to the library.
//! - `serde`: `Serialize` for containers, events and engine identities.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "metrics")]
pub mod metrics;

#[cfg(feature = "containerd")]
pub use whalewatcher_containerd as containerd;
pub use whalewatcher_core::*;
#[cfg(feature = "cri")]
pub use whalewatcher_cri as cri;
#[cfg(feature = "discover")]
pub use whalewatcher_discover as discover;
#[cfg(feature = "etcd")]
pub use whalewatcher_etcd as etcd;
#[cfg(feature = "host")]
pub use whalewatcher_host as host;
#[cfg(feature = "kernel")]
pub use whalewatcher_kernel as kernel;
#[cfg(feature = "moby")]
pub use whalewatcher_moby as moby;
#[cfg(feature = "podman")]
pub use whalewatcher_podman as podman;

// Compiles the README's code as a doc test.
#[cfg(all(doctest, feature = "moby"))]
#[doc = include_str!("../README.md")]
mod readme {}
