//! Lines out of a body that never ends.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use whalewatcher_core::EngineError;

use crate::http::failure;
use crate::limits::ENDLESS;

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// All of it.
    Whole(Bytes),
    /// As much as the limit allows of one that is longer. The rest of it is passed over.
    Beginning(Bytes),
}

impl Line {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) | Self::Beginning(bytes) => bytes,
        }
    }
}

/// Takes a body apart into lines. It holds no more than the limit of a line and what came at once.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    received: Received,
}

impl Lines {
    pub(crate) fn new(body: Incoming, limit: usize) -> Self {
        Self { body, received: Received::new(limit) }
    }

    /// The next line; `None` at the end of the body, where an unfinished line is dropped. Waits for as long as it
    /// takes.
    pub(crate) async fn next(&mut self, what: &str) -> Result<Option<Line>, EngineError> {
        loop {
            if let Some(line) = self.received.take_line() {
                return Ok(Some(line));
            }
            if self.received.is_endless() {
                return Err(failure::too_large(what, self.received.limit * ENDLESS));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.received.add(&data);
                    }
                }
                Some(Err(error)) => return Err(failure::of_body(what, error)),
                None => return Ok(None),
            }
        }
    }
}

/// What came and is not taken yet.
#[derive(Debug)]
pub(crate) struct Received {
    buffer: BytesMut,
    /// How much of it is known to be within one line.
    searched: usize,
    limit: usize,
    /// How much was passed over of a line of which the beginning was taken.
    passed: Option<usize>,
}

impl Received {
    pub(crate) fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, limit, passed: None }
    }

    pub(crate) fn add(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    pub(crate) fn take_line(&mut self) -> Option<Line> {
        loop {
            let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            let end = end.map(|end| self.searched + end);
            if let Some(passed) = &mut self.passed {
                let Some(end) = end else {
                    *passed += self.buffer.len();
                    self.buffer.clear();
                    self.searched = 0;
                    return None;
                };
                self.buffer.advance(end + 1);
                (self.searched, self.passed) = (0, None);
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
                    self.passed = Some(self.limit);
                    Some(Line::Beginning(self.buffer.split_to(self.limit).freeze()))
                }
            };
        }
    }

    /// Whether a line is so long that its end is not waited for any more.
    pub(crate) fn is_endless(&self) -> bool {
        self.passed.is_some_and(|passed| passed > self.limit.saturating_mul(ENDLESS))
    }

    /// How many bytes are held.
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

    fn beginning(line: &'static str) -> Line {
        Line::Beginning(line.into())
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
    fn lines_come_whole_however_they_are_cut() {
        let mut received = Received::new(10);
        let came = lines(&mut received, &["a", "b\nc\n\nd", "", "e", "\n"]);
        assert_eq!(came, [whole("ab"), whole("c"), whole(""), whole("de")]);
        assert_eq!(received.held(), 0);
    }

    #[test]
    fn of_a_line_above_the_limit_the_beginning_is_taken_and_the_next_line_comes_whole() {
        let expected = [whole("1234"), beginning("abcd"), whole("ef"), beginning("ABCD"), whole("")];
        let text = "1234\nabcdefgh\nef\nABCDE\n\n";
        let mut at_once = Received::new(4);
        assert_eq!(lines(&mut at_once, &[text]), expected);
        let mut bit_by_bit = Received::new(4);
        let pieces: Vec<_> = text.split_inclusive(|_| true).collect();
        assert_eq!(lines(&mut bit_by_bit, &pieces), expected);
        assert_eq!((at_once.held(), bit_by_bit.held()), (0, 0));
    }

    #[test]
    fn a_line_without_end_is_held_up_to_the_limit_and_given_up_far_beyond_it() {
        let mut received = Received::new(4);
        assert_eq!(lines(&mut received, &["abc", "defgh"]), [beginning("abcd")]);
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
