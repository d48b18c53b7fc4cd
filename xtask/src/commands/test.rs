//! `cargo xtask test`: all that has to pass, in the order in which it is told soonest what is wrong.

use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use clap::{Args, ValueEnum};

use super::cargo::{DENY, HACK, cargo, protoc, succeed};
use super::integration;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Leave these steps out
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    skip: Vec<Step>,
    /// Run these steps only
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Formatting
    Fmt,
    /// Lints, without a warning
    Clippy,
    /// Unit, model, wire and doc tests
    Test,
    /// Documentation, without a warning
    Doc,
    /// Licences, sources and banned crates
    Deny,
    /// Each feature alone
    Hack,
    /// Private engines start, survive and leave nothing behind
    Engines,
    /// The scenarios against real engines
    Integration,
}

/// What became of a step that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// No engine could be tested.
    Skipped,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let steps: Vec<Step> =
        Step::value_variants().iter().copied().filter(|step| options.include(*step)).collect();
    ensure!(!steps.is_empty(), "no step is left to run");
    let start = Instant::now();
    let (mut passed, mut skipped) = (0, 0);
    for (number, step) in steps.iter().enumerate() {
        let name = step.name();
        println!("\n=== {}/{} {name}", number + 1, steps.len());
        let begin = Instant::now();
        let outcome = step.run();
        let seconds = begin.elapsed().as_secs_f32();
        match outcome {
            Ok(Outcome::Passed) => {
                println!("=== {name} passed in {seconds:.1} s");
                passed += 1;
            }
            Ok(Outcome::Skipped) => {
                println!("=== {name} SKIPPED, no engine can run here");
                skipped += 1;
            }
            Err(error) => {
                println!("=== {name} FAILED in {seconds:.1} s");
                println!("\n{passed} passed, 1 failed");
                return Err(error.context(format!("step {name} failed")));
            }
        }
    }
    println!("\nall steps took {:.1} s", start.elapsed().as_secs_f32());
    if skipped > 0 {
        println!("{skipped} skipped");
    }
    println!("{passed} passed, 0 failed");
    Ok(())
}

impl Options {
    fn include(&self, step: Step) -> bool {
        (self.only.is_empty() || self.only.contains(&step)) && !self.skip.contains(&step)
    }
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn run(self) -> Result<Outcome> {
        match self {
            Step::Fmt => succeed(cargo().args(["fmt", "--all", "--check"]))?,
            Step::Clippy => {
                let arguments = ["clippy", "--workspace", "--all-targets", "--all-features"];
                succeed(cargo().envs(protoc()?).args(arguments).args(["--", "-D", "warnings"]))?;
            }
            Step::Test => {
                succeed(cargo().envs(protoc()?).args(["test", "--workspace", "--all-features"]))?;
            }
            Step::Doc => {
                let arguments = ["doc", "--workspace", "--no-deps", "--all-features"];
                succeed(cargo().envs(protoc()?).env("RUSTDOCFLAGS", "-D warnings").args(arguments))?;
            }
            Step::Deny => succeed(DENY.ready()?.args(["check", "bans", "licenses", "sources"]))?,
            // Not with --no-dev-deps, which would edit the manifests of this checkout: the resolver keeps features
            // of dev-dependencies out of a check anyway.
            Step::Hack => {
                let arguments = ["check", "--workspace", "--ignore-private", "--each-feature"];
                succeed(HACK.ready()?.envs(protoc()?).args(arguments))?;
            }
            Step::Engines => return judged(integration::check_engines()?),
            Step::Integration => return judged(integration::run_all()?),
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
        let options = |skip: &[Step], only: &[Step]| Options { skip: skip.to_vec(), only: only.to_vec() };
        assert!(options(&[], &[]).include(Step::Deny));
        assert!(!options(&[Step::Deny], &[]).include(Step::Deny));
        assert!(!options(&[], &[Step::Fmt]).include(Step::Deny));
    }

    #[test]
    fn a_step_without_any_engine_has_not_passed() {
        let tally = |passed, skipped, failed| integration::Tally { passed, skipped, failed };
        assert_eq!(judged(tally(0, 3, 0)).unwrap(), Outcome::Skipped);
        assert_eq!(judged(tally(2, 1, 0)).unwrap(), Outcome::Passed);
        assert!(judged(tally(2, 0, 1)).is_err());
    }
}
