//! When changes were not seen.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use crate::model::{EngineError, EngineKey};

/// The most gaps that are kept.
pub(super) const MOST: usize = 256;

/// A time in which the changes of an engine were not seen as they happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Endpoint and type of the engine.
    pub key: EngineKey,
    /// When it began.
    pub since: SystemTime,
    /// When it ended; `None` if it has not.
    pub until: Option<SystemTime>,
    /// Its cause.
    pub cause: GapCause,
}

/// The cause of a [`Gap`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapCause {
    /// The engine could not be reached.
    Disconnected(Arc<EngineError>),
    /// The subscriber was too slow and missed this many events.
    Lagged(u64),
    /// No events were received: the program did not run.
    Interrupted,
}

/// The newest gaps, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Gaps(VecDeque<Gap>);

impl Gaps {
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Gap> + ExactSizeIterator {
        self.0.iter()
    }

    /// Adds a gap; `until` is `None` while it lasts. An engine has one gap that lasts: it keeps its beginning
    /// and has the newest cause.
    pub(super) fn push(
        &mut self,
        key: &EngineKey,
        since: SystemTime,
        until: Option<SystemTime>,
        cause: GapCause,
    ) {
        if until.is_none()
            && let Some(open) = self.open(key)
        {
            open.cause = cause;
            return;
        }
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(Gap { key: key.clone(), since, until, cause });
    }

    pub(super) fn end(&mut self, key: &EngineKey, until: SystemTime) {
        if let Some(open) = self.open(key) {
            open.until = Some(until);
        }
    }

    fn open(&mut self, key: &EngineKey) -> Option<&mut Gap> {
        self.0.iter_mut().rfind(|gap| gap.until.is_none() && gap.key == *key)
    }
}
