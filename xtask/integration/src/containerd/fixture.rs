//! A private containerd.

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::process::Command;
use tokio::time::timeout;
use whalewatcher_containerd::Client;
use whalewatcher_core::Portfolio;
use whalewatcher_drivers::EngineFailure;
use whalewatcher_drivers::containerd::{AT_ONCE, Driver, Plan, join};
use xtask::engines::{Containerd, Installation};

use super::truth::Truth;
use crate::fixture::{Fixture, Shared};
use crate::recorder::LIMIT;

/// A watcher of containerd.
pub(super) type Watched = crate::watched::Watched<Client>;

/// A private containerd, and what its scenarios share.
pub(crate) struct ContainerdFixture {
    engine: Containerd,
    shared: Shared<Driver>,
}

impl ContainerdFixture {
    /// Starts an engine.
    pub(crate) fn build(installation: &Installation) -> Result<ContainerdFixture> {
        Ok(ContainerdFixture { engine: Containerd::start(installation, None)?, shared: Shared::default() })
    }

    pub(super) fn engine(&self) -> &Containerd {
        &self.engine
    }

    /// Runs `ctr`, and returns what it prints.
    pub(super) async fn ctr(&self, namespace: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::from(self.engine.ctr(namespace)?);
        let output = command.args(arguments).kill_on_drop(true).output().await.context("cannot run ctr")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!(EngineFailure(format!("ctr {} failed: {}", arguments.join(" "), errors.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Lists the keys of all containers.
    async fn containers(&self) -> Result<Vec<String>> {
        let driver = self.driver().await?;
        let mut keys = Vec::new();
        for namespace in driver.namespaces().await? {
            let containers = driver.list(&namespace).await?;
            keys.extend(containers.iter().map(|container| join(&namespace, &container.id)));
        }
        Ok(keys)
    }
}

impl Fixture for ContainerdFixture {
    type Client = Client;
    type Driver = Driver;
    type Truth = Truth;

    fn describe(&self) -> String {
        format!("containerd {}", self.engine.version())
    }

    fn endpoint(&self) -> String {
        format!("unix://{}", self.engine.socket().display())
    }

    fn client(endpoint: &str) -> Result<Client> {
        Ok(Client::new(endpoint)?)
    }

    async fn connect(&self) -> Result<Driver> {
        Driver::new(&self.engine)
    }

    fn shared(&self) -> &Shared<Driver> {
        &self.shared
    }

    fn is_running(&self) -> bool {
        self.engine.containerd_pid().is_some()
    }

    fn kill(&self) -> Result<()> {
        self.engine.kill()
    }

    fn start_again(&self) -> Result<()> {
        self.engine.start_again()
    }

    async fn remove_all(&self) -> Result<()> {
        let driver = self.driver().await?;
        let keys = self.containers().await?;
        let removal = async |key: &String| {
            let removed = timeout(LIMIT, driver.remove(key)).await;
            removed.with_context(|| format!("{key} cannot be removed"))?
        };
        let removals = stream::iter(&keys).map(removal);
        removals.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        for namespace in driver.namespaces().await? {
            for id in driver.tasks_of(&namespace).await? {
                // Its container was deleted while the task was created, and a task without a container cannot be deleted.
                let key = join(&namespace, &id);
                driver.create(&Plan::of(&key)).await?;
                driver.remove(&key).await?;
            }
            let left = driver.tasks_of(&namespace).await?;
            ensure!(left.is_empty(), "tasks are still there in {namespace}: {left:?}");
        }
        let left = self.containers().await?;
        ensure!(left.is_empty(), "containers are still there: {left:?}");
        Ok(())
    }

    async fn truth(&self) -> Result<Truth> {
        Truth::ask(self).await
    }

    fn differences(truth: &Truth, portfolio: &Portfolio) -> Vec<String> {
        truth.differences(portfolio)
    }

    async fn show_fence(&self, name: &str) -> Result<Option<String>> {
        self.driver().await?.run(&Plan::of(name)).await?;
        Ok(Some(name.to_owned()))
    }

    fn stop(self) -> Result<()> {
        self.engine.stop()
    }
}
