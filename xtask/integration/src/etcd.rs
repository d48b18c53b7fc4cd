//! etcd, in which hosts publish what is alive on them, and the scenarios on it.

mod printed;
mod publisher;
mod scenarios;

use std::sync::Mutex;

use anyhow::{Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;
use tokio::task::block_in_place;
use whalewatcher_etcd::ClusterUrl;
use whalewatcher_etcd::client::{Client, Config};
use xtask::engines::{EtcdOptions, Installation, PrivateEtcd};

use crate::fixture::locked;
use crate::scenario::{Ground, Scenario};

/// The programs of one etcd, of which each scenario starts an etcd of its own.
pub(crate) struct EtcdGround {
    installation: Installation,
    version: String,
    figures: Mutex<Vec<String>>,
}

impl EtcdGround {
    /// Shows that these programs run here.
    pub(crate) fn new(installation: &Installation) -> Result<EtcdGround> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "a private etcd can be started by root only: run as root"
        );
        let version = installation.version()?;
        Ok(EtcdGround { installation: installation.clone(), version, figures: Mutex::default() })
    }

    /// Prints a line with the outcome of the scenario.
    pub(crate) fn figure(&self, line: String) {
        locked(&self.figures).push(line);
    }

    /// Starts an etcd with so many members.
    pub(crate) fn start(&self, members: usize) -> Result<PrivateEtcd> {
        self.start_with(&EtcdOptions { members, ..EtcdOptions::default() })
    }

    pub(crate) fn start_with(&self, options: &EtcdOptions) -> Result<PrivateEtcd> {
        block_in_place(|| PrivateEtcd::start(&self.installation, options))
    }
}

/// All members of an etcd, with `/p/` for the prefix.
pub(crate) fn url_of(etcd: &PrivateEtcd) -> Result<ClusterUrl> {
    let members: Vec<_> = etcd.addresses().iter().map(ToString::to_string).collect();
    Ok(format!("etcd://{}/p", members.join(",")).parse()?)
}

/// A client of all members.
pub(crate) fn client_of(etcd: &PrivateEtcd) -> Result<Client> {
    Ok(Client::new(Config::new(url_of(etcd)?)?))
}

/// Has etcd demand users: `root`, `host`, which may write below `writable`, and `reader`, which may read
/// below `/p/`. The password of all is `secret`.
pub(crate) fn enable_users(etcd: &PrivateEtcd, writable: &str) -> Result<()> {
    let call = |target: &str, body| etcd.call(0, &format!("/v3/auth/{target}"), &body).map(drop);
    for (user, permission, prefix) in
        [("root", "READWRITE", "/"), ("host", "READWRITE", writable), ("reader", "READ", "/p/")]
    {
        call("user/add", json!({ "name": user, "password": "secret" }))?;
        call("role/add", json!({ "name": user }))?;
        let (key, end) = (BASE64_STANDARD.encode(prefix), BASE64_STANDARD.encode(end_of(prefix)));
        let permission = json!({ "permType": permission, "key": key, "range_end": end });
        call("role/grant", json!({ "name": user, "perm": permission }))?;
        call("user/grant", json!({ "user": user, "role": user }))?;
    }
    call("enable", json!({}))
}

impl Ground for EtcdGround {
    const SCENARIOS: &'static [Scenario<EtcdGround>] = scenarios::SCENARIOS;

    async fn clear(&self) -> Result<()> {
        // Whatever a scenario started was dropped with it.
        Ok(())
    }

    fn describe(&self) -> String {
        format!("etcd {}", self.version)
    }

    fn take_figures(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.figures))
    }
}

/// The end of the range of the keys with a prefix.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
