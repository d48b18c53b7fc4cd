//! The client against an engine on a socket, played by the test kit, and against what is not an engine.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod connecting;
mod foreign;
mod inspecting;
mod lifecycle;
mod lost_events;
mod malformed;
mod missed_exits;
mod podman;
mod proxies;
mod reconnecting;
mod subscribing;
mod watched;
