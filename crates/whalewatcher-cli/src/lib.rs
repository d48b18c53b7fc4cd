//! The program whalewatcher: which containers are alive, and every change as it happens.
//!
//! It is a library so that two packages can provide the binary: this one, and `whalewatcher` with its feature
//! `cli`. Both binaries only call [`run`].

mod advice;
mod args;
mod changes;
mod clusters;
mod command;
mod hosts;
mod journal;
mod log;
mod notes;
mod output;
mod preferences;
mod render;
mod selection;
mod shutdown;
mod starts;
mod statuses;
mod thread;
mod warnings;

use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tokio::runtime;
use tokio_util::task::TaskTracker;
use whalewatcher_core::Fleet;
use whalewatcher_kernel::raise_descriptor_limit;

use crate::args::{Cli, Command, DemoArgs, EnginesArgs, EventsArgs, FleetCommand, PsArgs, WatchArgs};
use crate::command::ps::Shape;
use crate::command::watch::{exec, watch};
#[cfg(target_os = "linux")]
use crate::command::whose;
use crate::command::{
    completions, demo, engines, hosts as hosts_command, log as log_command, ps, publish, wait,
};
use crate::notes::Notes;
use crate::output::Output;
use crate::render::style::set_colour;
use crate::selection::Selection;

/// The number of descriptors that the program needs to start and to connect to one engine.
const DESCRIPTORS: usize = 8;

/// What shells add to the number of a signal that ended a program.
const SIGNALLED: u8 = 128;

