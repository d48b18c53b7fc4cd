//! A private containerd with CRI.

use std::sync::Mutex;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::block_in_place;
use whalewatcher_core::ChangeSource;
use whalewatcher_cri::Client;
use whalewatcher_drivers::cri::{AT_ONCE, ContainerPlan, Driver, Pod, PodPlan};

use super::check::check_by;
use super::churn::{Churn, churn};
use super::truth;
use crate::faulty::Extent;
use crate::fixture::{Fixture, Hands, Shared, locked};
use crate::random_steps::RandomSteps;
use crate::scenario::Scenario;
use crate::truth::Truth;

/// How many seconds a container gets that is asked to end. It takes a moment.
const GRACE: i64 = 20;

/// A watcher of CRI.
pub(super) type Watched = crate::watched::Watched<Client>;

/// A private containerd with CRI, and what its scenarios share.
pub(crate) struct CriFixture {
    shared: Shared<Driver>,
    /// The pod of the containers that show that events have arrived, and of those of scenarios on several engines.
    fence: Mutex<Option<Pod>>,
}

impl CriFixture {
    /// Returns where changes must come from: the CRI events of a containerd before 2.0 are for the kubelet alone.
    pub(super) fn source(&self) -> ChangeSource {
        match self.is_containerd_1() {
            true => ChangeSource::Hints,
            false => ChangeSource::Events,
        }
    }

    /// Whether its CRI events go to one client only.
    pub(super) fn is_containerd_1(&self) -> bool {
        self.engine().version().starts_with("1.")
    }

    /// Returns the pod of the containers that show that events have arrived.
    pub(super) async fn fence_pod(&self) -> Result<Pod> {
        let known = locked(&self.fence).clone();
        if let Some(pod) = known {
            return Ok(pod);
        }
        let pod = self.driver().await?.run_pod(&PodPlan::named("fence")).await?;
        *locked(&self.fence) = Some(pod.clone());
        Ok(pod)
    }

    /// Returns how many requests of this method containerd counted.
    pub(super) fn requests(&self, method: &str) -> Result<u64> {
        let requests = block_in_place(|| self.engine().requests())?;
        Ok(requests.get(&format!("runtime.v1.RuntimeService/{method}")).copied().unwrap_or_default())
    }
}

impl Fixture for CriFixture {
    /// CRI's statuses can fail or contain no PID for a moment: once in some twenty runs, on 2.1.
    const FAILS_INSPECTIONS: bool = true;

    const EXTENT: Extent = Extent { rounds: 2, faults: 10, transitions_per_fault: 5 };

    const SCENARIOS: &[Scenario<Self>] = super::scenarios::SCENARIOS;

    type Client = Client;
    type Driver = Driver;
    type Steps = Churn;

    fn new(shared: Shared<Driver>) -> CriFixture {
        CriFixture { shared, fence: Mutex::default() }
    }

    fn shared(&self) -> &Shared<Driver> {
        &self.shared
    }

    fn client(endpoint: &str) -> Result<Client> {
        Ok(Client::new(endpoint)?)
    }

    async fn connect(&self) -> Result<Driver> {
        let driver = Driver::new(self.engine())?;
        driver.ready().await?;
        Ok(driver)
    }

    async fn remove_all(&self) -> Result<()> {
        *locked(&self.fence) = None;
        let driver = self.driver().await?;
        let pods = driver.pods().await?;
        let removal = async |id: &String| {
            driver.remove_pod(id).await.with_context(|| format!("pod {id} cannot be removed"))
        };
        let removals = stream::iter(pods.iter().map(|pod| &pod.id)).map(removal);
        removals.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let left = driver.pods().await?;
        ensure!(left.is_empty(), "pods are still there: {left:?}");
        let left = driver.containers().await?;
        ensure!(left.is_empty(), "containers are still there: {left:?}");
        Ok(())
    }

    async fn truth(&self) -> Result<Truth> {
        truth::ask(&self.driver().await?).await
    }

    async fn show_fence(&self, name: &str) -> Result<Option<String>> {
        self.run(name, None).await.map(Some)
    }

    async fn churn(&self, seed: u64) -> Result<RandomSteps<Churn>> {
        let start = SystemTime::now();
        let fence = self.fence_pod().await?;
        let churn = churn(self.driver().await?, seed);
        churn.lives().began(&fence.id, 0, start, false);
        Ok(churn)
    }

    async fn check(&self, watched: &Watched) -> Result<()> {
        check_by(self, watched, self.source()).await
    }

    async fn prepare(&self) -> Result<()> {
        self.fence_pod().await.map(drop)
    }

    async fn run(&self, name: &str, script: Option<&str>) -> Result<String> {
        let plan = ContainerPlan::named(name);
        let plan = if let Some(script) = script { plan.running(script) } else { plan };
        self.driver().await?.run(&self.fence_pod().await?, &plan).await
    }
}

impl Hands for Driver {
    /// In no pod: [`Fixture::run`] has one.
    async fn run(&self, name: &str, _script: Option<&str>) -> Result<String> {
        bail!("{name} has no pod")
    }

    async fn exec(&self, id: &str, script: &str, code: i64) -> Result<()> {
        let (ended, _) = self.exec(id, script).await?;
        ensure!(i64::from(ended) == code, "an exec ended with {ended}");
        Ok(())
    }

    async fn terminate(&self, id: &str) -> Result<()> {
        self.stop_within(id, GRACE).await
    }

    async fn kill(&self, id: &str) -> Result<()> {
        self.stop(id).await
    }

    async fn remove(&self, id: &str) -> Result<()> {
        self.remove(id).await
    }
}
