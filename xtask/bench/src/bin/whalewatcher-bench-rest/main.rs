//! Watches an engine, or asks it what a watcher asks, and does nothing else: so all that this process takes of the machine
//! is what that takes. Started by `whalewatcher-bench`, which looks at it from outside.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports on its output")]

use std::io::{self, Read as _};
use std::process::{ExitCode, exit};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use whalewatcher_bench::idle::{Cadence, ask};
use whalewatcher_core::{Settings, watch};
use whalewatcher_moby::Client;

/// Whoever watches, until the input ends
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch, with default settings and one subscriber
    Watch { endpoint: String },
    /// Only ask what a watcher asks
    Ask { socket: String },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    end_with_the_input();
    let done = match Arguments::parse().command {
        Command::Watch { endpoint } => watched(&endpoint).await,
        Command::Ask { socket } => asked(&socket).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever started this holds the other end of the input, and is gone when that is closed.
fn end_with_the_input() {
    thread::spawn(|| -> Result<()> {
        io::stdin().read_to_end(&mut Vec::new())?;
        exit(0)
    });
}

async fn watched(endpoint: &str) -> Result<()> {
    let watching = watch(Client::new(endpoint)?);
    watching.ready().await?;
    let (now, mut changes) = watching.subscribe();
    println!("{}", now.total());
    while let Some(change) = changes.next().await {
        eprintln!("{change}");
    }
    bail!("the watch has ended")
}

async fn asked(socket: &str) -> Result<()> {
    let settings = Settings::default();
    let never = Duration::from_secs(1_000_000);
    let cadence = Cadence {
        checks: settings.probe_every().unwrap_or(never),
        audits: settings.audit_every().unwrap_or(never),
    };
    ask(socket, cadence, || println!("asking")).await.context("cannot ask")
}
