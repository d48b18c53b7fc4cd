//! Runs the real program against the test kit's engines, as people and other programs do.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on is to panic, also in what tests have in common"
)]

mod containerd;
mod cri;
mod demo;
mod ending;
mod errors;
mod json;
mod log;
mod people;
mod pods;
mod program;
mod slow;
