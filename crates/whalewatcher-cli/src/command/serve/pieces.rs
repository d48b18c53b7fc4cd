//! Pieces of bodies of streams, which clients at the same position share.

use std::collections::VecDeque;

use axum::body::Bytes;
use whalewatcher_core::fleet::FleetPortfolio;

use super::form::Form;

/// The most pieces that are kept, and bytes of them. The one that was sent last is kept, however large it is.
const MOST: usize = 64;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Events as a piece of a body.
pub(super) struct Piece {
    pub(super) form: Form,
    /// The number of the first of them, and of the first after them.
    pub(super) from: u64,
    pub(super) next: u64,
    pub(super) bytes: Bytes,
    /// What is alive after them, if that is known.
    pub(super) now: Option<FleetPortfolio>,
}

/// What clients were sent, the last one at the end.
#[derive(Default)]
pub(super) struct Pieces {
    sent: VecDeque<Piece>,
    bytes: usize,
}

impl Pieces {
    /// Takes the piece that begins with this event.
    pub(super) fn take(&mut self, form: Form, from: u64) -> Option<Piece> {
        // Most clients ask for the newest.
        let at = self.sent.iter().rposition(|piece| (piece.form, piece.from) == (form, from))?;
        let piece = self.sent.remove(at)?;
        self.bytes -= piece.bytes.len();
        Some(piece)
    }

    /// Keeps a piece that a client is sent.
    pub(super) fn put(&mut self, piece: Piece) {
        self.bytes += piece.bytes.len();
        self.sent.push_back(piece);
        while self.sent.len() > 1 && (self.sent.len() > MOST || self.bytes > MOST_BYTES) {
            if let Some(oldest) = self.sent.pop_front() {
                self.bytes -= oldest.bytes.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(from: u64, size: usize) -> Piece {
        Piece { form: Form::Sse, from, next: from + 1, bytes: vec![b'x'; size].into(), now: None }
    }

    #[test]
    fn those_sent_last_are_kept_within_a_number_and_bytes() {
        let mut pieces = Pieces::default();
        (0..=MOST as u64).for_each(|from| pieces.put(piece(from, 1)));
        assert_eq!((pieces.sent.len(), pieces.bytes), (MOST, MOST));
        assert!(pieces.take(Form::Sse, 0).is_none() && pieces.take(Form::Lines, 1).is_none());
        let first = pieces.take(Form::Sse, 1).unwrap();
        pieces.put(first);
        pieces.put(piece(100, 1));
        assert!(pieces.take(Form::Sse, 2).is_none(), "the first was sent again since");
        for from in 101..104 {
            pieces.put(piece(from, MOST_BYTES));
            assert_eq!((pieces.sent.len(), pieces.bytes), (1, MOST_BYTES));
        }
        assert!(pieces.take(Form::Sse, 103).is_some() && pieces.bytes == 0);
    }
}
