//! Lines of an event stream, in pieces of any size: dropped, repeated or delayed.

/// A longer line passes unchanged.
const MAX_LINE: usize = 1024 * 1024;

/// What happens to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    Drop,
    Repeat,
    /// It is sent after the line that follows.
    Delay,
}

/// Splits a stream into lines while a fault concerns them, and passes it unchanged otherwise.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The beginning of an unfinished line.
    held: Vec<u8>,
    /// Lines that wait for the next one.
    delayed: Vec<u8>,
    /// Within a line of which a part has passed.
    inside: bool,
}

impl Lines {
    /// Adds a piece, and returns what to pass on. `decide` is called for lines that begin in the piece.
    pub(super) fn edit(&mut self, mut piece: &[u8], mut decide: impl FnMut(&[u8]) -> Fate) -> Vec<u8> {
        let mut out = Vec::new();
        while !piece.is_empty() {
            let end = piece.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
            let (part, rest) = piece.split_at(end.unwrap_or(piece.len()));
            piece = rest;
            if self.inside {
                out.extend_from_slice(part);
                self.inside = end.is_none();
                continue;
            }
            self.held.extend_from_slice(part);
            if end.is_some() {
                let line = std::mem::take(&mut self.held);
                self.settle(&line, decide(&line), &mut out);
            } else if self.held.len() > MAX_LINE {
                out.append(&mut self.held);
                self.inside = true;
            }
        }
        out
    }

    fn settle(&mut self, line: &[u8], fate: Fate, out: &mut Vec<u8>) {
        match fate {
            Fate::Pass => out.extend_from_slice(line),
            Fate::Drop => return,
            Fate::Repeat => {
                out.extend_from_slice(line);
                out.extend_from_slice(line);
            }
            Fate::Delay => {
                // Lines that waited for this one go first, so that none waits for ever.
                out.append(&mut self.delayed);
                self.delayed.extend_from_slice(line);
                return;
            }
        }
        out.append(&mut self.delayed);
    }

    /// Adds a piece that no fault concerns, and returns what to pass on with it.
    pub(super) fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = self.rest();
        out.extend_from_slice(piece);
        if let Some(last) = piece.last() {
            self.inside = *last != b'\n';
        }
        out
    }

    /// Whether data is held back.
    pub(super) fn keeps(&self) -> bool {
        !(self.held.is_empty() && self.delayed.is_empty())
    }

    /// Returns the data that is held back, at the end.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.delayed);
        if !self.held.is_empty() {
            self.inside = true;
            out.append(&mut self.held);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(line: &[u8]) -> Fate {
        match line[0] {
            b'-' => Fate::Drop,
            b'2' => Fate::Repeat,
            b'>' => Fate::Delay,
            _ => Fate::Pass,
        }
    }

    #[test]
    fn lines_are_edited_in_pieces_of_any_size() {
        let stream = b"a\n-b\n2c\n>d\ne\n-f\n>g\n>h\n-i\nj\n";
        for size in 1..stream.len() {
            let mut lines = Lines::default();
            let mut out = Vec::new();
            for piece in stream.chunks(size) {
                out.extend(lines.edit(piece, fate));
            }
            assert_eq!(out, b"a\n2c\n2c\ne\n>d\n>g\nj\n>h\n", "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_that_has_begun_to_pass_is_not_edited() {
        let mut lines = Lines::default();
        assert_eq!(lines.pass(b"a\n-half"), b"a\n-half");
        assert_eq!(lines.edit(b" done\n-gone\n", fate), b" done\n");
        assert_eq!(lines.edit(b"part", fate), b"");
        assert_eq!(lines.pass(b"ly\n"), b"partly\n");
        assert_eq!(lines.edit(b">late\n", fate), b"");
        assert_eq!(lines.rest(), b">late\n");
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut lines = Lines::default();
        let long = vec![b'-'; MAX_LINE + 1];
        assert_eq!(lines.edit(&long, fate).len(), long.len());
        assert_eq!(lines.edit(b"-\n-\nx\n", fate), b"-\nx\n");
    }
}
