//! The client against a containerd on a socket, played by the test kit, and against what is not containerd.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod connecting;
mod foreign;
mod listing;
mod living;
mod reconnecting;
mod short_lives;
mod silence;
mod subscribing;
mod watched;
