//! What a scenario gets: a private podman, a driver of it, and watchers of it.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use bollard::models::ContainerInspectResponse;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use tokio::task::block_in_place;
use whalewatcher_core::{Portfolio, Settings, watch_with};
use whalewatcher_drivers::EngineFailure;
use whalewatcher_drivers::docker::{AT_ONCE, Driver, Plan};
use whalewatcher_moby::Client;
use xtask::engines::{Installation, Podman};

use crate::FENCE;
use crate::picture::{self, Reality};
use crate::scenarios::outage::kill;
use crate::stage::{Watched, pid_of, settings};
use crate::theatre::Theatre;
use crate::truth::Truth;

/// A private podman, and what belongs to the scenarios on it.
pub(crate) struct Stage {
    engine: Podman,
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
        let engine = Podman::start(installation, None)?;
        engine.load_test_image()?;
        Ok(Stage { engine, shared: Mutex::default() })
    }

    /// The driver of the engine that runs now.
    pub(super) async fn docker(&self) -> Result<Driver> {
        if let Some(driver) = &self.shared().driver {
            return Ok(driver.clone());
        }
        let driver = Driver::connect(&self.engine.socket()).await?.below(&self.engine.cgroup());
        self.shared().driver = Some(driver.clone());
        Ok(driver)
    }

    /// The socket of Docker's API.
    pub(super) fn socket(&self) -> PathBuf {
        self.engine.socket()
    }

    /// A path for a socket beside the engine's own.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.engine.folder().join(name)
    }

    /// Something to be printed with the scenario's outcome.
    pub(super) fn figure(&self, text: String) {
        self.shared().figures.push(text);
    }

    /// A watcher of the engine, that is ready.
    pub(super) async fn watch(&self) -> Result<Watched> {
        let watched = self.begin_watch(settings())?;
        watched.ready().await?;
        Ok(watched)
    }

    /// A watcher of the engine.
    pub(super) fn begin_watch(&self, settings: Settings) -> Result<Watched> {
        self.begin_watch_at(&format!("unix://{}", self.socket().display()), settings)
    }

    /// A watcher of what is at this endpoint.
    pub(super) fn begin_watch_at(&self, endpoint: &str, settings: Settings) -> Result<Watched> {
        Ok(Watched::new(watch_with(Client::new(endpoint)?, settings)))
    }

    /// Checks everything, once the engine is quiet.
    pub(super) async fn check(&self, watched: &Watched) -> Result<()> {
        picture::check(self, watched).await.map(drop)
    }

    /// Kills what serves the API.
    pub(super) fn kill_engine(&self) -> Result<()> {
        self.release_driver();
        block_in_place(|| self.engine.kill())
    }

    /// Serves the API again.
    pub(super) fn start_engine(&self) -> Result<()> {
        block_in_place(|| self.engine.start_again())
            .context(EngineFailure("it does not start again".to_owned()))
    }

    /// All containers' IDs, with those that are not alive. Not by bollard: it fails if a container has a state that only
    /// podman knows.
    fn ids(&self) -> Result<Vec<String>> {
        let listed = self.engine.request("GET", "/v1.41/containers/json?all=1")?.json()?;
        let listed = listed.as_array().with_context(|| format!("no list: {listed}"))?;
        let id = |container: &Value| container["Id"].as_str().map(str::to_owned);
        listed.iter().map(|container| id(container).context("a listed container has no ID")).collect()
    }

    /// `None` if there is none.
    fn inspect(&self, id: &str) -> Result<Option<ContainerInspectResponse>> {
        let response = self.engine.request("GET", &format!("/v1.41/containers/{id}/json"))?;
        let mut inspected = response.json()?;
        // What is removed meanwhile is told with 404 or 500.
        if inspected["cause"] == "no such container" {
            return Ok(None);
        }
        ensure!(response.status == 200, "cannot inspect {id}: {inspected}");
        // Whether it runs or is paused is told apart from this.
        inspected["State"]["Status"] = Value::Null;
        serde_json::from_value(inspected).with_context(|| format!("cannot inspect {id}")).map(Some)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reality<Client> for Stage {
    /// What is removed just when it is inspected is answered with 500 instead of 404.
    const FAILS_INSPECTIONS: bool = true;

    type Truth = Truth;

    async fn ask(&self) -> Result<Truth> {
        Truth::of(block_in_place(|| {
            self.ids()?.iter().filter_map(|id| self.inspect(id).transpose()).collect::<Result<Vec<_>>>()
        })?)
    }

    fn differences(truth: &Truth, portfolio: &Portfolio) -> Vec<String> {
        truth.differences(portfolio)
    }

    /// Shows that events come to this watcher: a container of our own comes, and that is told.
    async fn fence(&self, watched: &Watched) -> Result<()> {
        let name = {
            let mut shared = self.shared();
            shared.fences += 1;
            format!("{FENCE}{}", shared.fences)
        };
        self.docker().await?.run(Plan::named(&name)).await?;
        watched.recorder().until("the fence is reported", |record| record.fold.by_name(&name).is_some()).await
    }
}

impl Theatre for Stage {
    fn describe(&self) -> String {
        format!("podman {}", self.engine.version())
    }

    async fn clear(&self) -> Result<()> {
        if self.engine.pid().is_none() {
            self.start_engine()?;
        }
        let docker = self.docker().await?;
        let all = block_in_place(|| self.ids())?;
        let removals = stream::iter(&all).map(async |id| match docker.remove(id).await {
            Ok(()) => Ok(()),
            // A podman that was killed amid resuming it believes it paused for ever, and then cannot end it.
            Err(_) => {
                kill(pid_of(&docker, id).await?)?;
                docker.until_ended(id).await?;
                docker.remove(id).await
            }
        });
        removals.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let left = block_in_place(|| self.ids())?;
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
