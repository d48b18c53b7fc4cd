//! HTTP to one engine: connections, answers and their limits, errors.

pub(crate) mod answer;
pub(crate) mod budget;
pub(crate) mod error;
pub(crate) mod lines;
pub(crate) mod pinned_socket;
pub(crate) mod transport;
