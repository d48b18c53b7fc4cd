//! Real engines from Debian's packages, and the steps of `cargo xtask`.
//!
//! The scenarios that run against the engines are in the package `whalewatcher-integration`, so that this one
//! depends on nothing of the family and can prepare what the family needs to be built.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
#![allow(clippy::disallowed_types, reason = "blocking code: there is no tokio whose clock could be paused")]

pub mod cache;
pub mod engines;
pub mod interrupt;
pub mod output;

/// The exit code of `whalewatcher-integration` when its engine cannot be found or started on this host. It is 0 when
/// all scenarios passed, and 1 when one failed.
///
/// `cargo xtask integration` runs it as `whalewatcher-integration --engine docker@sid [FLAGS OF GIVEN PROGRAMS]
/// [FILTER…]`, and `cargo xtask soak` with `--soak MINUTES` instead of filters, after fetching the engine.
pub const EXIT_ENGINE_CANNOT_RUN: u8 = 77;

// The code of the README at the top is compiled as a test of the documentation: here, for a package could not reach it.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
