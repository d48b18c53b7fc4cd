//! The program whalewatcher: which containers are alive, and every change as it happens.
//!
//! It is a library so that two packages can give it: this one, and `whalewatcher` with its feature `cli`. Both binaries do
//! nothing but call [`run`]. What is printed comes from the modules below, by command: `watch`, `ps` and `demo`.

mod advice;
mod age;
mod arguments;
mod complaints;
mod demo;
mod fit;
mod hosts;
mod json;
mod lines;
mod log;
mod output;
mod people;
mod ps;
mod scope;
mod script;
mod table;
mod terminal;
mod watch;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use whalewatcher_core::{Fleet, Settings};

use crate::arguments::{Arguments, Command};

/// How long output that is under way when the program ends may take.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Runs the program, from the arguments of the process to its exit status: 0 after SIGINT or SIGTERM, 2 for wrong usage, 1
/// otherwise, with one line on the standard error.
///
/// To be called once, first thing in `main`: it sets the global `tracing` subscriber and starts a tokio runtime. With
/// `--help`, `--version` and wrong arguments it ends the process.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    log::start(arguments.verbose);
    match started(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<clap::Error>() {
            Ok(usage) => {
                // Who closed the standard error does not want to know.
                let _ = usage.print();
                ExitCode::from(2)
            }
            Err(error) => {
                log::tell(&format!("{error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

/// Everything runs in this one thread, but for the writing of output: it may block, and must then neither hold up the
/// watch nor keep the program from ending.
fn started(command: Command) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(until_ended(command));
    runtime.shutdown_timeout(LAST_WORDS);
    result
}

async fn until_ended(command: Command) -> anyhow::Result<()> {
    let end = end()?;
    tokio::select! {
        biased;
        () = end => Ok(()),
        result = obey(command) => result,
    }
}

/// Resolves when somebody wants the program to end.
fn end() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

async fn obey(command: Command) -> anyhow::Result<()> {
    let fleet = Fleet::new();
    match command {
        Command::Watch { engines, view } => {
            hosts::join(&fleet, hosts::clients(&engines.hosts)?, &Settings::default())?;
            watch::watch(&fleet, view).await
        }
        Command::Ps { engines, view } => {
            let watchers = hosts::join(&fleet, hosts::clients(&engines.hosts)?, &ps::settings())?;
            ps::ps(&watchers, view).await
        }
        Command::Demo { limit, view } => demo::demo(limit, view).await,
    }
}
