//! The calls to the runtime, and to the containerd below it.

#[cfg(feature = "containerd")]
pub(crate) mod containerd;
pub(crate) mod exits;
pub(crate) mod handshake;
mod host;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod sandbox_inspection;
pub(crate) mod session;
