//! What the watch and its users share.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::publication::Publication;
use super::status::{Phase, Status};
use super::status_follower::StatusFollower;
use crate::model::EngineIdentity;
use crate::reconciler::Reconciler;
use crate::settings::Settings;

/// What the watch and its users share.
pub(crate) struct Shared<C> {
    pub(crate) client: C,
    pub(crate) settings: Settings,
    pub(crate) publication: Arc<Publication>,
    status: watch::Sender<Status>,
    identity: ArcSwapOption<EngineIdentity>,
    /// Absent while a watch has it.
    pub(crate) reconciler: Mutex<Option<Reconciler>>,
    pub(crate) closed: CancellationToken,
}

impl<C> Shared<C> {
    pub(crate) fn new(client: C, settings: Settings) -> Self {
        Self {
            client,
            publication: Arc::new(Publication::new(settings.subscriber_queue())),
            reconciler: Mutex::new(Some(Reconciler::new(settings.clone()))),
            settings,
            status: watch::Sender::new(Status::new(Phase::Idle)),
            identity: ArcSwapOption::empty(),
            closed: CancellationToken::new(),
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
        self.status.send_if_modified(|current| {
            // Once closed, it stays so.
            if matches!(current.phase, Phase::Closed) {
                return false;
            }
            let changes = !current.is_same(&status);
            *current = status;
            changes
        });
    }

    /// Sets the phase of a watcher that nobody watches.
    pub(crate) fn rest(&self, phase: Phase) {
        let counters = self.status.borrow().counters.clone();
        self.set_status(Status { counters, ..Status::new(phase) });
    }
}
