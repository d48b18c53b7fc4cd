//! Many containers of a Docker engine: how long until it is ready, how much memory each takes, and what
//! becomes of thousands of transitions a second. The engine is the test kit's, in a process of its own; so is
//! the watcher, for there all that is allocated is counted.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use whalewatcher_bench::figure::Figure;

use crate::bench::Effort;
use crate::process::beside;

const SIZES: [usize; 2] = [10_000, 100_000];

pub(crate) fn run(_: &str, effort: &Effort) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for size in SIZES {
        figures.extend(of(size, effort)?);
    }
    Ok(figures)
}

fn of(size: usize, effort: &Effort) -> Result<Vec<Figure>> {
    let program = beside("whalewatcher-bench-scale")?;
    // Being ready takes long enough to be measured few times.
    let rounds = effort.rounds.div_ceil(if size > 10_000 { 8 } else { 3 });
    let seconds = if effort.large { 60 } else { 10 };
    let mut command = Command::new(&program);
    command.args(["watch", &size.to_string(), &rounds.to_string(), &seconds.to_string()]);
    // The input stays open for as long as this process lives: by that it ends with this one.
    let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut process = process.with_context(|| format!("cannot start {}", program.display()))?;
    let input = process.stdin.take();
    let output = process.stdout.take().context("it has an output")?;
    let figures = serde_json::from_reader(output);
    let status = process.wait().context("cannot wait for it")?;
    drop(input);
    ensure!(status.success(), "watching {size} containers ended with {status}");
    figures.context("its figures cannot be understood")
}
