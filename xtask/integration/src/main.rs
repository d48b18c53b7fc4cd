//! The scenarios that run against real engines: `whalewatcher-integration --engine docker@sid [FILTER…]`.
//!
//! Each scenario is a sentence about what a watcher of the engine does. They run on one private engine, one
//! after the other; what has to hold after every one of them is in `comparison` and in the `check` of an
//! engine. Those that ask the same on several engines are in `scenarios`, the others in the folder of their
//! engine.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod announced;
mod company;
mod comparison;
mod containerd;
mod cri;
mod docker;
mod etcd;
mod fault_injector;
mod faulty;
mod fixture;
mod growing;
mod leaks;
mod lives;
mod made_up_host;
mod podman;
mod random_steps;
mod recorder;
mod scenario;
mod scenarios;
mod sequence;
mod truth;
mod watched;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Parser;
use tokio::runtime::Runtime;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use xtask::EXIT_ENGINE_CANNOT_RUN;
use xtask::cache::Cache;
use xtask::engines::{Engine, EngineKind, GivenPrograms, Installation, Options, PrivateEngine};

use containerd::ContainerdFixture;
use cri::CriFixture;
use docker::DockerFixture;
use etcd::EtcdGround;
use fixture::{Fixture, Shared};
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
    let levels: Option<Targets> = env::var("RUST_LOG").ok().and_then(|levels| levels.parse().ok());
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(log).with(levels.unwrap_or_default()).init();
    let name = arguments.engine.to_string();
    let outcome = match (arguments.engine.kind, arguments.soak) {
        (EngineKind::Docker, Some(minutes)) => play(&arguments, async |fixture: &DockerFixture| {
            docker::soak::run(fixture, minutes).await.map(|()| 0)
        }),
        (EngineKind::Containerd, Some(minutes)) => play(&arguments, async |fixture: &ContainerdFixture| {
            company::soak(fixture, minutes).await.map(|()| 0)
        }),
        (_, Some(_)) => Err(anyhow!("there is no endurance run for this engine")),
        (EngineKind::Docker, None) => play(&arguments, all::<DockerFixture>(&name, &arguments.filters)),
        (EngineKind::Containerd, None) => {
            play(&arguments, all::<ContainerdFixture>(&name, &arguments.filters))
        }
        (EngineKind::Cri, None) => play(&arguments, all::<CriFixture>(&name, &arguments.filters)),
        (EngineKind::Podman, None) => play(&arguments, all::<PodmanFixture>(&name, &arguments.filters)),
        (EngineKind::Etcd, None) => play_on_etcd(&arguments, &name),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn all<F: Fixture>(engine: &str, filters: &[String]) -> impl AsyncFnOnce(&F) -> Result<usize> {
    async move |fixture: &F| run_all(engine, fixture, filters).await
}

/// Plays the scenarios on etcd, each of which starts one of its own.
fn play_on_etcd(arguments: &Arguments, name: &str) -> Result<ExitCode> {
    xtask::interrupt::clean_up_on_signals()?;
    let found = Installation::find(&Cache::open()?, arguments.engine, &arguments.given);
    match found.and_then(|installation| EtcdGround::new(&installation)) {
        Ok(ground) => {
            let runtime = Runtime::new().context("cannot start a runtime")?;
            let failed = runtime.block_on(run_all(name, &ground, &arguments.filters))?;
            runtime.shutdown_timeout(Duration::from_secs(5));
            Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(ExitCode::from(EXIT_ENGINE_CANNOT_RUN))
        }
    }
}

/// Starts the engine, has something happen on it, and ends it. What happens returns how many scenarios failed.
fn play<F: Fixture>(
    arguments: &Arguments,
    performance: impl AsyncFnOnce(&F) -> Result<usize>,
) -> Result<ExitCode> {
    xtask::interrupt::clean_up_on_signals()?;
    let started = Installation::find(&Cache::open()?, arguments.engine, &arguments.given)
        .and_then(|installation| PrivateEngine::start(&installation, &Options::default()));
    let fixture = match started {
        Ok(engine) => F::new(Shared::new(engine)),
        Err(error) => {
            eprintln!("error: {error:#}");
            return Ok(ExitCode::from(EXIT_ENGINE_CANNOT_RUN));
        }
    };
    let failed = run_on(&fixture, performance)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
