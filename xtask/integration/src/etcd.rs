//! etcd, in which hosts publish what is alive on them, and the scenarios on it.

mod scenarios;

use anyhow::{Result, ensure};
use tokio::task::block_in_place;
use xtask::engines::{EtcdOptions, Installation, PrivateEtcd};

use crate::scenario::{Ground, Scenario};

/// The programs of one etcd, of which each scenario starts an etcd of its own.
pub(crate) struct EtcdGround {
    installation: Installation,
    version: String,
}

impl EtcdGround {
    /// Shows that these programs run here.
    pub(crate) fn new(installation: &Installation) -> Result<EtcdGround> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "a private etcd can be started by root only: run as root"
        );
        let version = installation.version()?;
        Ok(EtcdGround { installation: installation.clone(), version })
    }

    /// Starts an etcd with so many members.
    pub(crate) fn start(&self, members: usize) -> Result<PrivateEtcd> {
        self.start_with(&EtcdOptions { members, ..EtcdOptions::default() })
    }

    pub(crate) fn start_with(&self, options: &EtcdOptions) -> Result<PrivateEtcd> {
        block_in_place(|| PrivateEtcd::start(&self.installation, options))
    }
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
        Vec::new()
    }
}
