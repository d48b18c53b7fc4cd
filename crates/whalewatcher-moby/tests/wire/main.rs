//! The client against the test kit's engine on a socket, and against servers that are no engine.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod connecting;
mod details;
mod faults;
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
