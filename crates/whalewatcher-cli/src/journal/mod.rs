//! The journal: the events of a watch in a file, for `log`.
//!
//! Each line is a JSON object: an event as `watch -o json` prints it, or a mark, with the time at which it
//! was written. Lines are appended with one `write` each, so a killed program leaves at most its last one
//! incomplete.

mod file;
mod reader;
mod recorder;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use whalewatcher_core::{Event, Watcher};

pub(crate) use self::file::JournalFile;
pub(crate) use self::reader::Reader;
pub(crate) use self::recorder::{QUIET, Recorder};
use crate::render::json;

/// How each line begins: with the time at which it was written.
const BEGINNING: &str = "{\"at\":\"";

/// The most bytes of a line.
const LONGEST_LINE: usize = 1024 * 1024;

/// What a line says that is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mark {
    /// A watch begins: what happened since the last line was not recorded.
    Begun,
    /// Nothing has happened since the last line.
    Quiet,
    /// The file continues the one before.
    Continued,
}

/// A line.
#[derive(Debug)]
pub(crate) struct Line {
    /// When it was written.
    pub(crate) at: SystemTime,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Mark(Mark),
    Event(Event),
}

/// The fields of a line that are not its event's.
#[derive(Serialize, Deserialize)]
struct Head {
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<Mark>,
}

/// Returns the line of a mark.
fn mark(mark: Mark) -> Vec<u8> {
    let head = Head { at: Timestamp::now().to_string(), journal: Some(mark) };
    let mut line = serde_json::to_vec(&head).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Returns the line of an event; `None` if it would be too long.
fn event(watcher: &dyn Watcher, event: &Event) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    write!(line, "{BEGINNING}{}\",", Timestamp::now())?;
    let at = line.len();
    json::write_event(&mut line, watcher, event)?;
    // Its own brace.
    line.remove(at);
    Ok((line.len() <= LONGEST_LINE).then_some(line))
}

impl Line {
    /// Reads a line.
    fn read(line: &[u8]) -> Option<Self> {
        let Head { at, journal } = serde_json::from_slice(line).ok()?;
        let what = match journal {
            Some(mark) => What::Mark(mark),
            None => What::Event(serde_json::from_slice(line).ok()?),
        };
        let at = SystemTime::try_from(at.parse::<Timestamp>().ok()?).ok()?;
        Some(Self { at, what })
    }
}
