//! A private containerd with CRI.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::block_in_place;
use whalewatcher_core::{ChangeSource, Portfolio};
use whalewatcher_drivers::cri::{AT_ONCE, ContainerPlan, Driver, Pod, PodPlan};
use xtask::engines::{Containerd, Installation};

use super::Client;
use super::truth::Truth;
use crate::fixture::{Fixture, Shared};

/// A watcher of CRI.
pub(super) type Watched = crate::watched::Watched<Client>;

/// A private containerd with CRI, and what its scenarios share.
pub(crate) struct CriFixture {
    engine: Containerd,
    installation: Installation,
    shared: Shared<Driver>,
    /// The pod of the containers that show that events have arrived.
    fence: Mutex<Option<Pod>>,
}

impl CriFixture {
    /// Starts an engine.
    pub(crate) fn build(installation: &Installation) -> Result<CriFixture> {
        let engine = Containerd::start(installation, None)?;
        let (shared, fence) = Default::default();
        Ok(CriFixture { engine, installation: installation.clone(), shared, fence })
    }

    /// What it was started from.
    pub(super) fn installation(&self) -> &Installation {
        &self.installation
    }

    pub(super) fn engine(&self) -> &Containerd {
        &self.engine
    }

    /// Returns where changes must come from: the CRI events of a containerd before 2.0 are for the kubelet alone.
    pub(super) fn source(&self) -> ChangeSource {
        match self.is_containerd_1() {
            true => ChangeSource::Hints,
            false => ChangeSource::Events,
        }
    }

    /// Whether its CRI events go to one client only.
    pub(super) fn is_containerd_1(&self) -> bool {
        self.engine.version().starts_with("1.")
    }

    /// Returns the pod of the containers that show that events have arrived.
    pub(super) async fn fence_pod(&self) -> Result<Pod> {
        let known = self.fence.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(pod) = known {
            return Ok(pod);
        }
        let pod = self.driver().await?.run_pod(&PodPlan::named("fence")).await?;
        *self.fence.lock().unwrap_or_else(PoisonError::into_inner) = Some(pod.clone());
        Ok(pod)
    }

    /// Returns how many requests of this method containerd counted.
    pub(super) fn requests(&self, method: &str) -> Result<u64> {
        let requests = block_in_place(|| self.engine.requests())?;
        Ok(requests.get(&format!("runtime.v1.RuntimeService/{method}")).copied().unwrap_or_default())
    }
}

impl Fixture for CriFixture {
    /// CRI's statuses can fail or contain no PID for a moment: once in some twenty runs, on 2.1.
    const FAILS_INSPECTIONS: bool = true;

    type Client = Client;
    type Driver = Driver;
    type Truth = Truth;

    fn describe(&self) -> String {
        format!("containerd {} with CRI", self.engine.version())
    }

    fn endpoint(&self) -> String {
        format!("unix://{}", self.engine.socket().display())
    }

    fn client(endpoint: &str) -> Result<Client> {
        Ok(Client::new(endpoint)?)
    }

    async fn connect(&self) -> Result<Driver> {
        let driver = Driver::new(&self.engine)?;
        driver.ready().await?;
        Ok(driver)
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
        *self.fence.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
        Truth::ask(&self.driver().await?).await
    }

    fn differences(truth: &Truth, portfolio: &Portfolio) -> Vec<String> {
        truth.differences(portfolio)
    }

    async fn show_fence(&self, name: &str) -> Result<Option<String>> {
        let pod = self.fence_pod().await?;
        self.driver().await?.run(&pod, &ContainerPlan::named(name)).await.map(Some)
    }

    fn stop(self) -> Result<()> {
        self.engine.stop()
    }
}
