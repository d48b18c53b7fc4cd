//! How events are written in a stream.

use super::feed::Position;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `text/event-stream`
    Sse,
    /// `application/x-ndjson`
    Lines,
}

impl Form {
    /// Writes an event, of which this is the line, with the position after it.
    pub(super) fn write(self, piece: &mut Vec<u8>, position: &Position, name: &str, line: &[u8]) {
        if self == Self::Sse {
            piece.extend_from_slice(format!("id: {position}\nevent: {name}\ndata: ").as_bytes());
        }
        piece.extend_from_slice(line);
        piece.extend_from_slice(self.end());
    }

    /// Returns what follows the last line of an event.
    pub(super) fn end(self) -> &'static [u8] {
        match self {
            Self::Sse => b"\n\n",
            Self::Lines => b"\n",
        }
    }

    /// Returns what means nothing.
    pub(super) fn comment(self) -> &'static [u8] {
        match self {
            Self::Sse => b":\n\n",
            Self::Lines => b"\n",
        }
    }
}
