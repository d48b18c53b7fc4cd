//! The CRI runtimes of the test kit, seen over their sockets by generated clients.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is to panic, also in what tests share")]

mod beneath;
mod client;
mod faults;
mod hooks;
mod listing;
mod living;
mod subscribing;
