//! What a client remembers of its event streams from one connection to the next.
//!
//! A line that cannot be decoded at all ends its connection, and the resync that follows makes up for it. The
//! engine may replay the same line on the next connection. It is skipped then: it has been made up for, and
//! ending each connection because of it would never lead to a live one.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many lines to remember: as many events as an engine replays.
const REMEMBERED: usize = 256;

/// What a client remembers of its event streams. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamHistory(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Hashes of the newest lines that ended a connection.
    lines: Mutex<VecDeque<u64>>,
    cuts: AtomicU32,
}

/// The lines that one event stream skips: those that ended earlier ones, each once.
#[derive(Debug)]
pub(crate) struct SkipList {
    lines: Vec<u64>,
    history: StreamHistory,
}

impl StreamHistory {
    fn lines(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what a new event stream skips.
    pub(crate) fn skip_list(&self) -> SkipList {
        SkipList { lines: self.lines().iter().copied().collect(), history: self.clone() }
    }

    /// Records that an event stream was cut right after it began, and returns how many in a row were.
    pub(crate) fn record_cut(&self) -> u32 {
        self.0.cuts.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Records that an event stream lasted for a while.
    pub(crate) fn record_lasted(&self) {
        self.0.cuts.store(0, Ordering::Relaxed);
    }
}

impl SkipList {
    /// Whether to skip this line. If not, it is on the list of the next stream.
    pub(crate) fn skips(&mut self, line: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(at) = self.lines.iter().position(|known| *known == hash) {
            self.lines.swap_remove(at);
            return true;
        }
        let mut known = self.history.lines();
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
    fn a_line_ends_one_connection_and_is_skipped_once_on_each_later_one() {
        let history = StreamHistory::default();
        let mut first = history.skip_list();
        assert!(!first.skips(b"a"));
        let mut second = history.skip_list();
        assert!(second.skips(b"a") && !second.skips(b"a") && !second.skips(b"b"));
        let mut third = history.skip_list();
        assert!(third.skips(b"b") && third.skips(b"a") && !third.skips(b"a"));
    }

    #[test]
    fn no_more_lines_are_remembered_than_an_engine_can_replay() {
        let history = StreamHistory::default();
        for number in 0..REMEMBERED + 10 {
            assert!(!history.skip_list().skips(number.to_string().as_bytes()));
        }
        let mut later = history.skip_list();
        assert_eq!(later.lines.len(), REMEMBERED);
        assert!(later.skips(b"10") && !later.skips(b"9"));
    }
}
