//! A private dockerd.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout};
use whalewatcher_core::{Portfolio, Settings};
use whalewatcher_drivers::EngineFailure;
use whalewatcher_drivers::docker::{AT_ONCE, Driver, Plan};
use whalewatcher_moby::Client;
use xtask::engines::{DaemonFlags, Docker, Installation};

use crate::docker::truth::Truth;
use crate::fixture::{FENCE, Fixture, Shared};
use crate::recorder::LIMIT;

/// A watcher of Docker.
pub(crate) type Watched = crate::watched::Watched<Client>;

/// A private dockerd, and what its scenarios share.
pub(crate) struct DockerFixture {
    engine: Docker,
    began: SystemTime,
    shared: Shared<Driver>,
    /// The container that is renamed to show that events have arrived.
    fence: Mutex<Option<String>>,
}

impl DockerFixture {
    /// Starts an engine.
    pub(crate) fn build(installation: &Installation) -> Result<DockerFixture> {
        let engine = Docker::start(installation, &Default::default())?;
        engine.load_test_image()?;
        let (shared, fence) = Default::default();
        Ok(DockerFixture { engine, began: SystemTime::now(), shared, fence })
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
        block_in_place(|| self.engine.terminate())
    }

    /// Starts dockerd again, which then leaves its containers alive when it ends, or does not.
    pub(crate) fn start_engine_with(&self, live_restore: bool) -> Result<()> {
        let flags = DaemonFlags { live_restore, more: Vec::new() };
        block_in_place(|| self.engine.start_again(&flags))
            .context(EngineFailure("it does not start again".to_owned()))
    }

    /// Returns the last name of the fence.
    pub(crate) fn fence_name(&self) -> String {
        format!("{FENCE}{}", self.shared.lock().fences)
    }

    fn fence_id(&self) -> MutexGuard<'_, Option<String>> {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fixture for DockerFixture {
    type Client = Client;
    type Driver = Driver;
    type Truth = Truth;

    fn describe(&self) -> String {
        let version = self.engine.version();
        format!("dockerd {}, API {}", version.engine, version.api)
    }

    fn endpoint(&self) -> String {
        self.engine.docker_host()
    }

    fn client(endpoint: &str) -> Result<Client> {
        Ok(Client::new(endpoint)?)
    }

    async fn connect(&self) -> Result<Driver> {
        Driver::connect(&self.engine.docker_socket()).await
    }

    fn shared(&self) -> &Shared<Driver> {
        &self.shared
    }

    fn is_running(&self) -> bool {
        self.engine.dockerd_pid().is_some()
    }

    fn kill(&self) -> Result<()> {
        self.engine.kill()
    }

    fn start_again(&self) -> Result<()> {
        self.engine.start_again(&DaemonFlags { live_restore: false, more: Vec::new() })
    }

    /// Removes all containers but the fence.
    async fn remove_all(&self) -> Result<()> {
        let docker = self.driver().await?;
        let others = || async {
            let fence = self.fence_id().clone();
            let mut ids = docker.all().await?;
            ids.retain(|id| Some(id) != fence.as_ref());
            anyhow::Ok(ids)
        };
        // dockerd refuses to remove a container that is being removed already.
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

    async fn truth(&self) -> Result<Truth> {
        Truth::ask(&self.driver().await?).await
    }

    fn differences(truth: &Truth, portfolio: &Portfolio) -> Vec<String> {
        truth.differences(portfolio)
    }

    /// Renames the fence. dockerd emits events in order, so all former ones have arrived when this one has.
    async fn show_fence(&self, name: &str) -> Result<Option<String>> {
        let docker = self.driver().await?;
        let known = self.fence_id().clone();
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
                *self.fence_id() = Some(id);
            }
        }
        Ok(None)
    }

    fn stop(self) -> Result<()> {
        self.engine.stop()
    }
}

/// Returns the PID of a container's initial process.
pub(crate) async fn pid_of(docker: &Driver, container: &str) -> Result<i32> {
    let state = docker.inspect(container).await?.and_then(|inspected| inspected.state);
    let pid = state.and_then(|state| state.pid).filter(|pid| *pid > 0);
    Ok(i32::try_from(pid.with_context(|| format!("{container} has no process"))?)?)
}

/// Waits until a container's initial process handles SIGTERM: before, the kernel discards the signal.
pub(crate) async fn handles_sigterm(docker: &Driver, container: &str) -> Result<()> {
    // The bit of signal 15 is in the fourth digit from the right.
    let handles = "until grep -q '^SigCgt:.*[4-7c-f]...$' /proc/1/status; do :; done";
    docker.exec(container, handles).await
}

/// How many seconds a container gets that is asked to end. It takes a moment.
pub(crate) const GRACE: i32 = 60;