/// Runs the program with the arguments of the process and returns its exit status: 0 after SIGINT or SIGTERM,
/// except for `wait`, 2 for wrong usage, that of `wait`, else 1 with the reason on the standard error.
///
/// Call it once, first thing in `main`: it sets the global `tracing` subscriber and starts a tokio runtime.
/// With `--help`, `--version` and wrong arguments it ends the process.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    set_colour(cli.colour);
    if !cli.command.draws() || !stderr().is_terminal() {
        log::start(cli.verbose);
    }
    let command = cli.into_command().and_then(|mut command| {
        preferences::apply(&mut command)?;
        Ok(command)
    });
    match command.and_then(run_command) {
        Ok(status) => status,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<clap::Error>() {
            Ok(usage) => {
                // Fails if the standard error was closed.
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

/// Runs a command in this thread. What may block has threads of its own, so that it delays neither the watch
/// nor the end of the program: the output, the standard error of a watch, and the signals.
fn run_command(command: Command) -> anyhow::Result<ExitCode> {
    check_descriptors()?;
    raise_descriptors(&command);
    let output = Output::default();
    let is_wait = matches!(command, Command::Wait(_));
    let (signals, mut limit) = match command {
        // Its socket has to be removed, also when its terminal is closed.
        Command::Demo(_) => (&[SIGINT, SIGTERM, SIGHUP][..], shutdown::SOCKET_CLEANUP_LIMIT),
        // The terminal has to be given back.
        #[cfg(feature = "serve")]
        Command::Serve(_) => (&[SIGINT, SIGTERM][..], shutdown::SOCKET_CLEANUP_LIMIT),
        #[cfg(feature = "top")]
        Command::Top(_) => (&[SIGINT, SIGTERM, SIGHUP][..], shutdown::SOCKET_CLEANUP_LIMIT),
        _ => (&[SIGINT, SIGTERM][..], shutdown::CLEANUP_LIMIT),
    };
    if command.follow().is_some_and(|follow| follow.exec.is_some()) {
        limit += exec::END_LIMIT;
    }
    if matches!(command, Command::Publish(_)) {
        limit += publish::END_LIMIT;
    }
    // What a script awaited has not happened.
    let status_of = move |signal| if is_wait { SIGNALLED + signal } else { 0 };
    let signalled = shutdown::signalled(signals, limit, output.clone(), status_of)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let commands = TaskTracker::new();
    let (result, signal) = runtime.block_on(async {
        tokio::select! {
            biased;
            Ok((signal, status)) = signalled => (Ok(status), Some(signal)),
            result = dispatch(command, &output, &commands) => (result, None),
        }
    });
    output.end();
    if signal == Some(SIGINT) {
        end_line();
    }
    runtime.block_on(exec::finish(&commands));
    // Does not wait for blocking tasks, such as looking up a host name.
    runtime.shutdown_background();
    result
}

/// Begins a line of the terminal after Ctrl-C, which the terminal has shown as `^C`.
fn end_line() {
    // One of them may be redirected; the line fails if the terminal is gone.
    let _ = match (stderr().is_terminal(), stdout().is_terminal()) {
        (true, _) => writeln!(stderr()),
        (false, true) => writeln!(stdout()),
        (false, false) => Ok(()),
    };
}

/// Checks that the program can open [`DESCRIPTORS`] files: without its own, tokio panics.
fn check_descriptors() -> anyhow::Result<()> {
    let all: Result<Vec<_>, _> = (0..DESCRIPTORS).map(|_| rustix::io::dup(stderr())).collect();
    all.map(drop).map_err(|error| {
        anyhow!("cannot open {DESCRIPTORS} more files: {error}; raise the limit with 'ulimit -n'")
    })
}

/// Allows as many descriptors as the system does: there is one for each container. Not where commands are
/// run, which would inherit that.
fn raise_descriptors(command: &Command) {
    if command.follow().is_some_and(|follow| follow.exec.is_some()) {
        return;
    }
    if let Err(error) = raise_descriptor_limit() {
        tracing::debug!(%error, "cannot raise the limit of descriptors");
    }
}

async fn dispatch(command: Command, output: &Output, commands: &TaskTracker) -> anyhow::Result<ExitCode> {
    let fleet = Arc::new(Fleet::new());
    match command {
        Command::Watch(WatchArgs { engines, follow }) => {
            let selection = Selection::new(&follow.selection.names, &follow.selection.filters)?;
            watch(&fleet, hosts::hosts(&engines)?, selection, follow, output, Notes::new()?, commands)
                .await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Events(EventsArgs { engines, mut follow }) => {
            follow.only_changes = true;
            let selection = Selection::new(&follow.selection.names, &follow.selection.filters)?;
            watch(&fleet, hosts::hosts(&engines)?, selection, follow, output, Notes::new()?, commands)
                .await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions(arguments) => {
            completions::completions(arguments.shell, output).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man(arguments) => completions::man(&arguments.folder).map(|()| ExitCode::SUCCESS),
        Command::Wait(arguments) => {
            wait::wait(&fleet, hosts::hosts(&arguments.engines)?, &arguments, output).await
        }
        Command::Ps(PsArgs { engines, selection, shape }) => {
            let selection = Selection::new(&selection.names, &selection.filters)?;
            ps::ps(&fleet, hosts::hosts(&engines)?, selection, Shape::new(&shape)?, output).await
        }
        Command::Engines(EnginesArgs { engines, format }) => {
            engines::engines(&fleet, hosts::hosts(&engines)?, format, output).await
        }
        Command::Hosts(args) => hosts_command::hosts(args, output).await,
        Command::Fleet(FleetCommand::Forget(args)) => hosts_command::forget_host(args).await,
        #[cfg(target_os = "linux")]
        Command::Whose(args) => whose::whose(&fleet, hosts::hosts(&args.engines)?, &args, output).await,
        #[cfg(feature = "top")]
        Command::Top(args) => {
            command::top::top(&fleet, args).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Publish(args) => {
            publish::publish(&fleet, args, commands).await?;
            Ok(ExitCode::SUCCESS)
        }
        #[cfg(feature = "serve")]
        Command::Serve(args) => {
            command::serve::serve(&fleet, args, commands).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Log(args) => log_command::log(args, output).await,
        Command::Demo(DemoArgs { follow }) => {
            let selection = Selection::new(&follow.selection.names, &follow.selection.filters)?;
            demo::demo(selection, follow, output, commands).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
