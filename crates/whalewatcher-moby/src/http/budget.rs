//! The memory that the answers on one connection may take together.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use whalewatcher_core::EngineError;

use crate::http::error;

/// The first capacity of a buffer.
const FIRST: usize = 4096;

/// The memory that the answers in flight may take together. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    free: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Shared { limit, free: AtomicUsize::new(limit) }))
    }

    /// The total.
    pub(crate) fn limit(&self) -> usize {
        self.0.limit
    }

    /// Returns an empty share.
    pub(crate) fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
}

/// A part of the budget, returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Share {
    /// Takes more, if the budget has as much left.
    pub(crate) fn take(&mut self, what: &str, bytes: usize) -> Result<(), EngineError> {
        let Shared { limit, free } = &*self.budget.0;
        free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(bytes))
            .map_err(|_| error::over_budget(what, *limit))?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.free.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// The body of an answer, in one piece.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    share: Share,
}

impl Body {
    pub(crate) fn new(budget: &Budget) -> Self {
        Self { bytes: Vec::new(), share: budget.share() }
    }

    /// Appends a piece. `total` is the size of the whole body or a limit of it.
    pub(crate) fn add(&mut self, what: &str, data: &[u8], total: usize) -> Result<(), EngineError> {
        let (needed, capacity) = (self.bytes.len() + data.len(), self.bytes.capacity());
        if needed > capacity {
            let wanted = (capacity + capacity / 2).max(FIRST).min(total.max(needed)).max(needed);
            self.share.take(what, wanted - capacity)?;
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// The content and its share, which takes more for what the content is decoded to.
    pub(crate) fn share(&mut self) -> (&[u8], &mut Share) {
        (&self.bytes, &mut self.share)
    }
}

#[cfg(test)]
impl Body {
    /// Returns a body with this content, within the default budget.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut body = Self::new(&Budget::new(crate::limits::MEMORY_LIMIT));
        body.add("a test", bytes, bytes.len()).unwrap();
        body
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(budget: &Budget) -> usize {
        budget.0.free.load(Ordering::Relaxed)
    }

    #[test]
    fn shares_are_limited_and_returned() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (budget.share(), budget.share());
        one.take("a list", 7).unwrap();
        let error = other.take("a list", 4).unwrap_err();
        assert!(error.to_string().starts_with("a list: "), "{error}");
        assert!(error.to_string().contains("10 bytes"), "{error}");
        other.take("a list", 3).unwrap();
        assert_eq!(free(&budget), 0);
        drop((one, other));
        assert_eq!(free(&budget), 10);
    }

    #[test]
    fn a_body_takes_its_size_in_pieces_of_any_size() {
        for piece in [1, 1000, 100_000] {
            let budget = Budget::new(200_000);
            let mut body = Body::new(&budget);
            for _ in 0..100_000 / piece {
                body.add("a list", &vec![7; piece], 100_000).unwrap();
            }
            assert_eq!((body.len(), body.iter().all(|byte| *byte == 7)), (100_000, true));
            assert_eq!(free(&budget), 100_000, "in pieces of {piece}");
            body.add("a list", &[0; 100_001], usize::MAX).unwrap_err();
            drop(body);
            assert_eq!(free(&budget), 200_000);
        }
    }
}
