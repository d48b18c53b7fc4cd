//! Containers that end again and again.

use std::sync::Arc;
use std::time::SystemTime;

use super::container::Container;

/// A crash loop: lives of a container that ended one after the other in a short time.
///
/// A [`History`](crate::history::History) finds crash loops; its documentation says which ends count.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrashLoop {
    /// The container as last known: that of the newest life that ended.
    pub container: Arc<Container>,
    /// How many lives have ended since the loop began, with those that it began with.
    pub lives: u64,
    /// When the first of them ended, by the engine's clock.
    pub since: SystemTime,
    /// The exit code of the newest life that ended, where the engine reports it.
    pub code: Option<i32>,
    /// Whether it is over: no life has ended for as long as the loop needed to be noticed, or its engine has left.
    pub is_over: bool,
}

impl CrashLoop {
    /// Creates a crash loop that is not over.
    #[must_use]
    pub fn new(container: Arc<Container>, lives: u64, since: SystemTime) -> Self {
        Self { container, lives, since, code: None, is_over: false }
    }

    /// Sets the exit code.
    #[must_use]
    pub fn with_code(mut self, code: Option<i32>) -> Self {
        self.code = code;
        self
    }

    /// Sets whether it is over.
    #[must_use]
    pub fn with_over(mut self, is_over: bool) -> Self {
        self.is_over = is_over;
        self
    }
}
