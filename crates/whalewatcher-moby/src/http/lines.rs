//! Splits an endless body into lines.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use whalewatcher_core::EngineError;

use crate::http::error;
use crate::limits::ENDLESS;

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// All of it.
    Whole(Bytes),
    /// The beginning of one that exceeds the limit. The rest of it is skipped.
    Truncated(Bytes),
}

impl Line {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) | Self::Truncated(bytes) => bytes,
        }
    }
}

/// Splits a body into lines. It holds no more than the limit of a line and the newest frame.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    received: Received,
}

impl Lines {
    pub(crate) fn new(body: Incoming, limit: usize) -> Self {
        Self { body, received: Received::new(limit) }
    }

    /// Returns the next line; `None` at the end of the body, where an unfinished line is dropped. There is no time limit.
    pub(crate) async fn next(&mut self, what: &str) -> Result<Option<Line>, EngineError> {
        loop {
            if let Some(line) = self.received.take_line() {
                return Ok(Some(line));
            }
            if self.received.is_endless() {
                return Err(error::too_large(what, self.received.limit * ENDLESS));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.received.add(&data);
                    }
                }
                Some(Err(error)) => return Err(error::of_body(what, error)),
                None => return Ok(None),
            }
        }
    }
}

/// What was received and is not taken yet.
#[derive(Debug)]
pub(crate) struct Received {
    buffer: BytesMut,
    /// How much of the buffer is known to contain no end of a line.
    searched: usize,
    limit: usize,
    /// How much was skipped of a line that was truncated.
    skipped: Option<usize>,
}

impl Received {
    pub(crate) fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, limit, skipped: None }
    }

    pub(crate) fn add(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    pub(crate) fn take_line(&mut self) -> Option<Line> {
        loop {
            let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            let end = end.map(|end| self.searched + end);
            if let Some(skipped) = &mut self.skipped {
                let Some(end) = end else {
                    *skipped += self.buffer.len();
                    self.buffer.clear();
                    self.searched = 0;
                    return None;
                };
                self.buffer.advance(end + 1);
                (self.searched, self.skipped) = (0, None);
                continue;
            }
            self.searched = 0;
            return match end {
                Some(end) if end <= self.limit => {
                    let line = self.buffer.split_to(end).freeze();
                    self.buffer.advance(1);
                    Some(Line::Whole(line))
                }
                None if self.buffer.len() <= self.limit => {
                    self.searched = self.buffer.len();
                    None
                }
                _ => {
                    self.skipped = Some(self.limit);
                    Some(Line::Truncated(self.buffer.split_to(self.limit).freeze()))
                }
            };
        }
    }

    /// Whether a line is so long that its end is no longer waited for.
    pub(crate) fn is_endless(&self) -> bool {
        self.skipped.is_some_and(|skipped| skipped > self.limit.saturating_mul(ENDLESS))
    }

    /// The number of bytes held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(line: &'static str) -> Line {
        Line::Whole(line.into())
    }

    fn truncated(line: &'static str) -> Line {
        Line::Truncated(line.into())
    }

    fn lines(received: &mut Received, pieces: &[&str]) -> Vec<Line> {
        let mut lines = Vec::new();
        for piece in pieces {
            received.add(piece.as_bytes());
            lines.extend(std::iter::from_fn(|| received.take_line()));
        }
        lines
    }

    #[test]
    fn lines_are_complete_in_pieces_of_any_size() {
        let mut received = Received::new(10);
        let came = lines(&mut received, &["a", "b\nc\n\nd", "", "e", "\n"]);
        assert_eq!(came, [whole("ab"), whole("c"), whole(""), whole("de")]);
        assert_eq!(received.held(), 0);
    }

    #[test]
    fn a_line_above_the_limit_is_truncated_and_the_next_is_complete() {
        let expected = [whole("1234"), truncated("abcd"), whole("ef"), truncated("ABCD"), whole("")];
        let text = "1234\nabcdefgh\nef\nABCDE\n\n";
        let mut at_once = Received::new(4);
        assert_eq!(lines(&mut at_once, &[text]), expected);
        let mut bit_by_bit = Received::new(4);
        let pieces: Vec<_> = text.split_inclusive(|_| true).collect();
        assert_eq!(lines(&mut bit_by_bit, &pieces), expected);
        assert_eq!((at_once.held(), bit_by_bit.held()), (0, 0));
    }

    #[test]
    fn a_line_without_end_is_held_up_to_the_limit_and_abandoned_far_beyond_it() {
        let mut received = Received::new(4);
        assert_eq!(lines(&mut received, &["abc", "defgh"]), [truncated("abcd")]);
        for _ in 2..ENDLESS {
            assert!(!received.is_endless());
            assert_eq!(lines(&mut received, &["wxyz"]), []);
            assert_eq!(received.held(), 0);
        }
        assert!(!received.is_endless());
        assert_eq!(lines(&mut received, &["!"]), []);
        assert!(received.is_endless());
    }
}
