//! Engines for tests: a scripted one in memory, ones that serve Docker's API, containerd's and the CRI on
//! sockets, and a proxy that breaks what passes between a client and an engine. And a watched engine, for
//! tests of adapters.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "containerd", feature = "docker"))]
mod clock;
#[cfg(feature = "containerd")]
pub mod containerd;
#[cfg(any(feature = "containerd", feature = "docker", feature = "proxy"))]
mod counting;
#[cfg(feature = "cri")]
pub mod cri;
#[cfg(feature = "docker")]
pub mod docker;
#[cfg(any(feature = "containerd", feature = "docker"))]
pub mod dropping;
#[cfg(feature = "containerd")]
pub mod endless;
#[cfg(any(feature = "containerd", feature = "docker"))]
mod error;
#[cfg(feature = "proxy")]
pub mod faulty;
#[cfg(any(feature = "containerd", feature = "docker"))]
mod gate;
#[cfg(feature = "containerd")]
mod grpc;
#[cfg(any(feature = "containerd", feature = "docker"))]
mod hooks;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod watched;

pub use whalewatcher_core::scripted;

// The README's code is compiled as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
