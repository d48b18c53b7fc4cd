//! A private containerd.

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::process::Command;
use tokio::time::timeout;
use whalewatcher_containerd::Client;
use whalewatcher_drivers::EngineFailure;
use whalewatcher_drivers::containerd::{AT_ONCE, Driver, Plan, join};
use xtask::engines::PrivateEngine;

use super::churn::{Churn, churn};
use super::truth;
use crate::fixture::{Fixture, Hands, Shared};
use crate::random_steps::RandomSteps;
use crate::recorder::LIMIT;
use crate::scenario::Scenario;
use crate::truth::Truth;

const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;

/// A private containerd, and what its scenarios share.
pub(crate) struct ContainerdFixture {
    shared: Shared<Driver>,
}

impl ContainerdFixture {
    /// Runs `ctr`, and returns what it prints.
    pub(super) async fn ctr(&self, namespace: &str, arguments: &[&str]) -> Result<String> {
        ctr(self.engine(), namespace, arguments).await
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

/// Runs `ctr`, and returns what it prints.
pub(super) async fn ctr(engine: &PrivateEngine, namespace: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::from(engine.ctr(namespace)?);
    let output = command.args(arguments).kill_on_drop(true).output().await.context("cannot run ctr")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!(EngineFailure(format!("ctr {} failed: {}", arguments.join(" "), errors.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Fixture for ContainerdFixture {
    const SCENARIOS: &[Scenario<Self>] = super::scenarios::SCENARIOS;

    type Client = Client;
    type Driver = Driver;
    type Steps = Churn;

    fn new(shared: Shared<Driver>) -> ContainerdFixture {
        ContainerdFixture { shared }
    }

    fn shared(&self) -> &Shared<Driver> {
        &self.shared
    }

    fn client(endpoint: &str) -> Result<Client> {
        Ok(Client::new(endpoint)?)
    }

    async fn connect(&self) -> Result<Driver> {
        Driver::new(self.engine())
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
                // Its container was deleted while the task was created, and a task without a container cannot
                // be deleted.
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
        truth::ask(self.engine(), &self.driver().await?, &truth::OTHERS).await
    }

    async fn show_fence(&self, name: &str) -> Result<Option<String>> {
        self.run(name, None).await.map(Some)
    }

    async fn churn(&self, seed: u64) -> Result<RandomSteps<Churn>> {
        Ok(churn(self.driver().await?, seed))
    }
}

impl Hands for Driver {
    async fn run(&self, name: &str, script: Option<&str>) -> Result<String> {
        let plan = Plan::of(name);
        self.run(&if let Some(script) = script { plan.running(script) } else { plan }).await?;
        Ok(name.to_owned())
    }

    async fn exec(&self, id: &str, script: &str, code: i64) -> Result<()> {
        let exec = format!("exec-{}", fastrand::u64(..));
        let ended = self.exec(id, &exec, script).await?;
        ensure!(i64::from(ended) == code, "an exec ended with {ended}");
        Ok(())
    }

    async fn terminate(&self, id: &str) -> Result<()> {
        self.kill(id, SIGTERM).await
    }

    async fn kill(&self, id: &str) -> Result<()> {
        self.kill(id, SIGKILL).await
    }

    async fn pause(&self, id: &str) -> Result<()> {
        self.pause(id).await
    }

    async fn unpause(&self, id: &str) -> Result<()> {
        self.resume(id).await
    }

    async fn remove(&self, id: &str) -> Result<()> {
        self.remove(id).await
    }
}
