//! The client against an engine on a socket, played by the test kit, and against what is not an engine.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod behind;
mod connecting;
mod endings;
mod foreign;
mod inspecting;
mod living;
mod odd;
mod podman;
mod reconnecting;
mod silence;
mod subscribing;
mod watched;
