//! What a client keeps from one connection to the next.
//!
//! Lines of event streams that ended a connection, for they could not be understood at all: the resynchronization that follows
//! makes up for such a line. Should it come again, because the engine replays its events, then it has been made up for: to end
//! that connection too, and the next one, would help nobody.
//!
//! And how many connections in a row had their event stream cut right away.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// As many events as an engine remembers to replay.
const REMEMBERED: usize = 256;

/// What a client keeps. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// The lines that ended connections, the newest ones.
    lines: Mutex<VecDeque<u64>>,
    cuts: AtomicU32,
}

/// Those of them that a connection need not end for.
#[derive(Debug)]
pub(crate) struct Excused {
    lines: Vec<u64>,
    kept: Kept,
}

impl Kept {
    fn lines(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a new event stream.
    pub(crate) fn excused(&self) -> Excused {
        Excused { lines: self.lines().iter().copied().collect(), kept: self.clone() }
    }

    /// Notes that a connection had its event stream cut right away, and returns how many in a row that were.
    pub(crate) fn stream_was_cut(&self) -> u32 {
        self.0.cuts.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Notes that a stream stood for a while.
    pub(crate) fn stream_stood(&self) {
        self.0.cuts.store(0, Ordering::Relaxed);
    }
}

impl Excused {
    /// Whether this line is excused; once per stream, and if not, then on the next one.
    pub(crate) fn excuse(&mut self, line: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(at) = self.lines.iter().position(|known| *known == hash) {
            self.lines.swap_remove(at);
            return true;
        }
        let mut known = self.kept.lines();
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
        let kept = Kept::default();
        let mut first = kept.excused();
        assert!(!first.excuse(b"a"));
        let mut second = kept.excused();
        assert!(second.excuse(b"a") && !second.excuse(b"a") && !second.excuse(b"b"));
        let mut third = kept.excused();
        assert!(third.excuse(b"b") && third.excuse(b"a") && !third.excuse(b"a"));
    }

    #[test]
    fn no_more_lines_are_remembered_than_an_engine_can_replay() {
        let kept = Kept::default();
        for number in 0..REMEMBERED + 10 {
            assert!(!kept.excused().excuse(number.to_string().as_bytes()));
        }
        let mut later = kept.excused();
        assert_eq!(later.lines.len(), REMEMBERED);
        assert!(later.excuse(b"10") && !later.excuse(b"9"));
    }
}
