//! What goes on inside, on the standard error, for those who want to know.

use std::io::stderr;

use tracing_subscriber::EnvFilter;

use crate::render::style::stderr_is_coloured;

/// Starts logging: so much, or else as `RUST_LOG` says, or else nothing but errors.
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
