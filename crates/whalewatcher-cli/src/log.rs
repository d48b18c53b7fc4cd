//! What goes on inside, on the standard error, for those who want to know.

use std::convert::Infallible;
use std::io::{Write, stderr};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tracing_subscriber::EnvFilter;
use whalewatcher_core::Printable;

use crate::output::in_thread;
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

/// Writes a line to the standard error.
pub(crate) fn note(message: &str) {
    // It fails where the standard error was closed.
    let _ = writeln!(stderr().lock(), "whalewatcher: {}", Printable(message));
}

/// How many lines may wait for a standard error that is not read; what exceeds them is lost.
const WAITING: usize = 1024;

/// Lines for the standard error, written by a thread of their own: if that blocks, those that write them do not.
pub(crate) struct Notes {
    lines: SyncSender<String>,
    /// Disconnected once all are written.
    written: Receiver<Infallible>,
}

impl Notes {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let (lines, waiting) = sync_channel::<String>(WAITING);
        let (writing, written) = sync_channel(0);
        in_thread("notes", move || {
            let _writing: SyncSender<Infallible> = writing;
            waiting.iter().for_each(|message| note(&message));
        })?;
        Ok(Self { lines, written })
    }

    pub(crate) fn note(&self, message: String) {
        let _ = self.lines.try_send(message);
    }

    /// Blocks until all are written.
    pub(crate) fn finish(self) {
        drop(self.lines);
        let _ = self.written.recv();
    }
}
