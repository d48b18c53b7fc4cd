//! Keeps a fleet's members equal to the engines that are there.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use whalewatcher_core::Fleet;
use whalewatcher_core::fleet::Members;

use crate::driver::{Driver, State};
use crate::finding::Finding;
use crate::options::Options;

/// Finds engines and adds them to a fleet, until it is closed or dropped; returned by [`discover`].
#[derive(Debug)]
pub struct Discovery {
    state: watch::Receiver<State>,
    members: Arc<Members>,
    _task: AbortOnDropHandle<()>,
}

/// Finds the engines of this host and adds them to the fleet, as long as the result is not dropped. Must be
/// called within a tokio runtime.
///
/// An engine joins as soon as it answers. One that is away for longer than [`Options::with_grace`] leaves,
/// with exits for its containers. An engine that the fleet watches already is left to whatever added it.
///
/// The fleet is not kept alive.
///
/// # Panics
///
/// Outside of a tokio runtime.
#[must_use = "dropping it removes the engines from the fleet"]
pub fn discover(fleet: &Arc<Fleet>, options: Options) -> Discovery {
    let (sender, state) = watch::channel(State::default());
    let members = Arc::new(Members::of(fleet));
    let driver = Driver::new(options, members.clone(), sender);
    Discovery { state, members, _task: AbortOnDropHandle::new(tokio::spawn(driver.run())) }
}

impl Discovery {
    /// Waits until everything that could be seen first has been probed. That takes as long as the slowest
    /// answer, five seconds at most for each kind of engine. What is there by then is a member of the fleet,
    /// but not ready yet.
    pub async fn settled(&self) {
        if self.state.clone().wait_for(|state| state.is_settled).await.is_err() {
            // Its runtime is being shut down.
            pending::<()>().await;
        }
    }

    /// Returns what has been seen and is not watched, with the reasons.
    #[must_use]
    pub fn findings(&self) -> Arc<[Finding]> {
        self.state.borrow().findings.clone()
    }

    /// Returns a follower of the findings, which waits for changes.
    #[must_use]
    pub fn follow_findings(&self) -> FindingsFollower {
        let mut state = self.state.clone();
        state.mark_changed();
        FindingsFollower { state, last: None }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.members.close();
    }
}

/// Waits for changes of the findings; returned by [`Discovery::follow_findings`].
#[derive(Debug)]
pub struct FindingsFollower {
    state: watch::Receiver<State>,
    last: Option<Arc<[Finding]>>,
}

impl FindingsFollower {
    /// Returns the findings, the first time once the discovery has [settled](Discovery::settled) and then
    /// when they have changed; `None` after the discovery was dropped. Cancel safe.
    pub async fn changed(&mut self) -> Option<Arc<[Finding]>> {
        loop {
            self.state.changed().await.ok()?;
            let State { is_settled, findings } = self.state.borrow_and_update().clone();
            if is_settled && self.last.as_ref() != Some(&findings) {
                self.last = Some(findings.clone());
                return Some(findings);
            }
        }
    }
}
