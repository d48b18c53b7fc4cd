//! The containerd of the test kit, seen over its socket by generated clients.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is to panic, also in what tests share")]

mod client;
mod events;
mod faults;
mod hooks;
mod listing;
mod living;
mod subscribing;
