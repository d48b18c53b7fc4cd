//! A private engine for scenarios, and watchers of it: one trait, implemented for each kind of engine.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use tokio::task::block_in_place;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{Portfolio, Settings, watch_with};
use whalewatcher_drivers::EngineFailure;
use whalewatcher_testkit::proxy::Proxy;
use xtask::engines::{EngineKind, PrivateEngine};

use crate::comparison;
use crate::fault_injector::Protocol;
use crate::faulty::Extent;
use crate::random_steps::{RandomSteps, Steps};
use crate::scenario::Scenario;
use crate::truth::Truth;
use crate::watched::Watched;

/// The beginning of the names of containers that show that an engine's events have arrived.
pub(crate) const FENCE: &str = "fence-";

/// A private engine, on which scenarios run one after the other.
pub(crate) trait Fixture: Sized + 'static {
    /// Whether the engine may fail to answer an inspection that is then repeated.
    const FAILS_INSPECTIONS: bool = false;

    /// How many transitions there are from one watcher that comes during churn to the next.
    const APART: usize = 3;

    /// How much goes wrong when everything does.
    const EXTENT: Extent = Extent { rounds: 2, faults: 12, transitions_per_fault: 8 };

    /// What clients speak.
    const PROTOCOL: Protocol = Protocol::Http2;

    /// What a watcher of this engine has to do.
    const SCENARIOS: &'static [Scenario<Self>];

    /// The client under test.
    type Client: EngineClient + 'static;

    /// What changes containers, and shares no code with the client.
    type Driver: Hands;

    /// What is done to containers at random.
    type Steps: Steps;

    /// Takes over an engine that was just started.
    fn new(shared: Shared<Self::Driver>) -> Self;

    /// Returns the engine and what scenarios share.
    fn shared(&self) -> &Shared<Self::Driver>;

    /// Creates a client of what is at this endpoint.
    fn client(endpoint: &str) -> Result<Self::Client>;

    /// Connects a driver with the engine that runs now.
    async fn connect(&self) -> Result<Self::Driver>;

    /// Removes whatever scenarios left, and returns when it is gone.
    async fn remove_all(&self) -> Result<()>;

    /// Asks the engine what is alive, as others decode it. It is the truth if the engine is quiet.
    async fn truth(&self) -> Result<Truth>;

    /// Makes the engine show a container of this name to watchers, and returns the container's ID if the name
    /// alone does not find it.
    async fn show_fence(&self, name: &str) -> Result<Option<String>>;

    /// Prepares random steps on some containers.
    async fn churn(&self, seed: u64) -> Result<RandomSteps<Self::Steps>>;

    /// Checks everything, once the engine is quiet and no fault is active.
    async fn check(&self, watched: &Watched<Self::Client>) -> Result<()> {
        comparison::check(self, watched).await.map(drop)
    }

    /// Creates what [`run`](Fixture::run) needs besides a container, and a watcher would report.
    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    /// Runs a container of this name, with this script or until it is stopped, and returns its ID.
    async fn run(&self, name: &str, script: Option<&str>) -> Result<String> {
        self.driver().await?.run(name, script).await
    }

    /// Returns the endpoint that clients connect to.
    fn endpoint(&self) -> String {
        self.engine().endpoint()
    }

    fn engine(&self) -> &PrivateEngine {
        &self.shared().engine
    }

    /// A path for a socket beside the engine's own.
    fn socket(&self, name: &str) -> PathBuf {
        self.engine().folder().join(name)
    }

    /// Starts a proxy in front of the engine.
    fn proxy(&self) -> Result<Proxy> {
        Ok(Proxy::builder().upstream(self.endpoint()).start()?)
    }

    /// Returns the PID of a container's initial process.
    async fn pid(&self, id: &str) -> Result<u32> {
        let truth = self.truth().await?;
        Ok(truth.alive.get(id).with_context(|| format!("{id} is not alive"))?.pid)
    }

    /// Returns the driver of the engine that runs now.
    async fn driver(&self) -> Result<Self::Driver> {
        if let Some(driver) = &self.shared().lock().driver {
            return Ok(driver.clone());
        }
        let driver = self.connect().await?;
        self.shared().lock().driver = Some(driver.clone());
        Ok(driver)
    }

    /// Closes the driver's connections.
    fn release_driver(&self) {
        self.shared().lock().driver = None;
    }

    /// Adds a line to print with the scenario's outcome.
    fn figure(&self, text: String) {
        self.shared().lock().figures.push(text);
    }

    /// Returns the lines to print with the scenario's outcome.
    fn take_figures(&self) -> Vec<String> {
        std::mem::take(&mut self.shared().lock().figures)
    }

    /// Watches the engine, and returns when the watcher is ready.
    async fn watch(&self) -> Result<Watched<Self::Client>> {
        let watched = self.begin_watch(settings())?;
        watched.ready().await?;
        Ok(watched)
    }

    /// Begins to watch the engine.
    fn begin_watch(&self, settings: Settings) -> Result<Watched<Self::Client>> {
        self.begin_watch_at(&self.endpoint(), settings)
    }

    /// Begins to watch what is at this endpoint.
    fn begin_watch_at(&self, endpoint: &str, settings: Settings) -> Result<Watched<Self::Client>> {
        Ok(Watched::new(watch_with(Self::client(endpoint)?, settings)))
    }

    /// Kills the daemon. The containers stay.
    fn kill_engine(&self) -> Result<()> {
        self.release_driver();
        block_in_place(|| self.engine().kill())
    }

    /// Starts the daemon again.
    fn start_engine(&self) -> Result<()> {
        self.start_engine_with(false)
    }

    /// Starts the daemon again; dockerd then leaves its containers alive when it ends, or does not.
    fn start_engine_with(&self, live_restore: bool) -> Result<()> {
        block_in_place(|| self.engine().start_again(live_restore))
            .context(EngineFailure("it does not start again".to_owned()))
    }

    /// Shows that the engine's events arrive at this watcher, by a container of our own.
    async fn fence(&self, watched: &Watched<Self::Client>) -> Result<()> {
        self.shared().lock().fences += 1;
        let name = self.fence_name();
        let id = self.show_fence(&name).await?;
        let is_shown = |fold: &Portfolio| match &id {
            Some(id) => fold.by_id(id).is_some(),
            None => fold.by_name(&name).is_some(),
        };
        watched.recorder().until("the fence is reported", |record| is_shown(&record.fold)).await
    }

    /// Returns the last name of the fence.
    fn fence_name(&self) -> String {
        format!("{FENCE}{}", self.shared().lock().fences)
    }

    /// Removes whatever scenarios left; starts the daemon if it does not run.
    async fn clear(&self) -> Result<()> {
        if self.engine().pid().is_none() {
            self.start_engine()?;
        }
        self.remove_all().await
    }

    /// Describes the engine and its version.
    fn describe(&self) -> String {
        let of_pods = if self.engine().engine().kind == EngineKind::Cri { " with CRI" } else { "" };
        format!("{} {}{of_pods}", self.engine().engine().kind.daemon(), self.engine().version())
    }
}

