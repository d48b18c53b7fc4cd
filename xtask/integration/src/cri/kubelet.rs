//! Another client of CRI's events, as the kubelet is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;
use whalewatcher_drivers::api::runtime::v1::{ContainerEventType, GetEventsRequest};

use crate::fixture::locked;
use crate::recorder::LIMIT;
use whalewatcher_drivers::cri::Driver;
use whalewatcher_drivers::cri::PodPlan;

/// How long all events of a probe are waited for before the next one is made.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// What becomes of every container and every sandbox that is run and removed again.
pub(super) const LIFE: [ContainerEventType; 4] = [
    ContainerEventType::ContainerCreatedEvent,
    ContainerEventType::ContainerStartedEvent,
    ContainerEventType::ContainerStoppedEvent,
    ContainerEventType::ContainerDeletedEvent,
];

/// The events of each container.
type Record = BTreeMap<String, Vec<ContainerEventType>>;

/// A client of CRI's events that reads them all at once.
pub(super) struct Kubelet {
    record: Arc<Mutex<Record>>,
    grown: watch::Receiver<usize>,
    _task: AbortOnDropHandle<()>,
}

impl Kubelet {
    /// Subscribes, and does not know whether that is done already.
    pub(super) fn begin(driver: &Driver) -> Kubelet {
        let record = Arc::new(Mutex::new(Record::new()));
        let (growing, grown) = watch::channel(0);
        let mut runtime = driver.runtime();
        let task = tokio::spawn({
            let record = record.clone();
            async move {
                // The answer begins with the first event only. Callers that wait for more notice its end.
                let Ok(answer) = runtime.get_container_events(GetEventsRequest {}).await else { return };
                let mut events = answer.into_inner();
                while let Ok(Some(event)) = events.message().await {
                    let kind = event.container_event_type();
                    locked(&record).entry(event.container_id).or_default().push(kind);
                    growing.send_modify(|count| *count += 1);
                }
            }
        });
        Kubelet { record, grown, _task: AbortOnDropHandle::new(task) }
    }

    /// Subscribes, and returns once all events of a pod's life are received. That takes more than one pod
    /// where events go to one client only: a client that has gone takes one more event.
    pub(super) async fn listen(driver: &Driver) -> Result<Kubelet> {
        let kubelet = Kubelet::begin(driver);
        let deadline = Instant::now() + LIMIT;
        for number in 0.. {
            let pod = driver.run_pod(&PodPlan::named(format!("probe-{number}"))).await?;
            driver.remove_pod(&pod.id).await?;
            if timeout(PROBE_LIMIT, kubelet.whole_life(&pod.id)).await.is_ok() {
                break;
            }
            ensure!(
                Instant::now() < deadline,
                "the other client does not receive all events: {:?}",
                kubelet.record()
            );
        }
        Ok(kubelet)
    }

    /// Waits until all events of a life are received.
    async fn whole_life(&self, id: &str) {
        let mut grown = self.grown.clone();
        loop {
            grown.mark_unchanged();
            if self.record().get(id).is_some_and(|received| is_whole(received))
                || grown.changed().await.is_err()
            {
                return;
            }
        }
    }

    /// Waits until all events of all these lives are received, and checks that none came twice.
    pub(super) async fn receives_whole_lives(&self, ids: &[String]) -> Result<()> {
        let waiting = async {
            for id in ids {
                self.whole_life(id).await;
            }
        };
        let _ = timeout(LIMIT, waiting).await;
        let record = self.record();
        let of = |id: &String| record.get(id).cloned().unwrap_or_default();
        let not_whole: Vec<_> =
            ids.iter().map(|id| (id, of(id))).filter(|(_, received)| !is_whole(received)).collect();
        if !not_whole.is_empty() {
            bail!(
                "of {} of {} lives not all events were received: {not_whole:?}",
                not_whole.len(),
                ids.len()
            );
        }
        Ok(())
    }

    /// Counts the events of these lives.
    pub(super) fn received_of(&self, ids: &[String]) -> usize {
        let record = self.record();
        ids.iter().filter_map(|id| record.get(id)).map(Vec::len).sum()
    }

    /// Waits for the next event, but no longer than this.
    pub(super) async fn next_within(&self, limit: Duration) {
        let mut grown = self.grown.clone();
        grown.mark_unchanged();
        let _ = timeout(limit, grown.changed()).await;
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        locked(&self.record)
    }
}

/// Whether each kind was received once. Events of the same moment come in any order.
fn is_whole(received: &[ContainerEventType]) -> bool {
    received.len() == LIFE.len() && LIFE.iter().all(|kind| received.contains(kind))
}
