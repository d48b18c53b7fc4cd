//! The command line: one file for the arguments of each command, and one for each group that commands share.

mod completions;
mod crash_loop;
mod demo;
#[cfg(feature = "serve")]
mod docker_api;
mod engines;
mod follow;
mod hosts;
mod journal;
mod output;
mod ps;
mod publish;
mod selection;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "top")]
mod top;
mod until;
mod wait;
mod watch;
#[cfg(target_os = "linux")]
mod whose;

use std::fmt;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};

pub(crate) use self::completions::{CompletionsArgs, ManArgs, Shell};
pub(crate) use self::crash_loop::CrashLoopArgs;
#[cfg(feature = "top")]
pub(crate) use self::crash_loop::CrashLoops;
pub(crate) use self::demo::DemoArgs;
#[cfg(feature = "serve")]
pub(crate) use self::docker_api::{DockerApiArgs, InspectSource};
pub(crate) use self::engines::{DiscoveryArgs, EngineArgs, EnginesArgs, EtcdArgs, TlsArgs};
pub(crate) use self::follow::{EventFormat, FollowArgs};
pub(crate) use self::hosts::{FleetCommand, ForgetArgs, HostsArgs};
pub(crate) use self::journal::{JournalArgs, LogArgs};
pub(crate) use self::output::{Format, ListFormat, ShapeArgs};
pub(crate) use self::ps::PsArgs;
pub(crate) use self::publish::PublishArgs;
pub(crate) use self::selection::{FilterArgs, SelectionArgs};
#[cfg(feature = "serve")]
pub(crate) use self::serve::{ContainerMetrics, ListenArgs, ServeArgs};
#[cfg(feature = "top")]
pub(crate) use self::top::TopArgs;
pub(crate) use self::until::Until;
pub(crate) use self::wait::{State, WaitArgs};
pub(crate) use self::watch::{EventsArgs, WatchArgs};
#[cfg(target_os = "linux")]
pub(crate) use self::whose::WhoseArgs;
use crate::render::style::Colour;

/// Show which containers are alive on this host, and every change as it happens.
///
/// A container is alive while it has a process, running or paused. Whalewatcher lists the containers once,
/// then follows the engine's events. After a lost connection or a restart of the engine it prints exactly
/// what changed meanwhile.
#[derive(Parser)]
#[command(name = "whalewatcher", version, arg_required_else_help = true, propagate_version = true, max_term_width = 80, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Increase verbosity of the log on the standard error (-v, -vv, -vvv); the default is RUST_LOG
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,

    /// When to use colours
    #[arg(long = "color", alias = "colour", value_enum, value_name = "WHEN", default_value_t = Colour::Auto, global = true)]
    pub(crate) colour: Colour,

    /// Engine that the command is to use, as its own option --host; can be repeated
    #[arg(short = 'H', long = "host", value_name = "URL")]
    pub(crate) hosts: Vec<String>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  whalewatcher ps                       list live containers by project
  whalewatcher watch                    the same, then a line per change
  whalewatcher watch -o json            a JSON object per line, for programs
  whalewatcher ps -q --filter name=web  IDs of containers, one per line
  whalewatcher wait db --for healthy    until a container is healthy
  whalewatcher demo --for 20s           watch a demo engine; needs no Docker";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show live containers, then every start, exit, pause and rename as it happens
    Watch(WatchArgs),
    /// Show changes only, without the containers that are alive already; short for 'watch --only-changes'
    Events(EventsArgs),
    /// Wait until containers have started, exited, become healthy or are gone
    Wait(WaitArgs),
    /// Show live containers
    Ps(PsArgs),
    /// Show the engines that are found, and whether they can be watched
    Engines(EnginesArgs),
    /// Show the hosts that publish their engines in etcd, or did
    Hosts(HostsArgs),
    /// Manage what hosts have published in etcd
    #[command(subcommand, after_help = hosts::FLEET_EXAMPLES)]
    Fleet(FleetCommand),
    /// Show the containers that processes belong to
    #[cfg(target_os = "linux")]
    Whose(WhoseArgs),
    /// Show live containers as they come and go, on the whole terminal
    #[cfg(feature = "top")]
    Top(TopArgs),
    /// Serve the live containers and their changes over HTTP, at a unix socket
    #[cfg(feature = "serve")]
    Serve(ServeArgs),
    /// Show what a journal recorded: starts, exits, health and crash loops
    Log(LogArgs),
    /// Publish live containers in etcd, for programs that watch many hosts
    Publish(PublishArgs),
    /// Watch a built-in demo engine; needs no Docker
    Demo(DemoArgs),
    /// Print a script that completes the command line in a shell
    Completions(CompletionsArgs),
    /// Write the manual pages
    #[command(hide = true)]
    Man(ManArgs),
}

