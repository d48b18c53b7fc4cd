//! How much memory the answers of one connection may take, all together.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use whalewatcher_core::EngineError;

use crate::http::failure;

/// What a buffer has at first.
const FIRST: usize = 4096;

/// What the answers that are under way may take together. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    free: AtomicUsize,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Shared { limit, free: AtomicUsize::new(limit) }))
    }

    /// How much there is in all.
    pub(crate) fn limit(&self) -> usize {
        self.0.limit
    }

    /// Nothing of it yet.
    pub(crate) fn share(&self) -> Share {
        Share { memory: self.clone(), bytes: 0 }
    }
}

/// What somebody takes of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Memory,
    bytes: usize,
}

impl Share {
    /// Takes more, unless that is more than there is.
    pub(crate) fn take(&mut self, what: &str, bytes: usize) -> Result<(), EngineError> {
        let Shared { limit, free } = &*self.memory.0;
        free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(bytes))
            .map_err(|_| failure::no_memory(what, *limit))?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.0.free.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// The body of an answer in one piece, however it came.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    share: Share,
}

impl Body {
    pub(crate) fn new(memory: &Memory) -> Self {
        Self { bytes: Vec::new(), share: memory.share() }
    }

    /// Adds what came; `total` is how much there will be if that is known, and never less than there is with this.
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

    /// What is in it, and what is taken for it, to take more for what is made of it.
    pub(crate) fn share(&mut self) -> (&[u8], &mut Share) {
        (&self.bytes, &mut self.share)
    }
}

#[cfg(test)]
impl Body {
    /// One that has this, within as much memory as there usually is.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut body = Self::new(&Memory::new(crate::limits::MEMORY_LIMIT));
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

    fn free(memory: &Memory) -> usize {
        memory.0.free.load(Ordering::Relaxed)
    }

    #[test]
    fn what_is_taken_is_given_back_and_there_is_no_more_than_there_is() {
        let memory = Memory::new(10);
        let (mut one, mut other) = (memory.share(), memory.share());
        one.take("a list", 7).unwrap();
        let error = other.take("a list", 4).unwrap_err();
        assert!(error.to_string().starts_with("a list: "), "{error}");
        assert!(error.to_string().contains("10 bytes"), "{error}");
        other.take("a list", 3).unwrap();
        assert_eq!(free(&memory), 0);
        drop((one, other));
        assert_eq!(free(&memory), 10);
    }

    #[test]
    fn a_body_takes_about_what_it_has_however_it_comes() {
        for piece in [1, 1000, 100_000] {
            let memory = Memory::new(200_000);
            let mut body = Body::new(&memory);
            for _ in 0..100_000 / piece {
                body.add("a list", &vec![7; piece], 100_000).unwrap();
            }
            assert_eq!((body.len(), body.iter().all(|byte| *byte == 7)), (100_000, true));
            assert_eq!(free(&memory), 100_000, "in pieces of {piece}");
            body.add("a list", &[0; 100_001], usize::MAX).unwrap_err();
            drop(body);
            assert_eq!(free(&memory), 200_000);
        }
    }
}