/// What drivers of every engine can do to a container.
pub(crate) trait Hands: Clone {
    /// Runs a container of this name, with this script or until it is stopped, and returns its ID.
    async fn run(&self, name: &str, script: Option<&str>) -> Result<String>;

    /// Runs a script in a container to its end, and checks its exit code where the driver returns one.
    async fn exec(&self, id: &str, script: &str, code: i64) -> Result<()>;

    /// Sends SIGTERM to a container's initial process.
    async fn terminate(&self, id: &str) -> Result<()>;

    /// Sends SIGKILL to a container's initial process.
    async fn kill(&self, id: &str) -> Result<()>;

    /// Freezes a container, if the engine can.
    async fn pause(&self, _id: &str) -> Result<()> {
        Ok(())
    }

    /// Lets a container run on, if the engine can.
    async fn unpause(&self, _id: &str) -> Result<()> {
        Ok(())
    }

    /// Removes a container, whatever state it is in.
    async fn remove(&self, id: &str) -> Result<()>;
}

/// An engine, and what the scenarios on it share.
pub(crate) struct Shared<D> {
    pub(crate) engine: PrivateEngine,
    /// When the engine was started.
    pub(crate) began: SystemTime,
    state: Mutex<State<D>>,
}

pub(crate) struct State<D> {
    driver: Option<D>,
    /// How many fences were shown.
    fences: usize,
    figures: Vec<String>,
}

impl<D> Shared<D> {
    pub(crate) fn new(engine: PrivateEngine) -> Shared<D> {
        let state = Mutex::new(State { driver: None, fences: 0, figures: Vec::new() });
        Shared { engine, began: SystemTime::now(), state }
    }

    fn lock(&self) -> MutexGuard<'_, State<D>> {
        locked(&self.state)
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the settings of the scenarios' watchers: without audits, which would repair what events got wrong.
pub(crate) fn settings() -> Settings {
    Settings::default().with_audits(None)
}
