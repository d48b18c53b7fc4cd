//! The scenarios that run against real engines: `whalewatcher-integration --engine docker@sid [FILTER…]`.
//!
//! Each scenario is a sentence about what a watcher of the engine does. They run on one private engine, one after the
//! other; what has to hold after every one of them is in `check`. Those of containerd and of CRI are in rooms of
//! their own.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod comparison;
mod containerd;
mod cri;
mod docker;
mod fault_injector;
mod faulty;
mod fixture;
mod leaks;
mod lives;
mod podman;
mod random_steps;
mod recorder;
mod scenario;
mod sequence;
mod watched;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use tracing_subscriber::EnvFilter;
use xtask::EXIT_ENGINE_CANNOT_RUN;
use xtask::cache::Cache;
use xtask::engines::{Engine, EngineKind, GivenPrograms, Installation};

use containerd::ContainerdFixture;
use cri::CriFixture;
use docker::DockerFixture;
use podman::PodmanFixture;
use scenario::{run_all, run_on};

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
    let built = match build(&arguments) {
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
    Docker(Box<DockerFixture>),
    Containerd(Box<ContainerdFixture>),
    Cri(Box<CriFixture>),
    Podman(Box<PodmanFixture>),
}

fn build(arguments: &Arguments) -> Result<Built> {
    xtask::interrupt::clean_up_on_signals()?;
    let installation = Installation::find(&Cache::open()?, arguments.engine, &arguments.given)?;
    Ok(match arguments.engine.kind {
        EngineKind::Docker => Built::Docker(Box::new(DockerFixture::build(&installation)?)),
        EngineKind::Containerd => Built::Containerd(Box::new(ContainerdFixture::build(&installation)?)),
        EngineKind::Cri => Built::Cri(Box::new(CriFixture::build(&installation)?)),
        EngineKind::Podman => Built::Podman(Box::new(PodmanFixture::build(&installation)?)),
        _ => bail!("there are no scenarios for {}", arguments.engine),
    })
}

/// Runs what the arguments name, and returns how many scenarios failed.
fn run(arguments: &Arguments, built: Built) -> Result<usize> {
    let Arguments { engine, soak, filters, .. } = arguments;
    let engine = engine.to_string();
    match (built, soak) {
        (Built::Docker(fixture), None) => {
            run_on(*fixture, async |fixture| run_all(&engine, fixture, docker::SCENARIOS, filters).await)
        }
        (Built::Docker(fixture), Some(minutes)) => {
            run_on(*fixture, async |fixture| docker::soak::run(fixture, *minutes).await.map(|()| 0))
        }
        (Built::Containerd(fixture), None) => {
            run_on(*fixture, async |fixture| run_all(&engine, fixture, containerd::SCENARIOS, filters).await)
        }
        (Built::Cri(fixture), None) => {
            run_on(*fixture, async |fixture| run_all(&engine, fixture, cri::SCENARIOS, filters).await)
        }
        (Built::Podman(fixture), None) => {
            run_on(*fixture, async |fixture| run_all(&engine, fixture, podman::SCENARIOS, filters).await)
        }
        (Built::Containerd(_) | Built::Cri(_) | Built::Podman(_), Some(_)) => {
            bail!("the endurance run is for Docker only")
        }
    }
}
