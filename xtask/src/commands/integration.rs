//! `cargo xtask integration`: the scenarios of the package `whalewatcher-integration` against each real engine.

use std::env;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use xtask::EXIT_ENGINE_CANNOT_RUN;
use xtask::cache::Cache;
use xtask::engines::{Engine, GivenPrograms, Installation, Packages, check};
use xtask::interrupt;

use super::cargo::{cargo, succeed};

const PACKAGE: &str = "whalewatcher-integration";

#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Run against these engines [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    engine: Vec<Engine>,
    #[command(flatten)]
    given: GivenPrograms,
    /// Run only scenarios whose name contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

/// What became of one engine.
#[derive(Debug)]
enum Outcome {
    Passed,
    Failed(String),
    CannotRun(String),
}

/// How many engines did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) skipped: usize,
    pub(crate) failed: usize,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let tally = run_chosen(options)?;
    ensure!(
        tally.failed == 0,
        "the scenarios failed on {} of {} engines",
        tally.failed,
        tally.failed + tally.passed
    );
    Ok(())
}

/// Every scenario on every engine.
pub(crate) fn run_all() -> Result<Tally> {
    run_chosen(&Options::default())
}

fn run_chosen(options: &Options) -> Result<Tally> {
    run_program(&options.engine, &options.given, &options.filters, &[])
}

/// Runs the program of the scenarios with these arguments and this environment on each of these engines, all if none
/// is named.
pub(crate) fn run_program(
    chosen: &[Engine],
    given: &GivenPrograms,
    arguments: &[String],
    environment: &[(&str, &str)],
) -> Result<Tally> {
    // First by itself, so that a failed build is not taken for a failed scenario.
    succeed(cargo().args(["build", "--quiet", "--package", PACKAGE]))?;
    on_each(chosen, |engine| {
        let mut command = cargo();
        command.args(["run", "--quiet", "--package", PACKAGE, "--", "--engine", &engine.to_string()]);
        command.args(given.to_flags()).args(arguments).envs(environment.iter().copied());
        program(&mut command)
    })
}

/// Checks what the scenarios build on.
pub(crate) fn check_engines() -> Result<Tally> {
    on_each(&[], |engine| {
        let installation = Installation::find(&Cache::open()?, engine, &GivenPrograms::default())?;
        Ok(match check::whole_life(&installation) {
            Ok(check::Outcome::Passed) => Outcome::Passed,
            Ok(check::Outcome::CannotStart(error)) => Outcome::CannotRun(format!("{error:#}")),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        })
    })
}

/// Fetches each engine if it is not there, runs it, and tells how it went.
fn on_each(chosen: &[Engine], run: impl Fn(Engine) -> Result<Outcome>) -> Result<Tally> {
    let engines = if chosen.is_empty() { &Engine::ALL[..] } else { chosen };
    let cache = Cache::open()?;
    let mut tally = Tally::default();
    for engine in engines {
        let outcome = match Packages::of(&cache).fetch(&[*engine], false) {
            Ok(_) => run(*engine)?,
            Err(error) => Outcome::CannotRun(format!("{error:#}")),
        };
        match judged(outcome, *engine, in_ci()) {
            Outcome::Passed => tally.passed += 1,
            Outcome::Failed(reason) => {
                eprintln!("FAILED {engine}: {reason}");
                tally.failed += 1;
            }
            Outcome::CannotRun(reason) => {
                eprintln!("SKIPPED {engine}, nothing was tested on it: {reason}");
                tally.skipped += 1;
            }
        }
    }
    println!("engines: {} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    Ok(tally)
}

fn program(command: &mut Command) -> Result<Outcome> {
    let status = interrupt::run(command).context("cannot run the scenarios")?;
    Ok(match status.code() {
        Some(0) => Outcome::Passed,
        Some(code) if code == i32::from(EXIT_ENGINE_CANNOT_RUN) => {
            Outcome::CannotRun("it cannot be started here".to_owned())
        }
        _ => Outcome::Failed(format!("the program ended with {status}")),
    })
}

/// CI runs where every engine can run, but for the release that moves: there a missing engine is a failure.
fn judged(outcome: Outcome, engine: Engine, in_ci: bool) -> Outcome {
    match outcome {
        Outcome::CannotRun(reason) if in_ci && !engine.may_be_missing() => {
            Outcome::Failed(format!("cannot run, and CI must not go without it: {reason}"))
        }
        other => other,
    }
}

fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cannot_run(engine: &str, in_ci: bool) -> Outcome {
        judged(Outcome::CannotRun("why".to_owned()), engine.parse().unwrap(), in_ci)
    }

    #[test]
    fn only_sid_may_be_missing_in_ci() {
        assert!(matches!(cannot_run("docker@bookworm", true), Outcome::Failed(_)));
        assert!(matches!(cannot_run("docker@trixie", true), Outcome::Failed(_)));
        assert!(matches!(cannot_run("cri@trixie", true), Outcome::Failed(_)));
        assert!(matches!(cannot_run("docker@sid", true), Outcome::CannotRun(_)));
        assert!(matches!(cannot_run("cri@sid", true), Outcome::CannotRun(_)));
    }

    #[test]
    fn a_person_may_go_without_any_engine() {
        assert!(matches!(cannot_run("docker@bookworm", false), Outcome::CannotRun(_)));
    }

    #[test]
    fn a_failed_scenario_is_a_failure_everywhere() {
        let failed = || Outcome::Failed("why".to_owned());
        assert!(matches!(judged(failed(), "docker@sid".parse().unwrap(), true), Outcome::Failed(_)));
        assert!(matches!(judged(failed(), "docker@sid".parse().unwrap(), false), Outcome::Failed(_)));
    }
}
