//! Keeps watchers from starting an engine by connecting to a socket at which the service manager listens.

use std::sync::{Arc, Mutex, PoisonError};

#[cfg(target_os = "linux")]
use whalewatcher_host::process::Process;

#[cfg(not(target_os = "linux"))]
type Process = std::convert::Infallible;

/// Whether a socket may be connected to. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Open,
    /// Open as long as this process of an engine runs.
    While(Arc<Process>),
    Closed,
}

impl Gate {
    pub(crate) fn is_open(&self) -> bool {
        match &*self.state() {
            State::Open => true,
            #[cfg(target_os = "linux")]
            State::While(process) => process.origin().is_ok(),
            #[cfg(not(target_os = "linux"))]
            State::While(process) => match **process {},
            State::Closed => false,
        }
    }

    pub(crate) fn close(&self) {
        *self.state() = State::Closed;
    }

    pub(crate) fn open(&self) {
        *self.state() = State::Open;
    }

    pub(crate) fn open_while(&self, process: Arc<Process>) {
        *self.state() = State::While(process);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
