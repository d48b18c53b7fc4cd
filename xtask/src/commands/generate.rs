//! `cargo xtask generate`: the gRPC code of the workspace, by the package `whalewatcher-generate`.

use anyhow::Result;
use clap::Args;

use super::cargo::{cargo, succeed};

const PACKAGE: &str = "whalewatcher-generate";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Write nothing, and fail if what is there is not what would be written
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut generate = cargo();
    generate.args(["run", "--quiet", "--package", PACKAGE, "--"]);
    succeed(generate.args(options.check.then_some("--check")))
}
