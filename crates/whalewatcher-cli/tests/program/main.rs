//! Runs the real program against the test kit's engines, as people and other programs do.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on is to panic, also in what tests have in common"
)]

mod containerd;
mod cri;
mod demo;
mod errors;
mod exit;
mod json;
mod log;
mod pods;
mod program;
mod slow_reader;
mod text;
