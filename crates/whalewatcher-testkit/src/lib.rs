//! Engines for tests: a scripted one in memory, one that serves Docker's API on a socket, one that serves containerd's, and
//! a proxy that breaks what passes between a client and an engine. And a watched engine, for tests of adapters.

#[cfg(any(feature = "containerd", feature = "docker"))]
mod clock;
#[cfg(feature = "containerd")]
pub mod containerd;
#[cfg(feature = "docker")]
pub mod docker;
#[cfg(any(feature = "containerd", feature = "docker"))]
mod gate;
#[cfg(feature = "containerd")]
mod grpc;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod scripted;
pub mod watched;
