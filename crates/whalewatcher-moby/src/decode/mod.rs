//! Decoders of what an engine sends: plain functions from bytes to the types of core, as lenient as can be.
//! They look only at what is needed, and skip what is not known.

mod common;
mod entries;
pub(crate) mod event;
pub(crate) mod identity;
pub(crate) mod inspection;
pub(crate) mod json;
mod labels;
pub(crate) mod libpod;
pub(crate) mod list;
#[cfg(test)]
mod mutated;
#[cfg(test)]
mod mutation;
mod network;
mod partial_event;
pub(crate) mod raw_inspection;
pub(crate) mod uptime;
pub(crate) mod version;

/// Which details of containers are decoded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Details {
    /// Whether networks and ports are.
    pub(crate) networks: bool,
    /// Whether the network mode is. podman's own list does not contain it, so its inspections are not asked for it.
    pub(crate) network_mode: bool,
    /// Whether `OOMKilled` is, of a container that is alive.
    pub(crate) oom_kills: bool,
}
