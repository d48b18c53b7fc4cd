//! Whether the tests notice flaws that are brought in by hand, one for each shortcoming that is not to be found here.
//!
//! A flaw is a patch in `xtask/flaws`. It goes into a copy of this checkout below the target folder, which is then
//! built, and each test that the patch names must fail there, while it passes without the flaw.

mod catalogue;
mod replica;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use xtask::interrupt;

use self::catalogue::{Flaw, NamedTest, flaws};
use self::replica::Replica;
use super::cargo::{cargo, protoc, shown, target_folder};

/// How long one test may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What became of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// It did not end in time.
    Hung,
    /// There is no test of that name.
    Absent,
}

/// Brings in these flaws, or all if none is named.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let chosen = chosen(flaws()?, names)?;
    let replica = Replica::fresh(&target_folder()?.join("flaws"))?;
    let bench = Bench { replica: &replica };

    println!("without a flaw:");
    let tests: BTreeSet<&NamedTest> = chosen.iter().flat_map(|flaw| &flaw.noticed_by).collect();
    for (test, outcome) in bench.outcomes(tests.iter().copied())? {
        ensure!(outcome == Outcome::Passed, "{test} should pass, but {}", outcome.said());
    }
    println!("  all {} tests pass", tests.len());

    let mut unnoticed = Vec::new();
    for flaw in &chosen {
        let begin = Instant::now();
        replica.patch(&flaw.patch)?;
        let outcomes = bench.outcomes(&flaw.noticed_by).with_context(|| flaw.name.clone())?;
        replica.unpatch(&flaw.patch)?;
        let noticed = outcomes.iter().all(|(_, outcome)| outcome.is_notice());
        let verdict = if noticed { "noticed " } else { "SURVIVED" };
        let seconds = begin.elapsed().as_secs_f32();
        println!("{verdict} {}: {} ({seconds:.1} s)", flaw.name, flaw.shortcoming);
        for (test, outcome) in &outcomes {
            println!("  {} {test}", outcome.said());
        }
        if !noticed {
            unnoticed.push(flaw.name.as_str());
        }
    }
    ensure!(unnoticed.is_empty(), "not all tests noticed: {}", unnoticed.join(", "));
    println!("\n{} flaws, each noticed by all tests that it names", chosen.len());
    Ok(())
}

fn chosen(all: Vec<Flaw>, names: &[String]) -> Result<Vec<Flaw>> {
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|flaw| flaw.name == **name)) {
        let known: Vec<_> = all.iter().map(|flaw| flaw.name.as_str()).collect();
        bail!("there is no flaw named {unknown}, but {}", known.join(", "));
    }
    Ok(all.into_iter().filter(|flaw| names.is_empty() || names.contains(&flaw.name)).collect())
}

/// Builds and runs tests in the copy.
struct Bench<'a> {
    replica: &'a Replica,
}

/// What cargo says of something that it has built.
#[derive(Deserialize)]
struct Built {
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Target {
    /// Whether it is what a [`NamedTest`] calls so.
    fn is(&self, target: &str) -> bool {
        match target {
            "lib" => self.kind == ["lib"],
            _ => self.kind == ["test"] && self.name == target,
        }
    }
}

impl Bench<'_> {
    /// Builds these tests, which must succeed, and runs each of them.
    fn outcomes<'t>(
        &self,
        tests: impl IntoIterator<Item = &'t NamedTest>,
    ) -> Result<Vec<(&'t NamedTest, Outcome)>> {
        let tests: Vec<_> = tests.into_iter().collect();
        let mut programs = Vec::new();
        let wanted: BTreeSet<_> = tests.iter().map(|test| (&test.package, &test.target)).collect();
        for (package, target) in wanted {
            programs.push(((package, target), self.build(package, target)?));
        }
        let mut outcomes = Vec::new();
        for test in tests {
            let program = programs.iter().find(|(of, _)| *of == (&test.package, &test.target));
            let (_, program) = program.context("every test's program was built")?;
            outcomes.push((test, self.run(program, test)?));
        }
        Ok(outcomes)
    }

    /// The program that holds these tests.
    fn build(&self, package: &str, target: &str) -> Result<PathBuf> {
        let reported = self.replica.folder().join("built.json");
        let mut build = cargo();
        // Of its own: cargo would give the same names to what it builds from the checkout.
        build.current_dir(self.replica.tree()).env("CARGO_TARGET_DIR", self.replica.folder().join("target"));
        build.args(["test", "--quiet", "--no-run", "--message-format", "json-render-diagnostics"]);
        // As `cargo xtask test` has it: some tests are of features that are off by default.
        build.args(["--package", package, "--all-features"]).envs(protoc()?);
        match target {
            "lib" => build.arg("--lib"),
            _ => build.args(["--test", target]),
        };
        build.stdout(File::create(&reported).with_context(|| format!("cannot make {}", reported.display()))?);
        let status = interrupt::run(&mut build)?;
        ensure!(status.success(), "`{}` failed ({status})", shown(&build));
        let messages =
            fs::read_to_string(&reported).with_context(|| format!("cannot read {}", reported.display()))?;
        let mut built = messages.lines().filter_map(|line| serde_json::from_str::<Built>(line).ok());
        built
            .find_map(|built| built.executable.filter(|_| built.target.is_some_and(|of| of.is(target))))
            .with_context(|| format!("`{}` made no program", shown(&build)))
    }

    fn run(&self, program: &Path, test: &NamedTest) -> Result<Outcome> {
        let reported = self.replica.folder().join("reported.txt");
        let file = File::create(&reported).with_context(|| format!("cannot make {}", reported.display()))?;
        let mut command = std::process::Command::new(program);
        command.current_dir(self.replica.tree().join("crates").join(&test.package));
        command.args(["--exact", &test.name]).stdout(file).stderr(Stdio::null());
        let Some(status) = interrupt::run_within(&mut command, LIMIT)? else { return Ok(Outcome::Hung) };
        let reported =
            fs::read_to_string(&reported).with_context(|| format!("cannot read {}", reported.display()))?;
        Ok(match status.success() {
            false => Outcome::Failed,
            true if reported.contains("\nrunning 1 test\n") => Outcome::Passed,
            true => Outcome::Absent,
        })
    }
}

impl Outcome {
    /// Whether this is how a flaw is noticed.
    fn is_notice(&self) -> bool {
        matches!(self, Self::Failed | Self::Hung)
    }

    fn said(&self) -> String {
        match self {
            Self::Passed => "passes:".to_owned(),
            Self::Failed => "fails:".to_owned(),
            Self::Hung => format!("does not end within {} s:", LIMIT.as_secs()),
            Self::Absent => "is not there:".to_owned(),
        }
    }
}
