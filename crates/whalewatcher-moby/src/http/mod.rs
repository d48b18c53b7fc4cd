//! HTTP to one engine: connections, answers and their limits, errors.

pub(crate) mod answer;
pub(crate) mod budget;
pub(crate) mod error;
pub(crate) mod lines;
pub(crate) mod pinned_socket;
#[cfg_attr(not(feature = "ssh"), path = "ssh_absent.rs")]
mod ssh;
pub(crate) mod transport;
