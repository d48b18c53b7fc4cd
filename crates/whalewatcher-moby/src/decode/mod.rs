//! Decoders of what an engine sends: plain functions from bytes to the types of core.

pub(crate) mod event;
pub(crate) mod inspection;
pub(crate) mod labels;
pub(crate) mod list;
#[cfg(test)]
mod mutated;
#[cfg(test)]
mod mutation;
mod salvage;
pub(crate) mod uptime;
pub(crate) mod version;
