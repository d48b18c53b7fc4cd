//! `cargo xtask bench`: the figures of the package `whalewatcher-bench`.

use std::path::{PathBuf, absolute};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use xtask::interrupt;

use super::cargo::{cargo, succeed, target_folder};

const PACKAGE: &str = "whalewatcher-bench";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Say which benches there are
    #[arg(long)]
    list: bool,
    /// Run everything, for as long as it takes
    #[arg(long)]
    large: bool,
    /// How many times to measure each thing, in turn with what it is compared with
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Where to write the figures as JSON [default: bench.json in the target folder]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Run only benches whose name contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let target = target_folder()?;
    // All of its programs: one starts another, which is to be found beside it.
    succeed(cargo().args(["build", "--quiet", "--release", "--package", PACKAGE]))?;
    let json = match &options.json {
        Some(file) => absolute(file).with_context(|| format!("{} is no path", file.display()))?,
        None => target.join("bench.json"),
    };
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", PACKAGE, "--"]);
    command.arg(format!("--rounds={}", options.rounds)).arg("--json").arg(json);
    command.args(options.list.then_some("--list")).args(options.large.then_some("--large"));
    command.arg("--").args(&options.filters);
    let status = interrupt::run(&mut command)?;
    ensure!(status.success(), "the figures could not be taken ({status})");
    Ok(())
}
