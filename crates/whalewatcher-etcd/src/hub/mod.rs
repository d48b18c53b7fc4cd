//! One picture of many hosts: what their agents publish in etcd, as members of a fleet.

mod driver;
mod forget;
mod hosts;
mod outbox;
mod remote;
mod settings;
mod shared;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use whalewatcher_core::fleet::Members;
use whalewatcher_core::{EngineError, ErrorKind, Fleet};

use crate::client::Client;
use driver::Driver;
pub use forget::forget;
pub use hosts::{HostEngine, HostStatus};
pub use remote::{RemoteConnection, RemoteEngine};
pub use settings::HubSettings;
pub use shared::HubStatus;
use shared::Shared;

/// Follows what hosts publish in etcd, with one watch and one mirror for all of them, and has their engines
/// join and leave a fleet.
///
/// Each engine is watched by itself, as an [`EngineWatcher`](whalewatcher_core::EngineWatcher) of a
/// [`RemoteEngine`]. It is disconnected, with the reason, while etcd cannot be read, while its host has no
/// agent that publishes, and while the agent cannot reach it. Its containers stay as last known then: that a
/// host is down and that it is cut off look the same, and neither is reported as an exit. An engine leaves
/// when its host publishes it no more, or the host was forgotten.
///
/// Dropping it removes the engines from the fleet.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use whalewatcher_etcd::client::{Client, Config};
/// use whalewatcher_etcd::{Fleet, Hub, Settings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new(Config::new("etcd://one,two,three".parse()?)?);
/// let fleet = Arc::new(Fleet::new());
/// let hub = Hub::join(&fleet, client, Settings::default());
/// hub.ready().await?;
/// for host in hub.hosts() {
///     println!("{}: {} engines", host.host.name, host.engines.len());
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Hub {
    shared: Arc<Shared>,
    members: Arc<Members>,
    status: watch::Receiver<HubStatus>,
    _task: AbortOnDropHandle<()>,
}

impl Hub {
    /// Follows etcd with this client, and watches engines with these settings. Must be called within a tokio
    /// runtime. The fleet is not kept alive.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use = "dropping it removes the engines from the fleet"]
    pub fn join(fleet: &Arc<Fleet>, client: Client, settings: impl Into<HubSettings>) -> Self {
        let cluster = client.config().url().to_string();
        let shared = Arc::new(Shared::new(cluster.trim_end_matches('/').to_owned()));
        let members = Arc::new(Members::of(fleet));
        let driver = Driver::new(client, shared.clone(), members.clone(), settings.into());
        let task = AbortOnDropHandle::new(tokio::spawn(driver.run()));
        Self { status: shared.status(), shared, members, _task: task }
    }

    /// Returns the URL of the cluster, with the prefix of the keys.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.shared.cluster
    }

    /// Returns whether the hub knows what etcd holds.
    #[must_use]
    pub fn status(&self) -> HubStatus {
        self.status.borrow().clone()
    }

    /// Returns a receiver of the status, which waits for changes.
    #[must_use]
    pub fn follow_status(&self) -> watch::Receiver<HubStatus> {
        self.status.clone()
    }

    /// Waits until everything in etcd was read: the engines are members of the fleet then, and not ready yet.
    ///
    /// # Errors
    ///
    /// If etcd cannot be read: why. The hub keeps trying, so this can be called again.
    pub async fn ready(&self) -> Result<(), EngineError> {
        let mut status = self.status.clone();
        let decided = status.wait_for(|status| *status != HubStatus::Connecting).await;
        match decided.as_deref() {
            Ok(HubStatus::Disconnected { error }) => Err(EngineError::new(error.kind(), error.to_string())),
            Ok(_) => Ok(()),
            Err(_) => Err(EngineError::new(ErrorKind::Disconnected, "the runtime is shut down")),
        }
    }

    /// Returns all hosts that publish or did, by their IDs, but for those that it has forgotten.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostStatus> {
        self.shared.read(|mirror| {
            let remembered = mirror.hosts().iter().filter(|(_, host)| !host.is_forgotten);
            remembered.map(|(id, host)| hosts::status(id, host)).collect()
        })
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.members.close();
        self.shared.close();
    }
}
