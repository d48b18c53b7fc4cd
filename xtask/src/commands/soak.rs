//! `cargo xtask soak`: the endurance run of the package `whalewatcher-integration` on a real engine.

use anyhow::{Result, ensure};
use clap::Args;
use xtask::engines::{Engine, GivenPrograms};

use super::integration::{self, Run};

/// Makes glibc's allocator return memory: otherwise it keeps freed memory in an arena for each thread, and the figures
/// would not show whether the program needs more.
const TIGHT: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "65536")];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long, on each engine
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Run on these engines
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "docker@trixie")]
    engine: Vec<Engine>,
    #[command(flatten)]
    given: GivenPrograms,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    integration::build()?;
    let arguments = ["--soak".to_owned(), options.minutes.to_string()];
    let run = Run { given: &options.given, all: false, arguments: &arguments, environment: &TIGHT };
    // One at a time: they measure memory.
    let tally = integration::run_program(&options.engine, 1, &run)?;
    ensure!(
        tally.failed == 0,
        "the run failed on {} of {} engines",
        tally.failed,
        tally.failed + tally.passed
    );
    Ok(())
}
