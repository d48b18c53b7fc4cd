//! The agent: publishes what is alive on a host.
//!
//! ```no_run
//! use whalewatcher_etcd::client::{Client, Config};
//! use whalewatcher_etcd::publish::{HostIdentity, Publisher};
//! # use whalewatcher_etcd::Fleet;
//!
//! # async fn example(fleet: &Fleet) -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(Config::new("etcd://one,two,three".parse()?)?);
//! let publisher = Publisher::new(client, HostIdentity::of_this_host(None)?);
//! publisher.run(fleet, std::future::pending()).await?;
//! # Ok(()) }
//! ```

mod driver;
mod entries;
mod host;
mod ledger;
mod machine;
mod steps;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use whalewatcher_core::{Fleet, Printable};

use crate::client::{Client, Error};
use crate::records::ClaimRecord;
use entries::Labels;
pub use host::HostIdentity;

/// How long a claim lasts after the agent's last sign of life. It is late by as much as etcd takes to elect a
/// leader, and never early.
pub const CLAIM_LASTS: Duration = Duration::from_secs(10);

/// Publishes what is alive on a host, as long as it [runs](Self::run).
pub struct Publisher {
    client: Client,
    host: HostIdentity,
    labels: Labels,
    status: watch::Sender<PublishStatus>,
}

/// How publishing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishStatus {
    /// Whether the agent has claimed the host.
    pub has_claim: bool,
    /// Whether etcd holds what is alive on the host now.
    pub is_current: bool,
    /// Why not, if a call failed last.
    pub error: Option<Error>,
    /// The agent that still has the claim, for which this one waits.
    pub waits_for: Option<ClaimRecord>,
    /// What is to be looked at before it becomes an error: a database that is half full.
    pub warning: Option<String>,
}

/// Why publishing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// Another agent publishes for a host with the same ID.
    Claimed {
        /// The ID.
        host: String,
        /// The other agent.
        by: Box<ClaimRecord>,
    },
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Claimed { host, by } = self;
        let ClaimRecord { agent, boot, hostname, address, since, .. } = &**by;
        let address = address.as_ref().map_or_else(String::new, |address| format!(" at {address}"));
        write!(
            f,
            "the host ID {} is claimed by agent {} of {}{} (boot {}) since {since}: end that one if it is on this host; if \
             it is on a clone of it, with the same machine-id, give one of them another host ID",
            Printable(host),
            Printable(agent),
            Printable(hostname),
            Printable(&address),
            Printable(boot)
        )
    }
}

impl std::error::Error for PublishError {}

impl Publisher {
    /// Creates an agent for a host. Of labels it publishes those of compose, of pods and of images
    /// (`org.opencontainers.image.`).
    #[must_use]
    pub fn new(client: Client, host: HostIdentity) -> Self {
        Self { client, host, labels: entries::default_labels(), status: watch::Sender::default() }
    }

    /// Sets which labels are published, by their names. Labels often hold secrets.
    #[must_use]
    pub fn with_labels(mut self, is_published: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.labels = std::sync::Arc::new(is_published);
        self
    }

    /// Returns the host.
    #[must_use]
    pub fn host(&self) -> &HostIdentity {
        &self.host
    }

    /// Returns how publishing goes, now and with each change.
    #[must_use]
    pub fn follow_status(&self) -> watch::Receiver<PublishStatus> {
        self.status.subscribe()
    }

    /// Publishes what is alive in a fleet until `stop` resolves or the fleet is closed. Then it marks the
    /// engines as not watched any more, for which it takes up to two seconds, and gives the host up.
    ///
    /// A failing etcd ends nothing and loses nothing: once it works again, the difference is written.
    ///
    /// # Errors
    ///
    /// If another agent publishes for a host with this ID, and goes on for as long as its claim lasts.
    pub async fn run(&self, fleet: &Fleet, stop: impl Future<Output = ()>) -> Result<(), PublishError> {
        driver::Driver::new(self).run(fleet, stop).await
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("host", &self.host).finish_non_exhaustive()
    }
}
