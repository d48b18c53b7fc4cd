//! A private engine for scenarios, and watchers of it: one trait, implemented for each kind of engine.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use tokio::task::block_in_place;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{Portfolio, Settings, watch_with};
use whalewatcher_drivers::EngineFailure;

use crate::watched::Watched;

/// The beginning of the names of containers that show that an engine's events have arrived.
pub(crate) const FENCE: &str = "fence-";

/// A private engine, on which scenarios run one after the other.
pub(crate) trait Fixture: Sized {
    /// Whether the engine may fail to answer an inspection that is then repeated.
    const FAILS_INSPECTIONS: bool = false;

    /// The client under test.
    type Client: EngineClient;

    /// What changes containers, and shares no code with the client.
    type Driver: Clone;

    /// What is alive according to the engine, as others decode it.
    type Truth;

    /// Describes the engine and its version.
    fn describe(&self) -> String;

    /// Returns the endpoint that clients connect to.
    fn endpoint(&self) -> String;

    /// Creates a client of what is at this endpoint.
    fn client(endpoint: &str) -> Result<Self::Client>;

    /// Connects a driver with the engine that runs now.
    async fn connect(&self) -> Result<Self::Driver>;

    /// Returns what scenarios share.
    fn shared(&self) -> &Shared<Self::Driver>;

    /// Whether the daemon runs.
    fn is_running(&self) -> bool;

    /// Kills the daemon.
    fn kill(&self) -> Result<()>;

    /// Starts the daemon again.
    fn start_again(&self) -> Result<()>;

    /// Removes whatever scenarios left, and returns when it is gone.
    async fn remove_all(&self) -> Result<()>;

    /// Asks the engine what is alive. It is the truth if the engine is quiet.
    async fn truth(&self) -> Result<Self::Truth>;

    /// Lists how a portfolio differs from the truth, a line each.
    fn differences(truth: &Self::Truth, portfolio: &Portfolio) -> Vec<String>;

    /// Makes the engine show a container of this name to watchers, and returns the container's ID if the name alone does
    /// not find it.
    async fn show_fence(&self, name: &str) -> Result<Option<String>>;

    /// Ends the engine and removes everything.
    fn stop(self) -> Result<()>;

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

    /// Kills the daemon.
    fn kill_engine(&self) -> Result<()> {
        self.release_driver();
        block_in_place(|| self.kill())
    }

    /// Starts the daemon again.
    fn start_engine(&self) -> Result<()> {
        block_in_place(|| self.start_again()).context(EngineFailure("it does not start again".to_owned()))
    }

    /// Shows that the engine's events arrive at this watcher, by a container of our own.
    async fn fence(&self, watched: &Watched<Self::Client>) -> Result<()> {
        let name = {
            let mut shared = self.shared().lock();
            shared.fences += 1;
            format!("{FENCE}{}", shared.fences)
        };
        let id = self.show_fence(&name).await?;
        let is_shown = |fold: &Portfolio| match &id {
            Some(id) => fold.by_id(id).is_some(),
            None => fold.by_name(&name).is_some(),
        };
        watched.recorder().until("the fence is reported", |record| is_shown(&record.fold)).await
    }

    /// Removes whatever scenarios left; starts the daemon if it does not run.
    async fn clear(&self) -> Result<()> {
        if !self.is_running() {
            self.start_engine()?;
        }
        self.remove_all().await
    }
}

/// What the scenarios on an engine share.
pub(crate) struct Shared<D>(Mutex<State<D>>);

pub(crate) struct State<D> {
    driver: Option<D>,
    /// How many fences were shown.
    pub(crate) fences: usize,
    figures: Vec<String>,
}

impl<D> Default for Shared<D> {
    fn default() -> Shared<D> {
        Shared(Mutex::new(State { driver: None, fences: 0, figures: Vec::new() }))
    }
}

impl<D> Shared<D> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State<D>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the settings of the scenarios' watchers: without audits, which would repair what events got wrong.
pub(crate) fn settings() -> Settings {
    Settings::default().with_audits(None)
}
