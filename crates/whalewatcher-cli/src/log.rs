//! The log, on the standard error.

use std::io::stderr;

use tracing_subscriber::EnvFilter;

use crate::render::style::stderr_is_coloured;

/// Installs the global `tracing` subscriber, with the level of `-v`, else that of `RUST_LOG`, else `error`.
pub(crate) fn start(verbosity: u8) {
    let filter = match verbosity {
        0 => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error")),
        1 => EnvFilter::new("info"),
        2 => EnvFilter::new("info,whalewatcher=debug"),
        _ => EnvFilter::new("debug,whalewatcher=trace"),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr_is_coloured())
        .init();
}
