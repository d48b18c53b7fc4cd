//! The state that the watch and the users of the watcher share.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::refreshes::Refreshes;
use super::status::{Phase, Status};
use super::status_follower::StatusFollower;
use super::watched::Watched;
use crate::engine::ErasedClient;
use crate::model::EngineIdentity;
use crate::publication::Publication;
use crate::reconciler::Reconciler;
use crate::settings::Settings;

/// The state that the watch and the users of the watcher share.
pub(crate) struct Shared {
    pub(crate) client: Arc<dyn ErasedClient>,
    pub(crate) settings: Settings,
    pub(crate) publication: Arc<Publication<Watched>>,
    status: watch::Sender<Status>,
    identity: ArcSwapOption<EngineIdentity>,
    /// `None` while a watch owns it.
    pub(crate) reconciler: Mutex<Option<Reconciler>>,
    pub(crate) closed: CancellationToken,
    pub(crate) refreshes: Refreshes,
}

impl Drop for Shared {
    /// Ends the subscriptions to a watcher that is gone.
    fn drop(&mut self) {
        self.publication.end().wake();
    }
}

impl Shared {
    pub(crate) fn new(client: Arc<dyn ErasedClient>, settings: Settings) -> Self {
        Self {
            client,
            publication: Arc::new(Publication::new(settings.subscriber_queue())),
            reconciler: Mutex::new(Some(Reconciler::new(settings.clone()))),
            settings,
            status: watch::Sender::new(Status::new(Phase::Idle)),
            identity: ArcSwapOption::empty(),
            closed: CancellationToken::new(),
            refreshes: Refreshes::default(),
        }
    }

    pub(crate) fn identity(&self) -> Option<Arc<EngineIdentity>> {
        self.identity.load_full()
    }

    pub(crate) fn follow_status(&self) -> StatusFollower {
        StatusFollower::new(self.status.subscribe(), self.publication.lagged())
    }

    pub(crate) fn set_identity(&self, identity: Arc<EngineIdentity>) {
        self.identity.store(Some(identity));
    }

    pub(crate) async fn wait_for(&self, condition: impl FnMut(&Status) -> bool) -> Option<Status> {
        // The sender lives as long as self.
        self.follow_status().wait_for(condition).await
    }

    pub(crate) fn status(&self) -> Status {
        self.publication.lagged().count_in(self.status.borrow().clone())
    }

    pub(crate) fn set_status(&self, status: Status) {
        self.status.send_if_modified(|current| replace(current, status));
    }

    /// Sets the phase of a watcher without a watch.
    pub(crate) fn rest(&self, phase: Phase) {
        self.set_status(self.resting(phase));
    }

    /// Sets the phase of a watcher without a watch, and returns whether to call
    /// [`wake_followers`](Self::wake_followers).
    pub(crate) fn rest_without_waking(&self, phase: Phase) -> bool {
        let (status, mut changes) = (self.resting(phase), false);
        self.status.send_if_modified(|current| {
            changes = replace(current, status);
            false
        });
        changes
    }

    /// Wakes the followers of the status, which runs their wakers.
    pub(crate) fn wake_followers(&self) {
        self.status.send_modify(|_| {});
    }

    fn resting(&self, phase: Phase) -> Status {
        let counters = self.status.borrow().counters.clone();
        Status { counters, ..Status::new(phase) }
    }
}

/// Replaces a status, and returns whether anything but the counters changes. `Closed` is final.
fn replace(current: &mut Status, status: Status) -> bool {
    if matches!(current.phase, Phase::Closed) {
        return false;
    }
    let changes = !current.is_same(&status);
    *current = status;
    changes
}
