//! What a dropped watch leaves behind: no descriptor and no task. For tests of adapters, which need a process
//! of their own to count them.

use std::fs;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_core::{EngineWatcher, Phase, Settings, Status};

/// The descriptors of this process and the tasks of its runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    tasks: usize,
    descriptors: usize,
}

impl Holdings {
    /// Counts them.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or if `/proc` does not show descriptors.
    #[must_use]
    pub fn now() -> Self {
        let descriptors = fs::read_dir("/proc/self/fd").expect("the descriptors").count();
        Self { tasks: Handle::current().metrics().num_alive_tasks(), descriptors }
    }

    /// Waits until there are no more than these. There may be fewer: a task of the server that was about to
    /// end when these were counted.
    ///
    /// # Panics
    ///
    /// If that does not happen within a minute.
    pub async fn regained(self, when: &str) {
        let regaining = async {
            while !Self::now().is_within(self) {
                yield_now().await;
            }
        };
        if timeout(Duration::from_secs(60), regaining).await.is_err() {
            panic!("dropped {when}: {self:?} became {:?}", Self::now());
        }
    }

    fn is_within(self, most: Self) -> bool {
        self.tasks <= most.tasks && self.descriptors <= most.descriptors
    }
}

/// Drops a watch at this moment, and returns what there was before it.
///
/// # Panics
///
/// If the watch ends before.
pub async fn dropped_when<C: EngineClient>(watcher: &EngineWatcher<C>, reached: impl Future) -> Holdings {
    let before = Holdings::now();
    tokio::select! {
        _ = watcher.watch(CancellationToken::new()) => unreachable!("the watch does not end"),
        _ = reached => {}
    }
    before
}

/// Drops a watch once it is live.
///
/// # Panics
///
/// If something is left of it.
pub async fn dropped_when_live<C: EngineClient>(watcher: &EngineWatcher<C>) {
    let live = async { watcher.ready().await.expect("it becomes live") };
    dropped_when(watcher, live).await.regained("when live").await;
}

/// Drops a watch of an engine that is gone, once it is disconnected.
///
/// # Panics
///
/// If something is left of it.
pub async fn dropped_during_back_off<C: EngineClient>(watcher: &EngineWatcher<C>) {
    let mut status = watcher.follow_status();
    let disconnected = |status: &Status| matches!(status.phase, Phase::Disconnected { .. });
    dropped_when(watcher, status.wait_for(disconnected)).await.regained("during the back-off").await;
}

/// Drops a watch after it was polled once, twice and so on.
///
/// # Panics
///
/// If something is left of it.
pub async fn dropped_after_any_number_of_steps<C: EngineClient>(watcher: &EngineWatcher<C>) {
    let before = Holdings::now();
    for steps in 1..60 {
        let mut left = steps;
        let mut watching = Box::pin(watcher.watch(CancellationToken::new()));
        let mut status = watcher.follow_status();
        tokio::select! {
            () = poll_fn(|context| {
                left -= 1;
                assert!(watching.as_mut().poll(context).is_pending());
                if left == 0 { Poll::Ready(()) } else { Poll::Pending }
            }) => {}
            // Nothing wakes it again.
            _ = status.wait_for(Status::is_live) => {}
        }
        drop(watching);
        before.regained(&format!("after {steps} steps")).await;
    }
}

/// Drops a connection that has listed so many containers.
///
/// # Panics
///
/// If something is left of it, or it lists another number.
pub async fn dropped_alone<C: EngineClient>(client: C, containers: usize) {
    let before = Holdings::now();
    let connection = client.connect(&Settings::default()).await.expect("a connection");
    assert_eq!(connection.list().await.expect("a list").entries.len(), containers);
    assert!(Holdings::now() != before, "an idle connection is kept");
    drop(connection);
    drop(client);
    before.regained("with an idle connection").await;
}
