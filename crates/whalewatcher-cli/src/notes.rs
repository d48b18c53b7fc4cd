//! Notes for the user: lines on the standard error.

use std::convert::Infallible;
use std::io::{Write, stderr};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use whalewatcher_core::Printable;

use crate::thread::spawn_detached;

/// Writes a line with the program's name to the standard error.
pub(crate) fn note(message: &str) {
    // Fails if the standard error was closed; there is no other place for the note.
    let _ = writeln!(stderr().lock(), "whalewatcher: {}", Printable(message));
}

/// Writes a note in a thread of its own, for rare ones where no [`Notes`] are.
pub(crate) fn note_beside(message: String) {
    let _ = spawn_detached("note", move || note(&message));
}

/// The most notes that wait for a standard error that is not read. Further ones are dropped.
const QUEUE: usize = 1024;

/// Writes notes in a thread of its own, so that a standard error that is not read blocks no caller.
pub(crate) struct Notes {
    lines: SyncSender<String>,
    /// Disconnects once all notes are written.
    written: Receiver<Infallible>,
}

impl Notes {
    /// Starts the thread.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let (lines, waiting) = sync_channel::<String>(QUEUE);
        let (writing, written) = sync_channel(0);
        spawn_detached("notes", move || {
            let _writing: SyncSender<Infallible> = writing;
            waiting.iter().for_each(|message| note(&message));
        })?;
        Ok(Self { lines, written })
    }

    /// Queues a note.
    pub(crate) fn note(&self, message: String) {
        let _ = self.lines.try_send(message);
    }

    /// Blocks until all notes are written.
    pub(crate) fn finish(self) {
        drop(self.lines);
        let _ = self.written.recv();
    }
}
