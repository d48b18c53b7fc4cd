//! Clusters of etcd, in which hosts publish what is alive on them.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use whalewatcher_core::{EngineWatcher, Fleet, Host, Settings, Watcher};
use whalewatcher_etcd::client::{Client, Config, Error, Password};
use whalewatcher_etcd::{ClusterUrl, Hub, HubSettings, HubStatus, RemoteEngine};

use crate::args::{EtcdArgs, TlsArgs};
use crate::notes;
use crate::thread::spawn_detached;

/// A cluster of etcd on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    config: Config,
    forget_after: Option<Duration>,
}

impl Cluster {
    /// Returns whether a host of the command line is one.
    pub(crate) fn is_one(host: &str) -> bool {
        ClusterUrl::is_one(host)
    }

    /// Does not connect.
    pub(crate) fn from_host(host: &str, tls: &TlsArgs, etcd: &EtcdArgs) -> Result<Self, Error> {
        let url: ClusterUrl = host.parse()?;
        let TlsArgs { ca, certificate, key } = tls;
        let config = if url.is_secure() {
            Config::with_certificates(url, ca.as_deref(), certificate.as_deref(), key.as_deref())?
        } else {
            // They may be for another host.
            Config::new(url)?
        };
        let config = match (&etcd.user, &etcd.password_file) {
            (Some(user), Some(file)) => config.with_user(user, Password::File(file.clone())),
            _ => config,
        };
        Ok(Self { config, forget_after: etcd.forget_after })
    }

    /// Returns the URL, by which clusters differ.
    pub(crate) fn url(&self) -> String {
        self.config.url().to_string()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.config.clone())
    }

    /// Has the engines of all hosts join the fleet.
    pub(crate) fn join(&self, fleet: &Arc<Fleet>, settings: &Settings) -> Hub {
        let settings = HubSettings::from(settings.clone()).with_forget_after(self.forget_after);
        Hub::join(fleet, self.client(), settings)
    }
}

/// Prints why etcd cannot be read, each reason once. A thread of its own does that, since the standard error may block.
pub(crate) fn spawn_cluster_notes(url: String, hub: &Hub) -> anyhow::Result<()> {
    let (runtime, mut status) = (Handle::current(), hub.follow_status());
    spawn_detached("etcd", move || {
        let mut noted = None;
        loop {
            let now = status.borrow_and_update().clone();
            match now {
                HubStatus::Closed => return,
                HubStatus::Disconnected { error } if noted.as_ref() != Some(&error) => {
                    notes::note(&format!("waiting for etcd at {url}: {error}"));
                    noted = Some(error);
                }
                HubStatus::Live => noted = None,
                _ => {}
            }
            if runtime.block_on(status.changed()).is_err() {
                return;
            }
        }
    })
}

/// Returns the host that publishes an engine, if one does.
pub(crate) fn host_of(watcher: &dyn Watcher) -> Option<&Host> {
    let remote = watcher.downcast_ref::<EngineWatcher<RemoteEngine>>()?;
    Some(remote.client().host())
}
