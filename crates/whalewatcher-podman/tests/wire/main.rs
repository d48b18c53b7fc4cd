//! podman on the wire, by the test kit's server of its two APIs.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod connecting;
mod faults;
mod listing;
mod lives;
mod reconnecting;
mod watched;
