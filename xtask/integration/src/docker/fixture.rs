//! A private dockerd.

use std::sync::Mutex;

use anyhow::Result;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use whalewatcher_core::Settings;
use whalewatcher_drivers::docker::{Driver, Plan};
use whalewatcher_moby::Client;

use super::churn::{Churn, churn};
use super::{check, truth};
use crate::fixture::{Fixture, Hands, Shared, locked};
use crate::random_steps::RandomSteps;
use crate::scenario::Scenario;
use crate::truth::Truth;

/// How many containers are churned.
const CHURNED: usize = 8;

/// A watcher of Docker.
pub(crate) type Watched = crate::watched::Watched<Client>;

/// A private dockerd, and what its scenarios share.
pub(crate) struct DockerFixture {
    shared: Shared<Driver>,
    /// The container that is renamed to show that events have arrived.
    fence: Mutex<Option<String>>,
}

impl DockerFixture {
    /// Begins to watch what is at this endpoint, with the watcher's tasks, but not its subscribers', in this runtime.
    pub(crate) fn begin_watch_in(
        &self,
        runtime: &Handle,
        endpoint: &str,
        settings: Settings,
    ) -> Result<Watched> {
        let watching = {
            let _within = runtime.enter();
            whalewatcher_core::watch_with(Client::new(endpoint)?, settings)
        };
        Ok(Watched::new(watching))
    }

    /// Asks dockerd to end, and waits until it has.
    pub(crate) fn terminate_engine(&self) -> Result<()> {
        self.release_driver();
        block_in_place(|| self.engine().terminate())
    }
}

impl Fixture for DockerFixture {
    const APART: usize = 1;

    const SCENARIOS: &[Scenario<Self>] = super::scenarios::SCENARIOS;

    type Client = Client;
    type Driver = Driver;
    type Steps = Churn;

    fn new(shared: Shared<Driver>) -> DockerFixture {
        DockerFixture { shared, fence: Mutex::default() }
    }

    fn shared(&self) -> &Shared<Driver> {
        &self.shared
    }

    fn client(endpoint: &str) -> Result<Client> {
        Ok(Client::new(endpoint)?)
    }

    async fn connect(&self) -> Result<Driver> {
        Driver::connect(&self.engine().socket()).await
    }

    /// Removes all containers but the fence.
    async fn remove_all(&self) -> Result<()> {
        let fence = locked(&self.fence).clone();
        self.driver().await?.remove_all(fence.as_deref()).await
    }

    async fn truth(&self) -> Result<Truth> {
        truth::ask(&self.driver().await?).await
    }

    /// Renames the fence. dockerd emits events in order, so all former ones have arrived when this one has.
    async fn show_fence(&self, name: &str) -> Result<Option<String>> {
        let docker = self.driver().await?;
        let known = locked(&self.fence).clone();
        let inspected = match &known {
            Some(id) => docker.inspect(id).await?,
            None => None,
        };
        match (known, inspected.and_then(|inspected| inspected.state?.running)) {
            (Some(id), Some(true)) => docker.rename(&id, name).await?,
            (Some(id), Some(false)) => {
                docker.rename(&id, name).await?;
                docker.start(&id).await?;
            }
            _ => {
                let id = docker.run(Plan::named(name)).await?;
                *locked(&self.fence) = Some(id);
            }
        }
        Ok(None)
    }

    async fn churn(&self, seed: u64) -> Result<RandomSteps<Churn>> {
        churn(&self.driver().await?, CHURNED, seed).await
    }

    async fn check(&self, watched: &Watched) -> Result<()> {
        check::check(self, watched).await
    }
}

impl Hands for Driver {
    async fn run(&self, name: &str, script: Option<&str>) -> Result<String> {
        let plan = Plan::named(name);
        self.run(if let Some(script) = script { plan.running(script) } else { plan }).await
    }

    async fn exec(&self, id: &str, script: &str, _code: i64) -> Result<()> {
        self.exec(id, script).await
    }

    async fn terminate(&self, id: &str) -> Result<()> {
        self.stop(id, GRACE).await
    }

    async fn kill(&self, id: &str) -> Result<()> {
        self.kill(id, "KILL").await
    }

    async fn pause(&self, id: &str) -> Result<()> {
        self.pause(id).await
    }

    async fn unpause(&self, id: &str) -> Result<()> {
        self.unpause(id).await
    }

    async fn remove(&self, id: &str) -> Result<()> {
        self.remove(id).await
    }
}

/// Waits until a container's initial process handles SIGTERM: before, the kernel discards the signal.
pub(crate) async fn handles_sigterm(docker: &Driver, container: &str) -> Result<()> {
    // The bit of signal 15 is in the fourth digit from the right.
    let handles = "until grep -q '^SigCgt:.*[4-7c-f]...$' /proc/1/status; do :; done";
    docker.exec(container, handles).await
}

/// How many seconds a container gets that is asked to end. It takes a moment.
pub(crate) const GRACE: i32 = 60;
