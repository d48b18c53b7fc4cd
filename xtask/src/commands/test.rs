//! `cargo xtask test` and `cargo xtask lint`: all that has to pass, in the order in which it shows soonest
//! what is wrong.

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use rustix::process::geteuid;

use super::cargo::{DENY, HACK, cargo, cpus, succeed, succeed_together};
use super::features::Everything;
use super::{deb, integration, page, words};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run the steps of `cargo xtask lint` first, as CI does
    #[arg(long)]
    lint: bool,
    #[command(flatten)]
    choice: Choice,
}

/// Which of the steps to run.
#[derive(Debug, Default, Args)]
pub(crate) struct Choice {
    /// Leave these steps out
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    skip: Vec<Step>,
    /// Run these steps only
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Phrases that technical English has plainer words for
    Words,
    /// Formatting
    Fmt,
    /// Lints, without a warning
    Clippy,
    /// Documentation, without a warning
    Doc,
    /// Licences, sources and banned crates
    Deny,
    /// Each feature alone
    Hack,
    /// Unit, model, wire and doc tests
    Test,
    /// The page of the server, in Chromium
    Page,
    /// The Debian package, in a root with nothing but what it depends on
    Deb,
    /// The scenarios against real engines
    Integration,
}

/// How many tests run at once.
const TEST_THREADS: &str = "RUST_TEST_THREADS";

const LINT: [Step; 6] = [Step::Words, Step::Fmt, Step::Clippy, Step::Doc, Step::Deny, Step::Hack];
const TEST: [Step; 4] = [Step::Test, Step::Page, Step::Deb, Step::Integration];

const NO_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

/// What became of a step that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// No engine could be tested, or the user is not root.
    Skipped,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let lint = if options.lint { &LINT[..] } else { &[] };
    run_steps(&options.choice.of(&[lint, &TEST].concat())?)
}

pub(crate) fn lint(choice: &Choice) -> Result<ExitCode> {
    run_steps(&choice.of(&LINT)?)
}

/// Runs one after the other until one fails. The last line that is printed counts them.
fn run_steps(steps: &[Step]) -> Result<ExitCode> {
    let start = Instant::now();
    let (mut passed, mut skipped) = (0, 0);
    for (number, step) in steps.iter().enumerate() {
        let name = step.name();
        println!("\n=== {}/{} {name}: {}", number + 1, steps.len(), step.about());
        let begin = Instant::now();
        let outcome = step.run();
        let seconds = begin.elapsed().as_secs_f32();
        match outcome {
            Ok(Outcome::Passed) => {
                println!("=== {name} passed in {seconds:.1} s");
                passed += 1;
            }
            Ok(Outcome::Skipped) => {
                println!("=== {name} SKIPPED, it cannot run here");
                skipped += 1;
            }
            Err(error) => {
                println!("=== {name} FAILED in {seconds:.1} s: {error:#}");
                println!("    to repeat it: cargo xtask {} --only {name}", step.command());
                println!("\n{passed} passed, 1 failed");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    println!("\nall steps took {:.1} s", start.elapsed().as_secs_f32());
    if skipped > 0 {
        println!("{skipped} skipped");
    }
    println!("{passed} passed, 0 failed");
    Ok(ExitCode::SUCCESS)
}

impl Choice {
    fn of(&self, steps: &[Step]) -> Result<Vec<Step>> {
        let includes =
            |step: &Step| (self.only.is_empty() || self.only.contains(step)) && !self.skip.contains(step);
        let chosen: Vec<Step> = steps.iter().copied().filter(includes).collect();
        ensure!(!chosen.is_empty(), "no step is left to run");
        Ok(chosen)
    }
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Its description on the command line.
    fn about(self) -> String {
        let help = self.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default()
    }

    /// The command that has it.
    fn command(self) -> &'static str {
        if LINT.contains(&self) { "lint" } else { "test" }
    }

    fn run(self) -> Result<Outcome> {
        match self {
            Step::Words => words::run(&words::Options::default())?,
            Step::Fmt => succeed(cargo().args(["fmt", "--all", "--check"]))?,
            Step::Clippy => {
                let mut clippy = cargo();
                clippy.args(["clippy", "--all-targets"]);
                succeed(Everything::load()?.of(&mut clippy).args(NO_WARNINGS))?;
            }
            Step::Doc => {
                let mut doc = cargo();
                doc.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--no-deps"]);
                succeed(Everything::load()?.of(&mut doc))?;
            }
            Step::Deny => succeed(DENY.ready()?.args(["check", "bans", "licenses", "sources"]))?,
            // Not with --no-dev-deps, which would edit the manifests of this checkout: the resolver keeps features
            // of dev-dependencies out of a check anyway.
            Step::Hack => {
                // All features of a package at once are checked by clippy.
                let arguments =
                    ["check", "--workspace", "--ignore-private", "--each-feature", "--exclude-all-features"];
                let mut check = HACK.ready()?;
                succeed(Everything::load()?.with_protoc(&mut check).args(arguments))?;
            }
            Step::Test => {
                let all = Everything::load()?;
                succeed(all.of(cargo().args(["test", "--no-run"])))?;
                // Side by side, because most tests wait for timers and sockets.
                let parts: [&[&str]; 3] = [&["--lib", "--bins"], &["--test", "*"], &["--doc"]];
                let tests = parts.map(|part| {
                    let mut test = cargo();
                    all.of(test.arg("test").args(part));
                    if env::var_os(TEST_THREADS).is_none() {
                        test.env(TEST_THREADS, (4 * cpus()).to_string());
                    }
                    test
                });
                succeed_together(tests)?;
            }
            Step::Page if !page::can_run() => return Ok(Outcome::Skipped),
            Step::Page => page::test()?,
            Step::Deb if !geteuid().is_root() => return Ok(Outcome::Skipped),
            Step::Deb => deb::check_in_clean_root()?,
            Step::Integration => return judged(integration::run_all(&Everything::load()?)?),
        }
        Ok(Outcome::Passed)
    }
}

fn judged(tally: integration::Tally) -> Result<Outcome> {
    match tally {
        integration::Tally { failed: 0, passed: 0, .. } => Ok(Outcome::Skipped),
        integration::Tally { failed: 0, .. } => Ok(Outcome::Passed),
        integration::Tally { failed, .. } => Err(anyhow!("it failed on {failed} engines")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_chosen_by_what_is_named() {
        let chosen = |skip: &[Step], only: &[Step]| {
            Choice { skip: skip.to_vec(), only: only.to_vec() }.of(&TEST).unwrap_or_default()
        };
        assert_eq!(chosen(&[], &[]), TEST);
        assert_eq!(chosen(&[Step::Integration], &[]), [Step::Test, Step::Page, Step::Deb]);
        assert_eq!(chosen(&[], &[Step::Integration]), [Step::Integration]);
        assert_eq!(chosen(&[], &[Step::Fmt]), []);
    }

    #[test]
    fn each_step_is_of_one_command() {
        assert_eq!(Step::value_variants(), [&LINT[..], &TEST].concat());
    }

    #[test]
    fn a_step_without_any_engine_has_not_passed() {
        let tally = |passed, skipped, failed| integration::Tally { passed, skipped, failed };
        assert_eq!(judged(tally(0, 3, 0)).unwrap(), Outcome::Skipped);
        assert_eq!(judged(tally(2, 1, 0)).unwrap(), Outcome::Passed);
        assert!(judged(tally(2, 0, 1)).is_err());
    }
}
