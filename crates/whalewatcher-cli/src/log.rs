//! The log, on the standard error.

use std::env;
use std::io::stderr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::render::style::stderr_is_coloured;

/// Installs the global `tracing` subscriber, with the level of `-v`, else that of `RUST_LOG`, else `error`.
pub(crate) fn start(verbosity: u8) {
    let ours = |level| Targets::new().with_target("whalewatcher", level);
    let targets = match verbosity {
        0 => from_environment().unwrap_or_else(|| Targets::new().with_default(LevelFilter::ERROR)),
        1 => Targets::new().with_default(LevelFilter::INFO),
        2 => ours(LevelFilter::DEBUG).with_default(LevelFilter::INFO),
        _ => ours(LevelFilter::TRACE).with_default(LevelFilter::DEBUG),
    };
    let log = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(stderr_is_coloured());
    tracing_subscriber::registry().with(log).with(targets).init();
}

/// Returns what `RUST_LOG` selects: levels, with targets or without, such as `info,whalewatcher=debug`.
fn from_environment() -> Option<Targets> {
    env::var("RUST_LOG").ok()?.parse().ok()
}
