//! Lines on the standard error.

use std::convert::Infallible;
use std::io::{Write, stderr};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use whalewatcher_core::Printable;

use crate::thread::spawn_detached;

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
        spawn_detached("notes", move || {
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
