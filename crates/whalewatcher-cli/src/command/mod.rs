//! The commands, one file or folder each.

pub(crate) mod demo;
pub(crate) mod ps;
pub(crate) mod watch;
