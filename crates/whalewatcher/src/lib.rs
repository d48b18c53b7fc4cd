//! Always knows which containers are alive on this host, and tells when one comes, goes, pauses or changes.
//!
//! A program that must know which containers are alive *right now* asks a watcher and gets the answer from memory,
//! without asking the engine. It never polls, never reads an event stream, never worries about start-up, reconnects
//! or restarts of the engine. If it wants to be told, it subscribes.
//!
//! This crate is the facade: the kinds of engines are features, all else comes from [`whalewatcher_core`]. Whoever
//! needs one engine only can depend on that engine's crate alone.
//!
//! # Features
//!
//! - `moby` (default): Docker, and what speaks its API, such as podman.
//! - `bollard` (default): with `moby`, a bollard client for the application's own requests, and packers of rucksacks that
//!   get bollard's types. Without it some 35 crates fewer are compiled.
//! - `containerd`: containerd, in all its namespaces. Needs `protoc` to be built.
//! - `cri`: the runtime of a Kubernetes node (containerd, CRI-O), by the API that the kubelet uses: containers and pod
//!   sandboxes, which [`Portfolio::pods`] groups. Together with `containerd`, a containerd before 2.0 is followed by its own
//!   events; without it, it is asked for its lists every second, for its CRI events would be taken from the kubelet. Needs
//!   `protoc` to be built.
//! - `metrics`: the figures of watchers for the recorder of the `metrics` crate.
//! - `tls`: Docker over TCP with TLS, by the certificates that Docker's tools use.
//! - `cli`: the program, as a binary; nothing of it is in the library.
//! - `serde`: `Serialize` for containers, events and engine identities.

#[cfg(feature = "metrics")]
pub mod metrics;

#[cfg(feature = "containerd")]
pub use whalewatcher_containerd as containerd;
pub use whalewatcher_core::*;
#[cfg(feature = "cri")]
pub use whalewatcher_cri as cri;
#[cfg(feature = "moby")]
pub use whalewatcher_moby as moby;

// README's code is compiled as a test of the documentation.
#[cfg(all(doctest, feature = "moby"))]
#[doc = include_str!("../../../README.md")]
mod readme {}
