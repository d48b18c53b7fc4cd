//! The file of a journal: locked, appended to, and rotated.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use whalewatcher_core::Printable;

use super::{BEGINNING, Mark, mark};

/// The size above which a file becomes the older one. With that one, a journal takes twice as much.
pub(crate) const LIMIT: u64 = 16 * 1024 * 1024;

/// How often a file may be replaced while it is opened.
const ATTEMPTS: usize = 8;

/// The file of a journal, which no other program writes meanwhile.
#[derive(Debug)]
pub(crate) struct JournalFile {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
    /// A device, such as /dev/full, is neither locked nor rotated.
    is_regular: bool,
    /// The last line is incomplete.
    is_torn: bool,
}

impl JournalFile {
    /// Opens or creates a journal.
    ///
    /// # Errors
    ///
    /// If another program writes it, if it is something else, or if it cannot be opened.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        Self::with_limit(path, LIMIT)
    }

    pub(super) fn with_limit(path: &Path, limit: u64) -> anyhow::Result<Self> {
        let name = Printable(&path.display().to_string()).to_string();
        for _ in 0..ATTEMPTS {
            if let Some(file) = Self::try_open(path, limit, &name)? {
                return Ok(file);
            }
        }
        bail!("the journal {name} is replaced again and again")
    }

    /// Returns `None` if the file was replaced meanwhile.
    fn try_open(path: &Path, limit: u64, name: &str) -> anyhow::Result<Option<Self>> {
        // Opening a FIFO would wait for its reader.
        let kind = fs::metadata(path).map(|metadata| metadata.file_type());
        if kind.is_ok_and(|kind| !kind.is_file() && !kind.is_char_device()) {
            bail!("the journal {name} is not a file");
        }
        let cannot_open = || format!("cannot open the journal {name}");
        let mut file = options().open(path).with_context(cannot_open)?;
        let metadata = file.metadata().with_context(cannot_open)?;
        let is_regular = metadata.is_file();
        // A device is not this program's alone.
        if is_regular {
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    bail!("the journal {name} is written by another program; --journal can name another file")
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock the journal {name}"));
                }
            }
        }
        if !fs::metadata(path).is_ok_and(|now| now.ino() == metadata.ino() && now.dev() == metadata.dev()) {
            return Ok(None);
        }
        // No other program writes it from here on.
        let size = if is_regular { file.metadata().with_context(cannot_open)?.len() } else { 0 };
        let is_torn = size > 0 && {
            let (begins, ends) = ends_of(&mut file, size).with_context(cannot_open)?;
            if !begins {
                bail!("{name} is no journal; --journal can name another file");
            }
            !ends
        };
        Ok(Some(Self { path: path.to_owned(), file, size, limit, is_regular, is_torn }))
    }

    /// Appends a line.
    ///
    /// # Errors
    ///
    /// If it cannot be written. It may be incomplete then, and the next one begins on a line of its own.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_regular && self.size > 0 && self.size + line.len() as u64 > self.limit {
            self.rotate()?;
            self.write(&mark(Mark::Continued))?;
        }
        self.write(line)
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let line = if self.is_torn { [b"\n", line].concat() } else { line.to_vec() };
        let written = self.file.write_all(&line);
        self.is_torn = written.is_err();
        self.size += line.len() as u64;
        written
    }

    /// Makes this file the older one and begins another, which replaces it in one step: at any time, the path
    /// has a locked file.
    fn rotate(&mut self) -> io::Result<()> {
        let (older, new) = (older(&self.path), beside(&self.path, ".new"));
        // Left by a program that was killed.
        let _ = fs::remove_file(&new);
        let file = options().open(&new)?;
        file.try_lock()?;
        let _ = fs::remove_file(&older);
        if fs::hard_link(&self.path, &older).is_err() {
            // Some file systems have no links.
            fs::rename(&self.path, &older)?;
        }
        fs::rename(&new, &self.path)?;
        (self.file, self.size, self.is_torn) = (file, 0, false);
        Ok(())
    }
}

/// Returns the path of the older file.
pub(super) fn older(path: &Path) -> PathBuf {
    beside(path, ".1")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Labels may be confidential, so only the user reads the file.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    options
}

/// Returns whether a file begins as a journal does, and ends with a whole line.
fn ends_of(file: &mut File, size: u64) -> io::Result<(bool, bool)> {
    let mut first = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    Read::by_ref(file).take(BEGINNING.len() as u64).read_to_end(&mut first)?;
    let mut last = [0];
    file.seek(SeekFrom::Start(size - 1))?;
    file.read_exact(&mut last)?;
    Ok((BEGINNING.as_bytes().starts_with(&first), last == *b"\n"))
}
