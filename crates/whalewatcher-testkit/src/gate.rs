//! A gate holds something back until a test opens it: an answer, a request, a registration.

use std::sync::Arc;

use tokio::sync::watch;

/// Holds back its waiters until it is opened. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug)]
struct State {
    open: bool,
    waiting: usize,
}

impl Default for Gate {
    fn default() -> Self {
        Self::closed()
    }
}

impl Gate {
    /// A gate that is closed.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(State { open: false, waiting: 0 })))
    }

    /// Opens the gate: all waiters continue, and later callers do not wait.
    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// Closes the gate again for later callers.
    pub fn close(&self) {
        self.0.send_modify(|state| state.open = false);
    }

    /// Returns the number of waiters.
    pub fn waiting(&self) -> usize {
        self.0.borrow().waiting
    }

    /// Resolves once there are at least so many waiters, however long that takes.
    pub async fn until_waiting(&self, count: usize) {
        // Fails only without a sender, and this gate is one.
        let _ = self.0.subscribe().wait_for(|state| state.waiting >= count).await;
    }

    /// Resolves once the gate is open, however long that takes.
    pub async fn passed(&self) {
        let mut state = self.0.subscribe();
        if state.borrow().open {
            return;
        }
        let _waiting = Waiting::at(self);
        let _ = state.wait_for(|state| state.open).await;
    }
}

/// A waiter, counted until it continues or is dropped.
struct Waiting<'a>(&'a Gate);

impl<'a> Waiting<'a> {
    fn at(gate: &'a Gate) -> Self {
        gate.0.send_modify(|state| state.waiting += 1);
        Self(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.waiting -= 1);
    }
}
