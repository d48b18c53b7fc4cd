//! What scenarios are, and what the stages of all engines have in common.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};
use whalewatcher_drivers::is_engines_own;

/// No scenario takes longer unless something hangs.
const SCENARIO_LIMIT: Duration = Duration::from_secs(900);

/// How many times something is tried at which the engine itself fails. What a watcher does is tried once.
const TRIES: usize = 3;

/// A private engine, on which scenarios are played one after the other.
pub(crate) trait Theatre: Sized {
    /// Which engine it is, as it says itself.
    fn describe(&self) -> String;

    /// Removes whatever scenarios left, and sees to it that it is gone; starts the engine if it is away.
    async fn clear(&self) -> Result<()>;

    /// What is to be printed with the scenario's outcome.
    fn take_figures(&self) -> Vec<String>;

    /// Closes the connections of whatever drives the engine.
    fn release_driver(&self);

    /// Ends the engine and removes everything.
    fn strike(self) -> Result<()>;
}

/// A sentence about what a watcher does, and how to see whether it is true.
pub(crate) struct Scenario<S> {
    pub(crate) name: &'static str,
    pub(crate) play: for<'a> fn(&'a S) -> LocalBoxFuture<'a, Result<()>>,
}

macro_rules! scenarios {
    ($($module:ident::$name:ident,)*) => {
        &[$(Scenario { name: stringify!($name), play: |stage| Box::pin($module::$name(stage)) },)*]
    };
}
pub(crate) use scenarios;

impl<S: Theatre> Scenario<S> {
    fn sentence(&self) -> String {
        self.name.replace('_', " ")
    }

    fn matches(&self, filter: &str) -> bool {
        self.name.contains(filter) || self.sentence().contains(filter)
    }

    /// Plays it, and plays it again if the engine itself failed at what the scenario asked of it.
    async fn play(&self, stage: &S) -> Result<()> {
        let mut tries = 1;
        loop {
            match self.play_once(stage).await {
                Err(error) if tries < TRIES && is_engines_own(&error) => {
                    println!("again           {}\n  the engine failed: {error:#}", self.sentence());
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Plays it and clears the stage after it, however it went.
    async fn play_once(&self, stage: &S) -> Result<()> {
        let playing = AssertUnwindSafe(timeout(SCENARIO_LIMIT, (self.play)(stage))).catch_unwind();
        let outcome = match playing.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(anyhow!("it did not end within {} s", SCENARIO_LIMIT.as_secs())),
            Err(_) => Err(anyhow!("it panicked")),
        };
        outcome.and(clear(stage).await.context("cannot clear the stage"))
    }
}

/// Clears the stage, and again if the engine fails at that.
async fn clear<S: Theatre>(stage: &S) -> Result<()> {
    let mut tries = 1;
    loop {
        match timeout(SCENARIO_LIMIT, stage.clear()).await.unwrap_or_else(|error| Err(error.into())) {
            Err(error) if tries < TRIES => {
                println!("again           clearing up\n  the engine failed: {error:#}");
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

/// Has something happen on a stage, and ends the engine however that went.
pub(crate) fn perform<S: Theatre>(
    stage: S,
    performance: impl AsyncFnOnce(&S) -> Result<usize>,
) -> Result<usize> {
    let runtime = Runtime::new().context("cannot start a runtime")?;
    let outcome = runtime.block_on(performance(&stage));
    stage.release_driver();
    // What still runs in it may not outlive the engine that it asks.
    runtime.shutdown_timeout(Duration::from_secs(5));
    let struck = stage.strike();
    outcome.and_then(|failed| struck.map(|()| failed))
}

/// Plays those scenarios that are asked for, and tells how many failed.
pub(crate) async fn play<S: Theatre>(
    engine: &str,
    stage: &S,
    scenarios: &[Scenario<S>],
    filters: &[String],
) -> Result<usize> {
    println!("{engine}: {}", stage.describe());
    let chosen =
        |scenario: &&Scenario<S>| filters.is_empty() || filters.iter().any(|filter| scenario.matches(filter));
    let began = Instant::now();
    let (mut passed, mut failed) = (0, 0);
    for scenario in scenarios.iter().filter(chosen) {
        let began = Instant::now();
        let outcome = scenario.play(stage).await;
        let seconds = began.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => {
                println!("ok     {seconds:5.1} s  {}", scenario.sentence());
                passed += 1;
            }
            Err(error) => {
                println!("FAILED {seconds:5.1} s  {}", scenario.sentence());
                println!("  {error:#}");
                println!(
                    "  to repeat it: cargo xtask integration --engine {engine} '{}'",
                    scenario.sentence()
                );
                failed += 1;
            }
        }
        for figure in stage.take_figures() {
            println!("                {figure}");
        }
    }
    println!("{engine}: {passed} passed, {failed} failed in {:.0} s", began.elapsed().as_secs_f32());
    Ok(failed)
}
