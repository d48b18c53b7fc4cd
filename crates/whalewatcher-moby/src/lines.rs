//! Lines out of a body that never ends.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use whalewatcher_core::EngineError;

use crate::failure;

/// Takes a body apart into lines, none longer than `limit` bytes.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    received: Received,
    limit: usize,
}

impl Lines {
    pub(crate) fn new(body: Incoming, limit: usize) -> Self {
        Self { body, received: Received::default(), limit }
    }

    /// The next line without its end; `None` at the end of the body, where an unfinished line is dropped. Waits for
    /// as long as it takes.
    pub(crate) async fn next(&mut self, what: &str) -> Result<Option<Bytes>, EngineError> {
        loop {
            if let Some(line) = self.received.take_line() {
                return Ok(Some(line));
            }
            if self.received.is_longer_than(self.limit) {
                return Err(failure::too_large(what, self.limit));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.received.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(failure::of_body(what, error)),
                None => return Ok(None),
            }
        }
    }
}

/// What came and is not taken yet.
#[derive(Debug, Default)]
struct Received {
    buffer: BytesMut,
    /// How much of it is known to be within one line.
    searched: usize,
}

impl Received {
    fn is_longer_than(&self, limit: usize) -> bool {
        self.buffer.len() > limit
    }

    fn take_line(&mut self) -> Option<Bytes> {
        let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + end).freeze();
        self.buffer.advance(1);
        self.searched = 0;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let mut received = Received::default();
        let mut lines = Vec::new();
        for piece in ["a", "b\nc\n\nd", "", "e", "\n"] {
            received.buffer.extend_from_slice(piece.as_bytes());
            while let Some(line) = received.take_line() {
                lines.push(line);
            }
        }
        assert_eq!(lines, ["ab", "c", "", "de"]);
        assert!(received.buffer.is_empty());
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit() {
        let mut received = Received::default();
        for (piece, longer) in [("ab", false), ("c", false), ("d", true)] {
            received.buffer.extend_from_slice(piece.as_bytes());
            assert_eq!(received.is_longer_than(3), longer, "{received:?}");
        }
    }
}
