//! What a scenario gets: a private engine, a driver of it, and watchers of it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout};
use whalewatcher_core::{Settings, watch_with};
use whalewatcher_moby::Client;
use xtask::engines::{DaemonFlags, Docker, Installation};

use crate::FENCE;
use crate::recorder::LIMIT;
use crate::theatre::Theatre;
use whalewatcher_drivers::EngineFailure;
use whalewatcher_drivers::docker::{AT_ONCE, Driver, Plan};

/// A private engine, and what belongs to the scenarios on it.
pub(crate) struct Stage {
    engine: Docker,
    began: SystemTime,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    driver: Option<Driver>,
    fence: Option<String>,
    fences: usize,
    figures: Vec<String>,
}

/// A watcher of Docker.
pub(crate) type Watched = crate::watched::Watched<Client>;

impl Stage {
    /// Starts an engine.
    pub(crate) fn build(installation: &Installation) -> Result<Stage> {
        let engine = Docker::start(installation, &Default::default())?;
        engine.load_test_image()?;
        Ok(Stage { engine, began: SystemTime::now(), shared: Mutex::default() })
    }

    pub(crate) fn engine(&self) -> &Docker {
        &self.engine
    }

    /// When the engine was started.
    pub(crate) fn began(&self) -> SystemTime {
        self.began
    }

    /// A path for a socket beside the engine's own.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.engine.folder().join(name)
    }

    /// The driver of the engine that runs now.
    pub(crate) async fn docker(&self) -> Result<Driver> {
        if let Some(driver) = &self.shared().driver {
            return Ok(driver.clone());
        }
        let driver = Driver::connect(&self.engine.docker_socket()).await?;
        self.shared().driver = Some(driver.clone());
        Ok(driver)
    }

    /// Something to be printed with the scenario's outcome.
    pub(crate) fn figure(&self, text: String) {
        self.shared().figures.push(text);
    }

    /// A watcher of the engine, that is ready.
    pub(crate) async fn watch(&self) -> Result<Watched> {
        let watched = self.begin_watch(&self.engine.docker_host(), settings())?;
        watched.ready().await?;
        Ok(watched)
    }

    /// A watcher of what is at this endpoint.
    pub(crate) fn begin_watch(&self, endpoint: &str, settings: Settings) -> Result<Watched> {
        self.begin_watch_in(&Handle::current(), endpoint, settings)
    }

    /// The same, with the watcher's tasks, but not its subscribers', in this runtime.
    pub(crate) fn begin_watch_in(
        &self,
        runtime: &Handle,
        endpoint: &str,
        settings: Settings,
    ) -> Result<Watched> {
        let watching = {
            let _within = runtime.enter();
            watch_with(Client::new(endpoint)?, settings)
        };
        Ok(Watched::new(watching))
    }

    /// Kills dockerd.
    pub(crate) fn kill_engine(&self) -> Result<()> {
        self.shared().driver = None;
        block_in_place(|| self.engine.kill())
    }

    /// Asks dockerd to end, and waits until it has.
    pub(crate) fn terminate_engine(&self) -> Result<()> {
        self.shared().driver = None;
        block_in_place(|| self.engine.terminate())
    }

    /// Starts dockerd again.
    pub(crate) fn start_engine(&self, live_restore: bool) -> Result<()> {
        let flags = DaemonFlags { live_restore, more: Vec::new() };
        block_in_place(|| self.engine.start_again(&flags))
            .context(EngineFailure("it does not start again".to_owned()))
    }

    /// Waits until all that the engine has told so far has come to this watcher: a container of our own is renamed,
    /// and engines tell things in order.
    pub(crate) async fn fence(&self, watched: &Watched) -> Result<()> {
        let docker = self.docker().await?;
        let (known, name) = {
            let mut shared = self.shared();
            shared.fences += 1;
            (shared.fence.clone(), format!("{FENCE}{}", shared.fences))
        };
        let inspected = match &known {
            Some(id) => docker.inspect(id).await?,
            None => None,
        };
        match (known, inspected.and_then(|inspected| inspected.state?.running)) {
            (Some(id), Some(true)) => docker.rename(&id, &name).await?,
            (Some(id), Some(false)) => {
                docker.rename(&id, &name).await?;
                docker.start(&id).await?;
            }
            _ => {
                let id = docker.run(Plan::named(&name)).await?;
                self.shared().fence = Some(id);
            }
        }
        watched.recorder().until("the fence is reported", |record| record.fold.by_name(&name).is_some()).await
    }

    /// What the fence was called last.
    pub(crate) fn fence_name(&self) -> String {
        format!("{FENCE}{}", self.shared().fences)
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Theatre for Stage {
    fn describe(&self) -> String {
        let version = self.engine.version();
        format!("dockerd {}, API {}", version.engine, version.api)
    }

    /// Removes all containers but the fence, and sees to it that they are gone; starts dockerd if it is away.
    async fn clear(&self) -> Result<()> {
        if self.engine.dockerd_pid().is_none() {
            self.start_engine(false)?;
        }
        let docker = self.docker().await?;
        let others = || async {
            let fence = self.shared().fence.clone();
            let mut ids = docker.all().await?;
            ids.retain(|id| Some(id) != fence.as_ref());
            anyhow::Ok(ids)
        };
        // What is being removed already is refused, and gone a moment later.
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = others().await?;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "containers are still there: {left:?}");
            let removals = stream::iter(&left).map(async |id| {
                docker.remove(id).await?;
                let _ = timeout(Duration::from_secs(1), docker.gone(id)).await;
                anyhow::Ok(())
            });
            removals.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
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

/// What the scenarios' watchers are like: without audits, for these would mend what events got wrong.
pub(crate) fn settings() -> Settings {
    Settings::default().with_audits(None)
}

/// The PID of a container's initial process.
pub(crate) async fn pid_of(docker: &Driver, container: &str) -> Result<i32> {
    let state = docker.inspect(container).await?.and_then(|inspected| inspected.state);
    let pid = state.and_then(|state| state.pid).filter(|pid| *pid > 0);
    Ok(i32::try_from(pid.with_context(|| format!("{container} has no process"))?)?)
}

/// Waits until a container's first process catches the signal by which it is asked to end: before, it gets none.
pub(crate) async fn catches_the_end(docker: &Driver, container: &str) -> Result<()> {
    // The bit of signal 15 is in the fourth digit from the right.
    let catches = "until grep -q '^SigCgt:.*[4-7c-f]...$' /proc/1/status; do :; done";
    docker.exec(container, catches).await
}

/// How many seconds a container gets that is asked to end. It takes a moment.
pub(crate) const GRACE: i32 = 60;
