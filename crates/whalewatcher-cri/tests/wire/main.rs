//! The client against CRI runtimes on a socket, played by the test kit, and against what is none.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod connecting;
mod foreign;
#[cfg(feature = "containerd")]
mod hints;
mod listing;
mod living;
mod pids;
mod polling;
mod reconnecting;
mod short_lives;
mod silence;
mod sources;
mod subscribing;
mod watched;
