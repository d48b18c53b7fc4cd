//! Reads the lines of a journal, also while it is written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;
use whalewatcher_core::Printable;

use super::file::older;
use super::{LONGEST_LINE, Line};

/// How often a journal may be rotated while it is opened.
const ATTEMPTS: usize = 8;

/// The lines of the older file, if there is one, and of the newest.
pub(crate) struct Reader {
    /// What to print for its path.
    name: String,
    files: Vec<BufReader<File>>,
    /// How many lines were skipped because they are none of a journal.
    pub(crate) skipped: usize,
}

impl Reader {
    /// Opens a journal.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = Printable(&path.display().to_string()).to_string();
        let opened = open(path).with_context(|| format!("cannot read the journal {name}"))?;
        // The newest is read last.
        let files = opened.into_iter().rev().map(BufReader::new).collect();
        Ok(Self { name, files, skipped: 0 })
    }

    /// Returns the next line. Those that are none of a journal are counted, except for an incomplete last one
    /// of a file: the program that wrote it was killed, or is about to finish it.
    ///
    /// # Errors
    ///
    /// If reading fails.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Line>> {
        self.read().with_context(|| format!("cannot read the journal {}", self.name))
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        while let Some(file) = self.files.last_mut() {
            let mut line = Vec::new();
            Read::by_ref(file).take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                self.files.pop();
                continue;
            }
            let is_whole = line.ends_with(b"\n");
            if !is_whole && line.len() > LONGEST_LINE {
                skip_line(file)?;
            }
            match Line::read(&line) {
                Some(line) => return Ok(Some(line)),
                None if line.trim_ascii().is_empty() || !is_whole && line.len() <= LONGEST_LINE => {}
                None => self.skipped += 1,
            }
        }
        Ok(None)
    }
}

/// Returns the older file, if there is one, and the newest: a moment of a journal that may be rotated meanwhile.
fn open(path: &Path) -> io::Result<Vec<File>> {
    for attempt in 1.. {
        let newest = File::open(path)?;
        let Ok(older) = File::open(older(path)) else { return Ok(vec![newest]) };
        let id = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        if id(&newest)? != id(&older)? || attempt == ATTEMPTS {
            return Ok(vec![older, newest]);
        }
    }
    Ok(Vec::new())
}

/// Skips the rest of a line, however long it is.
fn skip_line(file: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = file.fill_buf()?;
        let (count, is_over) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (bytes.len(), bytes.is_empty()),
        };
        file.consume(count);
        if is_over {
            return Ok(());
        }
    }
}