impl Command {
    /// Returns whether the command draws on the whole terminal, so that nothing else may write to it.
    pub(crate) fn draws(&self) -> bool {
        #[cfg(feature = "top")]
        return matches!(self, Self::Top(_));
        #[cfg(not(feature = "top"))]
        false
    }

    /// Returns the engines that the command asks, or why it asks none.
    pub(crate) fn engines_mut(&mut self) -> Result<&mut EngineArgs, &'static str> {
        match self {
            Self::Watch(watch) => Ok(&mut watch.engines),
            Self::Events(events) => Ok(&mut events.engines),
            Self::Wait(wait) => Ok(&mut wait.engines),
            Self::Ps(ps) => Ok(&mut ps.engines),
            Self::Engines(list) => Ok(&mut list.engines),
            Self::Hosts(list) => Ok(&mut list.engines),
            Self::Fleet(FleetCommand::Forget(forget)) => Ok(&mut forget.engines),
            #[cfg(target_os = "linux")]
            Self::Whose(whose) => Ok(&mut whose.engines),
            #[cfg(feature = "top")]
            Self::Top(top) => Ok(&mut top.engines),
            Self::Publish(publish) => Ok(&mut publish.engines),
            #[cfg(feature = "serve")]
            Self::Serve(serve) => Ok(&mut serve.engines),
            Self::Log(_) => Err("'log' reads a journal"),
            Self::Completions(_) | Self::Man(_) => Err("no engine is asked"),
            Self::Demo(_) => Err("'demo' has an engine of its own"),
        }
    }

    /// Returns when the command reports crash loops, if it does.
    pub(crate) fn crash_loops_mut(&mut self) -> Option<&mut CrashLoopArgs> {
        match self {
            Self::Watch(WatchArgs { follow, .. })
            | Self::Events(EventsArgs { follow, .. })
            | Self::Demo(DemoArgs { follow }) => Some(&mut follow.crash_loops),
            #[cfg(feature = "top")]
            Self::Top(top) => Some(&mut top.crash_loops),
            #[cfg(feature = "serve")]
            Self::Serve(serve) => Some(&mut serve.crash_loops),
            _ => None,
        }
    }

    /// Returns how the command follows changes, if it does.
    pub(crate) fn follow(&self) -> Option<&FollowArgs> {
        match self {
            Self::Watch(WatchArgs { follow, .. })
            | Self::Events(EventsArgs { follow, .. })
            | Self::Demo(DemoArgs { follow }) => Some(follow),
            _ => None,
        }
    }
}

/// Returns the error for wrong usage.
pub(crate) fn wrong(message: impl fmt::Display) -> anyhow::Error {
    Cli::command().error(ErrorKind::ValueValidation, message).into()
}

impl Cli {
    /// Returns the command, with the hosts that were given before it.
    ///
    /// # Errors
    ///
    /// If the command has no use for them: wrong usage.
    pub(crate) fn into_command(self) -> anyhow::Result<Command> {
        let Self { hosts, mut command, .. } = self;
        if hosts.is_empty() {
            return Ok(command);
        }
        let unusable = |why: &str| wrong(format!("{why}, so it cannot be used with --host"));
        let engines = command.engines_mut().map_err(unusable)?;
        if engines.discovery.is_asked_for() {
            return Err(wrong("--discover and --activate cannot be used with --host"));
        }
        engines.hosts.splice(..0, hosts);
        Ok(command)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|signed| Duration::try_from(signed).ok());
    parsed
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "not a duration such as 20s, 2m or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_accepts_the_definition() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        let seconds = |text| duration(text).map(|duration| duration.as_secs());
        assert_eq!((seconds("20s"), seconds("2m"), seconds("1h30m")), (Ok(20), Ok(120), Ok(5_400)));
        for wrong in ["", "20", "0s", "-3s", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_repeat_and_text_is_the_default() {
        let line = ["whalewatcher", "watch", "--host", "/a", "--host", "tcp://b:1", "-vv"];
        let arguments = Cli::try_parse_from(line).unwrap();
        assert_eq!(arguments.verbose, 2);
        let Command::Watch(WatchArgs { engines, follow }) = arguments.command else { panic!("not watch") };
        assert_eq!(engines.hosts, ["/a", "tcp://b:1"]);
        assert_eq!((follow.format, follow.selection.names.len()), (EventFormat::Text, 0));
    }
}
