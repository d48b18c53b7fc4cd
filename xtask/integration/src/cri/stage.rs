//! What a scenario gets: a private containerd with CRI, a driver of it, and watchers of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::block_in_place;
use whalewatcher_core::{ChangeSource, Settings, watch_with};
use xtask::engines::{Containerd, Installation};

use super::Client;
use crate::FENCE;
use crate::stage::settings;
use crate::theatre::Theatre;
use whalewatcher_drivers::EngineFailure;
use whalewatcher_drivers::cri::{AT_ONCE, Driver};
use whalewatcher_drivers::cri::{ContainerPlan, Pod, PodPlan};

/// A watcher of CRI.
pub(super) type Watched = crate::watched::Watched<Client>;

/// A private containerd with CRI, and what belongs to the scenarios on it.
pub(crate) struct Stage {
    engine: Containerd,
    installation: Installation,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    driver: Option<Driver>,
    /// Where the containers are that show that events have arrived.
    fence: Option<Pod>,
    fences: u32,
    figures: Vec<String>,
}

impl Stage {
    /// Starts an engine.
    pub(crate) fn build(installation: &Installation) -> Result<Stage> {
        let engine = Containerd::start(installation, None)?;
        Ok(Stage { engine, installation: installation.clone(), shared: Mutex::default() })
    }

    /// What it was started from.
    pub(super) fn installation(&self) -> &Installation {
        &self.installation
    }

    pub(super) fn engine(&self) -> &Containerd {
        &self.engine
    }

    /// The driver of the engine that runs now, which is ready.
    pub(super) async fn driver(&self) -> Result<Driver> {
        if let Some(driver) = &self.shared().driver {
            return Ok(driver.clone());
        }
        let driver = Driver::new(&self.engine)?;
        driver.ready().await?;
        self.shared().driver = Some(driver.clone());
        Ok(driver)
    }

    /// Something to be printed with the scenario's outcome.
    pub(super) fn figure(&self, text: String) {
        self.shared().figures.push(text);
    }

    /// How changes have to be learned of: what containerd before 2.0 tells of pods is for the kubelet alone.
    pub(super) fn source(&self) -> ChangeSource {
        match self.is_containerd_1() {
            true => ChangeSource::Hints,
            false => ChangeSource::Events,
        }
    }

    /// Whether it is one of those whose events of pods go to one client only.
    pub(super) fn is_containerd_1(&self) -> bool {
        self.engine.version().starts_with("1.")
    }

    /// Where CRI is.
    pub(super) fn endpoint(&self) -> String {
        format!("unix://{}", self.engine.socket().display())
    }

    /// A watcher of the engine, that is ready.
    pub(super) async fn watch(&self) -> Result<Watched> {
        let watched = self.begin_watch(settings())?;
        watched.ready().await?;
        Ok(watched)
    }

    /// A watcher of the engine.
    pub(super) fn begin_watch(&self, settings: Settings) -> Result<Watched> {
        self.begin_watch_at(&self.endpoint(), settings)
    }

    /// A watcher of what is at this endpoint.
    pub(super) fn begin_watch_at(&self, endpoint: &str, settings: Settings) -> Result<Watched> {
        Ok(Watched::new(watch_with(Client::new(endpoint)?, settings)))
    }

    /// The pod of the containers that show that events have arrived.
    pub(super) async fn fence_pod(&self) -> Result<Pod> {
        if let Some(pod) = &self.shared().fence {
            return Ok(pod.clone());
        }
        let pod = self.driver().await?.run_pod(&PodPlan::named("fence")).await?;
        self.shared().fence = Some(pod.clone());
        Ok(pod)
    }

    /// Shows that events come to this watcher: a container of our own comes, and that is told.
    pub(super) async fn fence(&self, watched: &Watched) -> Result<()> {
        let pod = self.fence_pod().await?;
        let name = {
            let mut shared = self.shared();
            shared.fences += 1;
            format!("{FENCE}{}", shared.fences)
        };
        let id = self.driver().await?.run(&pod, &ContainerPlan::named(&name)).await?;
        watched.recorder().until("the fence is reported", |record| record.fold.by_id(&id).is_some()).await
    }

    /// How many requests of this method there were, as containerd counts itself.
    pub(super) fn requests(&self, method: &str) -> Result<u64> {
        let requests = block_in_place(|| self.engine.requests())?;
        Ok(requests.get(&format!("runtime.v1.RuntimeService/{method}")).copied().unwrap_or_default())
    }

    /// Kills containerd.
    pub(super) fn kill_engine(&self) -> Result<()> {
        self.release_driver();
        block_in_place(|| self.engine.kill())
    }

    /// Starts containerd again.
    pub(super) fn start_engine(&self) -> Result<()> {
        block_in_place(|| self.engine.start_again())
            .context(EngineFailure("it does not start again".to_owned()))
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Theatre for Stage {
    fn describe(&self) -> String {
        format!("containerd {} with CRI", self.engine.version())
    }

    async fn clear(&self) -> Result<()> {
        if self.engine.containerd_pid().is_none() {
            self.start_engine()?;
        }
        self.shared().fence = None;
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

    fn take_figures(&self) -> Vec<String> {
        std::mem::take(&mut self.shared().figures)
    }

    fn release_driver(&self) {
        self.shared().driver = None;
    }

    fn strike(self) -> Result<()> {
        self.engine.stop()
    }
}
