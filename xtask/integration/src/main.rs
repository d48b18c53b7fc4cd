//! The scenarios that run against real engines: `whalewatcher-integration --engine docker@sid [FILTER…]`.
//!
//! Each scenario is a sentence about what a watcher of the engine does. Most run on one private engine, one after the
//! other; what has to hold after every one of them is in `check`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod check;
mod chronicle;
mod churn;
mod counting_proxy;
mod docker;
mod leaks;
mod recorder;
mod scenarios;
mod soak;
mod stage;
mod storm;
mod trial;
mod truth;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Parser;
use futures_util::FutureExt as _;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};
use tracing_subscriber::EnvFilter;
use xtask::EXIT_ENGINE_CANNOT_RUN;
use xtask::cache::Cache;
use xtask::engines::{Engine, GivenPrograms, Installation};

use scenarios::{SCENARIOS, Scenario};
use stage::Stage;

/// The beginning of the name of the container that shows when an engine's events have arrived.
pub(crate) const FENCE: &str = "fence-";

/// No scenario takes longer unless something hangs.
const SCENARIO_LIMIT: Duration = Duration::from_secs(300);

/// The scenarios against one real engine
#[derive(Debug, Parser)]
struct Arguments {
    /// Run against this engine
    #[arg(long, value_name = "NAME")]
    engine: Engine,
    #[command(flatten)]
    given: GivenPrograms,
    /// Run no scenario, but the endurance run for so many minutes
    #[arg(long, value_name = "MINUTES", conflicts_with = "filters")]
    soak: Option<u64>,
    /// Run only scenarios whose name contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off")))
        .with_writer(std::io::stderr)
        .init();
    let stage = xtask::interrupt::clean_up_on_signals().and_then(|()| build_stage(&arguments));
    let stage = match stage {
        Ok(stage) => stage,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(EXIT_ENGINE_CANNOT_RUN);
        }
    };
    let done = match arguments.soak {
        Some(minutes) => soak(minutes, stage),
        None => run(&arguments, stage),
    };
    match done {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build_stage(arguments: &Arguments) -> Result<Stage> {
    let installation = Installation::find(&Cache::open()?, arguments.engine, &arguments.given)?;
    let stage = Stage::build(&installation)?;
    let version = stage.engine().version();
    println!("{}: dockerd {}, API {}", arguments.engine, version.engine, version.api);
    Ok(stage)
}

/// Runs the endurance run; 0 if it did not fail.
fn soak(minutes: u64, stage: Stage) -> Result<usize> {
    let runtime = Runtime::new().context("cannot start a runtime")?;
    let outcome = runtime.block_on(soak::run(&stage, minutes));
    stage.release_driver();
    runtime.shutdown_timeout(Duration::from_secs(5));
    let struck = stage.strike();
    outcome.and(struck).map(|()| 0)
}

/// Runs what is asked for and tells how many failed.
fn run(arguments: &Arguments, stage: Stage) -> Result<usize> {
    let chosen = |scenario: &&Scenario| {
        let filters = &arguments.filters;
        filters.is_empty() || filters.iter().any(|filter| scenario.matches(filter))
    };
    let runtime = Runtime::new().context("cannot start a runtime")?;
    let began = Instant::now();
    let (mut passed, mut failed) = (0, 0);
    for scenario in SCENARIOS.iter().filter(chosen) {
        let began = Instant::now();
        let outcome = runtime.block_on(play(scenario, &stage));
        let seconds = began.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => {
                println!("ok     {seconds:5.1} s  {}", scenario.sentence());
                passed += 1;
            }
            Err(error) => {
                println!("FAILED {seconds:5.1} s  {}", scenario.sentence());
                println!("  {error:#}");
                failed += 1;
            }
        }
        for figure in stage.take_figures() {
            println!("                {figure}");
        }
    }
    println!(
        "{}: {passed} passed, {failed} failed in {:.0} s",
        arguments.engine,
        began.elapsed().as_secs_f32()
    );
    stage.release_driver();
    // What still runs in it may not outlive the engine that it asks.
    runtime.shutdown_timeout(Duration::from_secs(5));
    stage.strike()?;
    Ok(failed)
}

/// Plays a scenario and clears the stage after it, however it went.
async fn play(scenario: &Scenario, stage: &Stage) -> Result<()> {
    let playing = AssertUnwindSafe(timeout(SCENARIO_LIMIT, scenario.play(stage))).catch_unwind();
    let outcome = match playing.await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(anyhow!("it did not end within {} s", SCENARIO_LIMIT.as_secs())),
        Err(_) => Err(anyhow!("it panicked")),
    };
    let cleared = timeout(SCENARIO_LIMIT, stage.clear()).await.unwrap_or_else(|error| Err(error.into()));
    outcome.and(cleared.context("cannot clear the stage"))
}
