//! Writes the gRPC code of `whalewatcher-api`, or checks that it is what would be written.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use whalewatcher_generate::{API, check, folder_in_api, write};

/// Generate the gRPC code of `whalewatcher-api` from the definitions in `crates/whalewatcher-api/proto`
#[derive(Debug, Parser)]
struct Arguments {
    /// Write nothing, and fail if what is there is not what would be written
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut wrong = Vec::new();
    for set in &API {
        let folder = folder_in_api(set);
        if arguments.check {
            wrong.extend(check(set, &folder)?);
        } else {
            write(set, &folder)?;
            println!("wrote {}", folder.display());
        }
    }
    ensure!(wrong.is_empty(), "{}; run `cargo xtask generate`", wrong.join(", "));
    Ok(())
}
