//! Watches an engine and does nothing else, so that what this process costs is what watching costs. Started by
//! `whalewatcher-bench`, which measures it from outside.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports on its output")]

use std::io::{self, Read as _};
use std::process::{ExitCode, exit};
use std::thread;

use anyhow::{Result, bail};
use clap::Parser;
use whalewatcher_core::watch;
use whalewatcher_moby::Client;

/// Watch with default settings and one subscriber, until the input ends
#[derive(Debug, Parser)]
struct Arguments {
    /// The engine's endpoint
    endpoint: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    end_with_the_input();
    let done = watched(&Arguments::parse().endpoint).await;
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
