//! What a scenario gets: a private containerd with CRI, a driver of it, and watchers of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::block_in_place;
use xtask::engines::{Containerd, Installation};

use super::driver::{AT_ONCE, Driver};
use crate::theatre::Theatre;

/// A private containerd with CRI, and what belongs to the scenarios on it.
pub(crate) struct Stage {
    engine: Containerd,
    installation: Installation,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    driver: Option<Driver>,
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

    /// Kills containerd.
    pub(super) fn kill_engine(&self) -> Result<()> {
        self.release_driver();
        block_in_place(|| self.engine.kill())
    }

    /// Starts containerd again.
    pub(super) fn start_engine(&self) -> Result<()> {
        block_in_place(|| self.engine.start_again())
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
        let driver = self.driver().await?;
        let pods = driver.pods().await?;
        let removals = stream::iter(&pods).map(|pod| driver.remove_pod(&pod.id));
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
