//! The client against the test kit's containerd on a socket, and against other servers.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod connecting;
mod faults;
mod foreign;
mod listing;
mod living;
mod reconnecting;
mod short_lives;
mod silence;
mod subscribing;
mod watched;
