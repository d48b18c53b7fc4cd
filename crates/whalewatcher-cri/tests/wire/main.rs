//! The client against the test kit's CRI runtimes on a socket, and against other servers.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod connecting;
mod faults;
mod foreign;
#[cfg(feature = "containerd")]
mod hints;
mod listing;
mod living;
mod networks;
mod pids;
mod polling;
mod reconnecting;
mod short_lives;
mod silence;
mod sources;
mod subscribing;
mod watched;
