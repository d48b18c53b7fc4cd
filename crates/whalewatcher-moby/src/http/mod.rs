//! HTTP to one engine: connections, answers and their limits, errors.

pub(crate) mod answer;
pub(crate) mod failure;
pub(crate) mod home;
pub(crate) mod lines;
pub(crate) mod memory;
pub(crate) mod peer;
pub(crate) mod transport;
