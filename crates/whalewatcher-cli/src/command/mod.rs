//! The commands, one file or folder each.

pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod engines;
mod following;
pub(crate) mod hosts;
pub(crate) mod log;
pub(crate) mod once;
pub(crate) mod ps;
pub(crate) mod publish;
#[cfg(feature = "serve")]
pub(crate) mod serve;
#[cfg(feature = "top")]
pub(crate) mod top;
pub(crate) mod wait;
pub(crate) mod watch;
#[cfg(target_os = "linux")]
pub(crate) mod whose;
