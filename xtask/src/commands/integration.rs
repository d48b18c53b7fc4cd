//! `cargo xtask integration`: the scenarios of the package `whalewatcher-integration` against each real engine.
//!
//! Engines run side by side. What an engine's run prints goes to a file of its own, and to the terminal in one piece
//! once it is done.

use std::collections::VecDeque;
use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;
use xtask::EXIT_ENGINE_CANNOT_RUN;
use xtask::cache::Cache;
use xtask::engines::{Engine, GivenPrograms, Packages};
use xtask::interrupt;

use super::cargo::{cargo, cpus, succeed, target_folder};
use super::features::Everything;

const PACKAGE: &str = "whalewatcher-integration";

/// The package of the program that scenarios run.
const PROGRAM: &str = "whalewatcher-cli";

#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Run against these engines [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    engine: Vec<Engine>,
    /// Run so many engines side by side [default: one more than there are CPUs]
    #[arg(long, value_name = "NUMBER")]
    at_once: Option<NonZeroUsize>,
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
    build()?;
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
pub(crate) fn run_all(everything: &Everything) -> Result<Tally> {
    // With the tests, for cargo then builds nothing again with other features.
    succeed(everything.of(cargo().args(["build", "--quiet", "--tests", "--bin", PACKAGE])))?;
    run_chosen(&Options::default())
}

fn run_chosen(options: &Options) -> Result<Tally> {
    let at_once = options.at_once.map_or_else(default_at_once, NonZeroUsize::get);
    let all = options.filters.is_empty();
    run_program(
        &options.engine,
        at_once,
        &Run { given: &options.given, all, arguments: &options.filters, environment: &[] },
    )
}

/// An engine's run waits for timers and processes about as long as it computes.
fn default_at_once() -> usize {
    cpus() + 1
}

/// How the program of the scenarios is run on each engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) given: &'a GivenPrograms,
    /// Whether all that is known of an engine is checked, and so also that an instance of it leaves nothing behind.
    pub(crate) all: bool,
    pub(crate) arguments: &'a [String],
    pub(crate) environment: &'a [(&'a str, &'a str)],
}

/// Builds the program of the scenarios. By itself, so that a failed build is not taken for a failed scenario.
pub(crate) fn build() -> Result<()> {
    succeed(cargo().args(["build", "--quiet", "--package", PACKAGE, "--package", PROGRAM]))
}

/// Runs the program of the scenarios, once it is built, on each of these engines, all if none is named, so many of them
/// side by side.
pub(crate) fn run_program(chosen: &[Engine], at_once: usize, run: &Run<'_>) -> Result<Tally> {
    let target = target_folder()?;
    let program = target.join("debug").join(PACKAGE);
    let logs = target.join("scenarios");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;

    let engines = if chosen.is_empty() { &Engine::ALL[..] } else { chosen };
    if engines.len() > 1 {
        println!("{} engines, {at_once} at once; they print to {}", engines.len(), logs.display());
    }
    let cache = Cache::open()?;
    let fetched = engines.iter().map(|engine| (*engine, Packages::of(&cache).fetch(&[*engine], false)));
    let queue = Mutex::new(fetched.collect::<VecDeque<_>>());
    let tally = Mutex::new(Tally::default());
    let work = || -> Result<()> {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((engine, fetched)) = next else { return Ok(()) };
            let begin = Instant::now();
            let log = (engines.len() > 1).then(|| logs.join(format!("{engine}.log")));
            let outcome = match fetched {
                Ok(_) => run.on(engine, &program, log.as_deref())?,
                Err(error) => Outcome::CannotRun(format!("{error:#}")),
            };
            let outcome = judged(outcome, engine, in_ci());
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.count(&outcome);
            print_block(engine, &outcome, begin.elapsed().as_secs_f32(), log.as_deref())?;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.min(engines.len())).map(|_| scope.spawn(work)).collect();
        let ended =
            workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a thread panicked"))?);
        ended.collect::<Result<()>>()
    })?;
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("engines: {} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    Ok(tally)
}

impl Run<'_> {
    fn on(&self, engine: Engine, program: &Path, log: Option<&Path>) -> Result<Outcome> {
        if let Some(log) = log {
            File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        }
        let name = engine.to_string();
        if self.all {
            // Not by its path: cargo may have built it again since it was started.
            let mut check = Command::new("/proc/self/exe");
            check.args(["engines", "check", "--engine", &name]).args(self.given.to_flags());
            match outcome(printing_to(&mut check, log)?) {
                Outcome::Passed => {}
                other => return Ok(other),
            }
        }
        let mut scenarios = Command::new(program);
        scenarios.args(["--engine", &name]).args(self.given.to_flags()).args(self.arguments);
        scenarios.envs(self.environment.iter().copied());
        Ok(outcome(printing_to(&mut scenarios, log)?))
    }
}

/// Runs a program that prints to the end of a file, or to the terminal.
fn printing_to(command: &mut Command, log: Option<&Path>) -> Result<ExitStatus> {
    if let Some(log) = log {
        let file = File::options().append(true).open(log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        command.stderr(file.try_clone().context("cannot share a file")?).stdout(file);
    }
    interrupt::run(command)
}

fn outcome(status: ExitStatus) -> Outcome {
    match status.code() {
        Some(0) => Outcome::Passed,
        Some(code) if code == i32::from(EXIT_ENGINE_CANNOT_RUN) => {
            Outcome::CannotRun("it cannot be started here".to_owned())
        }
        _ => Outcome::Failed(format!("the program ended with {status}")),
    }
}

/// Prints all that is known of an engine's run in one piece.
fn print_block(engine: Engine, outcome: &Outcome, seconds: f32, log: Option<&Path>) -> Result<()> {
    let mut block = match log {
        Some(log) => fs::read(log).unwrap_or_default(),
        None => Vec::new(),
    };
    let line = match outcome {
        Outcome::Passed => format!("--- {engine} passed in {seconds:.1} s\n"),
        Outcome::Failed(reason) => format!(
            "--- {engine} FAILED in {seconds:.1} s: {reason}\n    to repeat it: cargo xtask integration --engine {engine}\n"
        ),
        Outcome::CannotRun(reason) => format!("--- {engine} SKIPPED, nothing was tested on it: {reason}\n"),
    };
    block.extend_from_slice(line.as_bytes());
    std::io::stdout().lock().write_all(&block).context("cannot print")
}

impl Tally {
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::CannotRun(_) => self.skipped += 1,
        }
    }
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

    #[test]
    fn in_ci_only_sid_may_be_missing_and_a_failure_is_one_everywhere() {
        let missing = |engine: &str, in_ci| {
            judged(Outcome::CannotRun("why".to_owned()), engine.parse().unwrap(), in_ci)
        };
        for engine in ["docker@bookworm", "docker@trixie", "cri@trixie"] {
            assert!(matches!(missing(engine, true), Outcome::Failed(_)));
            assert!(matches!(missing(engine, false), Outcome::CannotRun(_)));
        }
        for engine in ["docker@sid", "cri@sid"] {
            assert!(matches!(missing(engine, true), Outcome::CannotRun(_)));
        }
        let failed = judged(Outcome::Failed("why".to_owned()), "docker@sid".parse().unwrap(), false);
        assert!(matches!(failed, Outcome::Failed(_)));
    }
}
