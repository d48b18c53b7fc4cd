//! Estimates the memory that a message takes once it is decoded, from its bytes as they arrive.
//!
//! Decoding can multiply the size: an empty entry of a list has two bytes and takes hundreds once decoded.
//! The bytes alone do not distinguish messages from texts, so every field that can be read as a message
//! counts as one.

/// The depth to which nested messages are examined. The messages of containerd and CRI have no more levels.
const LEVELS: usize = 8;

/// The memory that a text takes in addition to its bytes.
const TEXT: usize = 64;

/// The memory that each field takes that may be a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// A field of the outermost message, in bytes.
    pub outer: usize,
    /// A field of a nested message, in bytes.
    pub inner: usize,
}

/// Examines a message in pieces, and adds up the memory that it takes in addition to its bytes.
#[derive(Debug)]
pub(crate) struct Weight {
    fields: Fields,
    total: usize,
    /// How many bytes were examined.
    at: usize,
    /// The ends of the messages that are being examined, the outermost first.
    ends: Vec<usize>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Tag(Varint),
    /// A number.
    Number(Varint),
    /// The length of a field.
    Length(Varint),
    /// This many bytes are not examined.
    Skip(usize),
}

#[derive(Clone, Copy, Debug, Default)]
struct Varint {
    value: u64,
    bits: u32,
}

impl Varint {
    /// Adds one byte; returns the value once it is whole.
    fn push(&mut self, byte: u8) -> Result<Option<u64>, ()> {
        if self.bits > 63 {
            return Err(());
        }
        self.value |= u64::from(byte & 0x7f) << self.bits;
        self.bits += 7;
        Ok((byte & 0x80 == 0).then_some(self.value))
    }
}

impl Weight {
    /// Begins a message of this length.
    pub(crate) fn new(length: usize, fields: Fields) -> Self {
        Self { fields, total: 0, at: 0, ends: vec![length], state: State::Tag(Varint::default()) }
    }

    /// Returns the memory counted so far.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Examines the next piece.
    pub(crate) fn read(&mut self, mut piece: &[u8]) {
        while let Some((byte, rest)) = piece.split_first() {
            if let State::Skip(left) = &mut self.state {
                let skipped = piece.len().min(*left);
                *left -= skipped;
                self.at += skipped;
                piece = &piece[skipped..];
                if *left == 0 {
                    self.next();
                } else if skipped == 0 {
                    return;
                }
                continue;
            }
            piece = rest;
            self.at += 1;
            if self.byte(*byte).is_err() {
                self.give_up();
            }
        }
    }

    fn byte(&mut self, byte: u8) -> Result<(), ()> {
        let end = self.ends.last().copied().ok_or(())?;
        match &mut self.state {
            State::Tag(varint) => match varint.push(byte)? {
                None => {}
                Some(tag) if tag >> 3 == 0 => return Err(()),
                Some(tag) => {
                    self.state = match tag & 7 {
                        0 => State::Number(Varint::default()),
                        1 => State::Skip(8),
                        2 => State::Length(Varint::default()),
                        5 => State::Skip(4),
                        // The start or the end of a group of fields, which protobuf has deprecated.
                        3 | 4 => return self.over(),
                        _ => return Err(()),
                    };
                }
            },
            State::Number(varint) => {
                if varint.push(byte)?.is_some() {
                    return self.over();
                }
            }
            State::Length(varint) => {
                if let Some(length) = varint.push(byte)? {
                    let length = usize::try_from(length).map_err(|_| ())?;
                    return self.field(length, end);
                }
            }
            State::Skip(_) => {}
        }
        // The rest of the field needs at least one more byte.
        let needed = if let State::Skip(bytes) = self.state { bytes } else { 1 };
        if end.saturating_sub(self.at) < needed { Err(()) } else { Ok(()) }
    }

    fn field(&mut self, length: usize, end: usize) -> Result<(), ()> {
        if end.saturating_sub(self.at) < length {
            return Err(());
        }
        self.total = self.total.saturating_add(self.weight_at(self.ends.len()));
        if length > 0 && self.ends.len() < LEVELS {
            self.ends.push(self.at + length);
            self.state = State::Tag(Varint::default());
        } else {
            self.state = State::Skip(length);
            if length == 0 {
                self.next();
            }
        }
        Ok(())
    }

    /// Returns the memory of a field in a message at this depth, which is 1 for the outermost one.
    fn weight_at(&self, depth: usize) -> usize {
        if depth <= 1 { self.fields.outer } else { self.fields.inner }
    }

    fn over(&mut self) -> Result<(), ()> {
        self.next();
        Ok(())
    }

    /// Ends a field, and the messages of which it is the last one.
    fn next(&mut self) {
        while self.ends.last().is_some_and(|end| *end <= self.at) {
            self.ends.pop();
        }
        self.state = State::Tag(Varint::default());
    }

    /// Counts the current message as a text, because it cannot be read as a message.
    fn give_up(&mut self) {
        let end = self.ends.pop().unwrap_or(self.at);
        if !self.ends.is_empty() {
            self.total = self.total.saturating_sub(self.weight_at(self.ends.len()));
        }
        self.total = self.total.saturating_add(TEXT);
        if end > self.at {
            self.state = State::Skip(end - self.at);
        } else {
            self.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: Fields = Fields { outer: 1000, inner: 100 };

    /// In pieces of each size.
    fn weight(message: &[u8]) -> usize {
        let weights = [1, 2, 3, 7, 1 << 20].map(|size| {
            let mut weight = Weight::new(message.len(), FIELDS);
            message.chunks(size).for_each(|piece| weight.read(piece));
            weight.total()
        });
        assert!(weights.iter().all(|weight| *weight == weights[0]), "{weights:?}");
        weights[0]
    }

    #[test]
    fn what_may_be_a_message_counts_as_one_whatever_is_in_it() {
        for (message, expected) in [
            (&[][..], 0),
            // Numbers take nothing of their own.
            (&[0x08, 0x01, 0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x0d, 1, 2, 3, 4], 0),
            // Empty ones are as large as any.
            (&[0x0a, 0, 0x0a, 0, 0x0a, 0], 3_000),
            // An entry of a map: one message, and two texts in it.
            (&[0x0a, 6, 0x0a, 1, b'n', 0x12, 1, b'v'], 1_000 + 2 * TEXT),
            // So are groups.
            (&[0x0a, 2, 0x7b, 0x7c, 0x0a, 0], 2_000),
            // Text is none.
            (&[0x0a, 5, b'h', b'e', b'l', b'l', b'o'], TEXT),
            // What breaks off counts as far as it goes.
            (&[0x0a, 0, 0x0a, 9, 0x0a, 0], 1_000 + TEXT),
            (&[0x0a, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1_000 + TEXT),
            (&[0x0a, 4, 0x12, 0, 0x12, 0x07, 0x0a, 0], 100 + TEXT + 1_000),
        ] {
            assert_eq!(weight(message), expected, "{message:?}");
        }
    }

    #[test]
    fn entries_count_each_and_a_long_text_once() {
        assert_eq!(weight(&[0x0a, 0].repeat(100_000)), 100_000_000);
        let mut text = vec![0x0a, 0xc0, 0x84, 0x3d];
        text.extend("yes, a long text".bytes().cycle().take(1_000_000));
        assert_eq!(weight(&text), TEXT);
    }
}
