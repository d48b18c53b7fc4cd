//! What is asked of the runtime, and of containerd below it.

#[cfg(feature = "containerd")]
pub(crate) mod containerd;
pub(crate) mod exits;
pub(crate) mod handshake;
mod host;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod session;
