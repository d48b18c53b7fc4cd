//! Lines of event streams that ended a connection, for they could not be understood at all.
//!
//! The resynchronization that follows makes up for such a line. Should it come again, because the engine replays its
//! events, then it has been made up for: to end that connection too, and the next one, would help nobody.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// As many events as an engine remembers to replay.
const REMEMBERED: usize = 256;

/// The lines that ended a client's connections, the newest ones. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Garbage(Arc<Mutex<VecDeque<u64>>>);

/// Those of them that a connection need not end for.
#[derive(Debug)]
pub(crate) struct Excused {
    lines: Vec<u64>,
    garbage: Garbage,
}

impl Garbage {
    /// For a new connection.
    pub(crate) fn excused(&self) -> Excused {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Excused { lines: known.iter().copied().collect(), garbage: self.clone() }
    }
}

impl Excused {
    /// Whether this line is excused; once per connection, and if not, then on the next one.
    pub(crate) fn excuse(&mut self, line: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(at) = self.lines.iter().position(|known| *known == hash) {
            self.lines.swap_remove(at);
            return true;
        }
        let mut known = self.garbage.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|other| *other != hash);
        known.push_back(hash);
        if known.len() > REMEMBERED {
            known.pop_front();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_excused_on_the_connections_after_the_one_that_it_ended_once_on_each() {
        let garbage = Garbage::default();
        let mut first = garbage.excused();
        assert!(!first.excuse(b"a"));
        let mut second = garbage.excused();
        assert!(second.excuse(b"a") && !second.excuse(b"a") && !second.excuse(b"b"));
        let mut third = garbage.excused();
        assert!(third.excuse(b"b") && third.excuse(b"a") && !third.excuse(b"a"));
    }

    #[test]
    fn no_more_lines_are_remembered_than_an_engine_can_replay() {
        let garbage = Garbage::default();
        for number in 0..REMEMBERED + 10 {
            assert!(!garbage.excused().excuse(number.to_string().as_bytes()));
        }
        let mut later = garbage.excused();
        assert_eq!(later.lines.len(), REMEMBERED);
        assert!(later.excuse(b"10") && !later.excuse(b"9"));
    }
}
