//! `cargo xtask bench`: how fast the crates are, next to the least that the engine or the machine makes anyone pay.
//!
//! Every bench is a module that gives figures. Nothing here fails because something is slow: machines differ, and are
//! disturbed. Ratios are of what was measured in turn, within one run.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
#![allow(clippy::disallowed_types, reason = "what is measured here is real time")]

mod bench;
mod engine;
mod harm;
mod hub;
mod kernel;
mod latency;
mod looking;
mod machine;
mod owner;
mod partition;
mod process;
mod reading;
mod ready;
mod real;
mod rest;
mod scale;
mod serve;
mod writing;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use serde_json::json;
use whalewatcher_bench::figure::table;

use bench::{ALL, Effort, LONG, chosen};
use machine::Machine;

/// Figures, each next to the least that the engine or the machine makes anyone pay
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
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
    /// Be the process that watches this endpoint and does nothing else
    #[arg(long, value_name = "ENDPOINT", hide = true)]
    only_watch: Option<String>,
    /// Be a process that listens at this socket and does nothing else
    #[arg(long, value_name = "PATH", hide = true)]
    only_listen: Option<PathBuf>,
    /// Run only benches whose name contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
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
    if let Some(endpoint) = &arguments.only_watch {
        return rest::only_watch(endpoint);
    }
    if let Some(path) = &arguments.only_listen {
        return looking::only_listen(path);
    }
    if arguments.list {
        for (name, about, _) in ALL {
            let long = if *name == LONG { " (only with --large, or when it is named)" } else { "" };
            println!("{name:<17} {about}{long}");
        }
        return Ok(());
    }
    let benches = chosen(&arguments.filters, arguments.large);
    ensure!(!benches.is_empty(), "no bench is called like that: --list says which there are");
    let effort = Effort { rounds: usize::from(arguments.rounds), large: arguments.large };
    let mut machine = Machine::here();
    let mut figures = Vec::new();
    for (name, about, run) in benches {
        eprintln!("{name}: {about}");
        figures.extend(run(name, &effort).with_context(|| format!("{name} cannot be measured"))?);
    }
    machine.note_end();
    println!("{}\n\n{}", machine.describe(), table(&figures));
    let aims = || figures.iter().filter_map(|figure| figure.met);
    println!("{} of {} aims are met", aims().filter(|met| *met).count(), aims().count());
    let target = env::var_os("WHALEWATCHER_TARGET").map(PathBuf::from);
    let file = arguments.json.clone().or_else(|| Some(target?.join("bench.json")));
    if let Some(file) = &file {
        let now = jiff::Timestamp::try_from(SystemTime::now()).context("the clock is wrong")?;
        let all = json!({ "time": now.to_string(), "machine": machine, "effort": {
            "rounds": effort.rounds, "large": effort.large,
        }, "figures": figures });
        let text = serde_json::to_string_pretty(&all).context("figures are no JSON")?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
        println!("written to {}", file.display());
    }
    Ok(())
}
