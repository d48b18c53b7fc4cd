//! What a scenario gets: a private containerd, a driver of it, and watchers of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::process::Command;
use tokio::task::block_in_place;
use tokio::time::timeout;
use whalewatcher_containerd::Client;
use whalewatcher_core::{Settings, watch_with};
use xtask::engines::{Containerd, Installation};

use crate::FENCE;
use crate::recorder::LIMIT;
use crate::stage::settings;
use crate::theatre::Theatre;
use whalewatcher_drivers::EngineFailure;
use whalewatcher_drivers::containerd::{AT_ONCE, Driver, Plan, join};

/// A watcher of containerd.
pub(super) type Watched = crate::watched::Watched<Client>;

/// A private containerd, and what belongs to the scenarios on it.
pub(crate) struct Stage {
    engine: Containerd,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    driver: Option<Driver>,
    fences: usize,
    figures: Vec<String>,
}

impl Stage {
    /// Starts an engine.
    pub(crate) fn build(installation: &Installation) -> Result<Stage> {
        Ok(Stage { engine: Containerd::start(installation, None)?, shared: Mutex::default() })
    }

    pub(super) fn engine(&self) -> &Containerd {
        &self.engine
    }

    /// The driver of the engine that runs now.
    pub(super) fn driver(&self) -> Result<Driver> {
        let mut shared = self.shared();
        if let Some(driver) = &shared.driver {
            return Ok(driver.clone());
        }
        let driver = Driver::new(&self.engine)?;
        shared.driver = Some(driver.clone());
        Ok(driver)
    }

    /// What `ctr` prints.
    pub(super) async fn ctr(&self, namespace: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::from(self.engine.ctr(namespace)?);
        let output = command.args(arguments).kill_on_drop(true).output().await.context("cannot run ctr")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!(EngineFailure(format!("ctr {} failed: {}", arguments.join(" "), errors.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Something to be printed with the scenario's outcome.
    pub(super) fn figure(&self, text: String) {
        self.shared().figures.push(text);
    }

    /// A watcher of the engine, that is ready.
    pub(super) async fn watch(&self) -> Result<Watched> {
        let watched = self.begin_watch()?;
        watched.ready().await?;
        Ok(watched)
    }

    /// A watcher of the engine.
    pub(super) fn begin_watch(&self) -> Result<Watched> {
        self.begin_watch_with(settings())
    }

    /// A watcher of the engine.
    pub(super) fn begin_watch_with(&self, settings: Settings) -> Result<Watched> {
        self.begin_watch_at(&self.engine.socket().display().to_string(), settings)
    }

    /// A watcher of what is at this endpoint.
    pub(super) fn begin_watch_at(&self, endpoint: &str, settings: Settings) -> Result<Watched> {
        Ok(Watched::new(watch_with(Client::new(endpoint)?, settings)))
    }

    /// Shows that events come to this watcher: a container of our own comes, and that is told.
    pub(super) async fn fence(&self, watched: &Watched) -> Result<()> {
        let key = {
            let mut shared = self.shared();
            shared.fences += 1;
            format!("{FENCE}{}", shared.fences)
        };
        self.driver()?.run(&Plan::of(&key)).await?;
        watched.recorder().until("the fence is reported", |record| record.fold.by_id(&key).is_some()).await
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

    /// Everything that there is, by its key.
    async fn containers(&self) -> Result<Vec<String>> {
        let driver = self.driver()?;
        let mut keys = Vec::new();
        for namespace in driver.namespaces().await? {
            let containers = driver.list(&namespace).await?;
            keys.extend(containers.iter().map(|container| join(&namespace, &container.id)));
        }
        Ok(keys)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Theatre for Stage {
    fn describe(&self) -> String {
        format!("containerd {}", self.engine.version())
    }

    async fn clear(&self) -> Result<()> {
        if self.engine.containerd_pid().is_none() {
            self.start_engine()?;
        }
        let driver = self.driver()?;
        let keys = self.containers().await?;
        let removal = async |key: &String| {
            let removed = timeout(LIMIT, driver.remove(key)).await;
            removed.with_context(|| format!("{key} cannot be removed"))?
        };
        let removals = stream::iter(&keys).map(removal);
        removals.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        for namespace in driver.namespaces().await? {
            for id in driver.tasks_of(&namespace).await? {
                // Somebody deleted its container while it was made, and without one it cannot be deleted.
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
