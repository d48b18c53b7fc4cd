//! `cargo xtask bench`: the figures of the package `whalewatcher-bench`.

use std::ffi::OsString;

use anyhow::{Result, ensure};
use clap::Args;
use xtask::interrupt;

use super::cargo::{cargo, succeed, target_folder};

const PACKAGE: &str = "whalewatcher-bench";

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// What that program takes: `--help` lists it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    // All of its programs: one starts another, which is to be found beside it.
    succeed(cargo().args(["build", "--quiet", "--release", "--package", PACKAGE]))?;
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", PACKAGE, "--"]).args(&options.arguments);
    // From where the user is, for paths among the arguments.
    command.current_dir(std::env::current_dir()?).env("WHALEWATCHER_TARGET", target_folder()?);
    let status = interrupt::run(&mut command)?;
    ensure!(status.success(), "the figures could not be taken ({status})");
    Ok(())
}
