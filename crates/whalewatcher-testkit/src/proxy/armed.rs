//! Active faults: which connections they concern, and how often they may still take effect.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{
    fault::{Direction, Fault, Scope},
    link::{Link, Request},
    stats::FaultId,
};

/// A fault that was injected.
#[derive(Debug)]
pub(super) struct Armed {
    pub(super) id: FaultId,
    pub(super) fault: Fault,
    /// The number of the next connection at the injection.
    next_connection: u64,
    /// How often it may still take effect.
    left: Mutex<Option<u64>>,
}

/// An occurrence of a fault, which counts once: on a connection, or for a request if the fault is limited to some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Occurrence {
    pub(super) fault: FaultId,
    pub(super) request: Option<u64>,
}

impl Armed {
    /// Whether the fault concerns data in this direction while this request is being answered.
    pub(super) fn concerns(&self, link: &Link, direction: Direction, request: Option<&Request>) -> bool {
        let Fault { scope, requests, .. } = &self.fault;
        self.fault.direction.covers(direction)
            && self.in_scope(*scope, link.number)
            && requests
                .as_ref()
                .is_none_or(|part| request.is_some_and(|request| request.line.contains(part.as_str())))
    }

    fn in_scope(&self, scope: Scope, connection: u64) -> bool {
        match scope {
            Scope::All => true,
            Scope::New => connection >= self.next_connection,
            Scope::Existing => connection < self.next_connection,
        }
    }

    /// The occurrence at this place.
    pub(super) fn occurrence(&self, request: Option<&Request>) -> Occurrence {
        let request = request.filter(|_| self.fault.requests.is_some()).map(|request| request.number);
        Occurrence { fault: self.id, request }
    }

    /// Whether the fault may take effect there, or has begun to.
    pub(super) fn engage(&self, link: &Link, request: Option<&Request>) -> bool {
        link.engaged(self.occurrence(request), || self.take())
    }

    /// Counts an effect.
    pub(super) fn take(&self) -> bool {
        match &mut *self.left.lock().unwrap_or_else(PoisonError::into_inner) {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// All faults that are injected and not lifted, in the order of their injection.
pub(super) type All = Arc<[Arc<Armed>]>;

/// The faults of a proxy.
#[derive(Debug)]
pub(super) struct Faults {
    last: Mutex<u64>,
    all: watch::Sender<All>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { last: Mutex::new(0), all: watch::Sender::new(Arc::new([])) }
    }
}

impl Faults {
    fn last(&self) -> MutexGuard<'_, u64> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn new_id(&self) -> FaultId {
        let mut last = self.last();
        *last += 1;
        FaultId(*last)
    }

    pub(super) fn arm(&self, id: FaultId, fault: Fault, next_connection: u64) {
        let left = Mutex::new(fault.times);
        let armed = Arc::new(Armed { id, fault, next_connection, left });
        self.all.send_modify(|all| *all = all.iter().cloned().chain([armed]).collect());
    }

    /// Removes faults.
    pub(super) fn lift(&self, which: impl Fn(FaultId) -> bool) {
        self.all.send_modify(|all| *all = all.iter().filter(|armed| !which(armed.id)).cloned().collect());
    }

    pub(super) fn all(&self) -> All {
        self.all.borrow().clone()
    }

    pub(super) fn follow(&self) -> watch::Receiver<All> {
        self.all.subscribe()
    }
}
