//! The program whalewatcher: which containers are alive, and every change as it happens.
//!
//! It is a library so that two packages can give it: this one, and `whalewatcher` with its feature `cli`. Both binaries do
//! nothing but call [`run`]. What is printed comes from the modules below, by command: `watch`, `ps` and `demo`.

mod advice;
mod args;
mod command;
mod filter;
mod hosts;
mod log;
mod notes;
mod output;
mod render;
mod shutdown;
mod thread;
mod warnings;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tokio::runtime;
use whalewatcher_core::{Fleet, Settings};

use crate::args::{Arguments, Command};
use crate::command::{demo, ps, watch};
use crate::notes::Notes;
use crate::output::Output;

/// Runs the program, from the arguments of the process to its exit status: 0 after SIGINT or SIGTERM, 2 for wrong usage, 1
/// otherwise, with what is wrong on the standard error.
///
/// To be called once, first thing in `main`: it sets the global `tracing` subscriber and starts a tokio runtime. With
/// `--help`, `--version` and wrong arguments it ends the process.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    log::start(arguments.verbose);
    match started(arguments.command) {
        Ok(status) => status,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<clap::Error>() {
            Ok(usage) => {
                // It fails where the standard error was closed.
                let _ = usage.print();
                ExitCode::from(2)
            }
            Err(error) => {
                notes::note(&format!("{error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

/// Everything runs in this one thread, but for what may block and must then neither hold up the watch nor keep the program
/// from ending: the output, the standard error of a watch, and the signals.
fn started(command: Command) -> anyhow::Result<ExitCode> {
    shutdown::check_descriptors()?;
    let output = Output::default();
    let (signals, tidying) = match command {
        // Its socket is to be removed, also when its terminal is closed.
        Command::Demo { .. } => (&[SIGINT, SIGTERM, SIGHUP][..], shutdown::REMOVING),
        _ => (&[SIGINT, SIGTERM][..], shutdown::TIDYING),
    };
    let signalled = shutdown::signalled(signals, tidying, output.clone())?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            Ok(()) = signalled => Ok(ExitCode::SUCCESS),
            result = obey(command, &output) => result,
        }
    });
    output.end();
    // Nothing waits for what blocks, such as looking up a name.
    runtime.shutdown_background();
    result
}

async fn obey(command: Command, output: &Output) -> anyhow::Result<ExitCode> {
    let fleet = Fleet::new();
    match command {
        Command::Watch { engines, view } => {
            let hosts = hosts::join(&fleet, hosts::clients(&engines)?, &Settings::default())?;
            watch::watch(&fleet, hosts, view, output, Notes::new()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Ps { engines, view } => {
            let hosts = hosts::join(&fleet, hosts::clients(&engines)?, &ps::settings())?;
            ps::ps(&fleet, &hosts, view, output).await
        }
        Command::Demo { limit, view } => {
            demo::demo(limit, view, output).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
