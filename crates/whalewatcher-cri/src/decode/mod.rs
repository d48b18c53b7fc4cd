//! Decodes the runtime's messages, without I/O and without state.

pub(crate) mod container;
pub(crate) mod details;
pub(crate) mod info;
pub(crate) mod runtime;
pub(crate) mod time;
