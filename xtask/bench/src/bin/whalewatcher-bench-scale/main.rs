//! Watches many containers of the test kit's Docker engine, which runs in a process of its own, and counts what is
//! allocated. Started by `whalewatcher-bench`, which shows the figures that are printed here as JSON.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports on its output")]
#![allow(clippy::disallowed_types, reason = "what is measured here is real time")]

mod server;
mod watched;

use std::alloc::System;
use std::io::{self, Read as _};
use std::process::{ExitCode, exit};
use std::thread;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Many containers, and what it takes to watch them
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be the engine, until the input ends
    Serve { containers: usize },
    /// Start an engine, watch it, and report
    Watch {
        containers: usize,
        /// How many times to measure how long it takes to be ready
        rounds: usize,
        /// For how many seconds there are transitions
        seconds: u32,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve { containers } => server::serve(containers).await,
        Command::Watch { containers, rounds, seconds } => {
            end_with_the_input();
            watched::watch(containers, rounds, seconds).await.and_then(|figures| {
                println!("{}", serde_json::to_string(&figures).context("figures are no JSON")?);
                Ok(())
            })
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends this process when the one that started it closes its end of the input.
fn end_with_the_input() {
    thread::spawn(|| -> Result<()> {
        io::stdin().read_to_end(&mut Vec::new())?;
        exit(1)
    });
}

/// Bytes that are allocated at the moment.
fn allocated() -> f64 {
    let stats = COUNTING.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}
