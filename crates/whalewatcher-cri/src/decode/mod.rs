//! What the runtime's messages mean: no I/O, nothing remembered.

pub(crate) mod container;
pub(crate) mod info;
pub(crate) mod runtime;
pub(crate) mod time;
