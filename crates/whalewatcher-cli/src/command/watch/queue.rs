//! The order of commands: those of one container one after the other, and a few at once.

use std::collections::{HashSet, VecDeque};

/// How many commands run at once.
const RUNNING: usize = 8;

/// How many changes wait for a command.
const WAITING: usize = 64;

/// Changes of containers that wait for a command.
pub(super) struct Queue<T> {
    waiting: VecDeque<(String, T)>,
    /// The containers whose commands run.
    running: HashSet<String>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), running: HashSet::new() }
    }
}

impl<T> Queue<T> {
    /// Returns whether another change may be added.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a change of a container.
    pub(super) fn push(&mut self, container: String, change: T) {
        self.waiting.push_back((container, change));
    }

    /// Returns the first change that may be handled now, whose command runs until [`end`](Self::end).
    pub(super) fn start(&mut self) -> Option<(String, T)> {
        if self.running.len() == RUNNING {
            return None;
        }
        let first = self.waiting.iter().position(|(container, _)| !self.running.contains(container))?;
        let (container, change) = self.waiting.remove(first)?;
        self.running.insert(container.clone());
        Some((container, change))
    }

    /// Ends the command of a container.
    pub(super) fn end(&mut self, container: &str) {
        self.running.remove(container);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(queue: &mut Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.start()).map(|(_, change)| change).collect()
    }

    #[test]
    fn changes_of_a_container_keep_their_order_and_delay_no_other() {
        let mut queue = Queue::default();
        for (change, container) in (1..).zip(["web", "web", "db", "web"]) {
            queue.push(container.to_owned(), change);
        }
        assert_eq!(started(&mut queue), [1, 3]);
        queue.end("db");
        assert_eq!(started(&mut queue), [0_u32; 0]);
        queue.end("web");
        assert_eq!(started(&mut queue), [2]);
        queue.end("web");
        assert_eq!(started(&mut queue), [4]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_few_run_at_once_and_what_waits_is_bounded() {
        let mut queue = Queue::default();
        let mut added = 0;
        while queue.has_room() {
            queue.push(added.to_string(), added);
            added += 1;
        }
        assert_eq!(added as usize, WAITING);
        assert_eq!(started(&mut queue).len(), RUNNING);
        assert!(queue.has_room());
        queue.end("0");
        assert_eq!(started(&mut queue).len(), 1);
    }
}
