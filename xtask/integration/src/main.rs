//! The scenarios that run against real engines: `whalewatcher-integration --engine docker@sid [FILTER…]`.
//!
//! Each scenario is a sentence about what a watcher of the engine does. They run on one private engine, one after the
//! other; what has to hold after every one of them is in `check`. Those of containerd and of CRI are in rooms of
//! their own.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod check;
mod chronicle;
mod churn;
mod containerd;
mod counting_proxy;
mod cri;
mod hindered;
mod leaks;
mod lives;
mod picture;
mod podman;
mod random_steps;
mod recorder;
mod scenarios;
mod soak;
mod stage;
mod storm;
mod theatre;
mod trial;
mod truth;
mod watched;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use tracing_subscriber::EnvFilter;
use xtask::EXIT_ENGINE_CANNOT_RUN;
use xtask::cache::Cache;
use xtask::engines::{Engine, EngineKind, GivenPrograms, Installation};

use stage::Stage;
use theatre::{perform, play};

/// The beginning of the name of the container that shows when an engine's events have arrived.
pub(crate) const FENCE: &str = "fence-";

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
    let built = match build_stage(&arguments) {
        Ok(built) => built,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(EXIT_ENGINE_CANNOT_RUN);
        }
    };
    match run(&arguments, built) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// An engine that has been started.
enum Built {
    Docker(Stage),
    Containerd(containerd::Stage),
    Cri(Box<cri::Stage>),
    Podman(Box<podman::Stage>),
}

fn build_stage(arguments: &Arguments) -> Result<Built> {
    xtask::interrupt::clean_up_on_signals()?;
    let installation = Installation::find(&Cache::open()?, arguments.engine, &arguments.given)?;
    Ok(match arguments.engine.kind {
        EngineKind::Docker => Built::Docker(Stage::build(&installation)?),
        EngineKind::Containerd => Built::Containerd(containerd::Stage::build(&installation)?),
        EngineKind::Cri => Built::Cri(Box::new(cri::Stage::build(&installation)?)),
        EngineKind::Podman => Built::Podman(Box::new(podman::Stage::build(&installation)?)),
        _ => bail!("there are no scenarios for {}", arguments.engine),
    })
}

/// Does what is asked for and tells how many scenarios failed.
fn run(arguments: &Arguments, built: Built) -> Result<usize> {
    let Arguments { engine, soak, filters, .. } = arguments;
    let engine = engine.to_string();
    match (built, soak) {
        (Built::Docker(stage), None) => {
            perform(stage, async |stage| play(&engine, stage, scenarios::SCENARIOS, filters).await)
        }
        (Built::Docker(stage), Some(minutes)) => {
            perform(stage, async |stage| soak::run(stage, *minutes).await.map(|()| 0))
        }
        (Built::Containerd(stage), None) => {
            perform(stage, async |stage| play(&engine, stage, containerd::SCENARIOS, filters).await)
        }
        (Built::Cri(stage), None) => {
            perform(*stage, async |stage| play(&engine, stage, cri::SCENARIOS, filters).await)
        }
        (Built::Podman(stage), None) => {
            perform(*stage, async |stage| play(&engine, stage, podman::SCENARIOS, filters).await)
        }
        (Built::Containerd(_) | Built::Cri(_) | Built::Podman(_), Some(_)) => {
            bail!("the endurance run is for Docker only")
        }
    }
}
