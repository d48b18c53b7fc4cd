//! The command line: one file for the arguments of each command, and one for each group that commands share.

mod demo;
mod engines;
mod follow;
mod output;
mod ps;
mod selection;
mod until;
mod watch;
#[cfg(target_os = "linux")]
mod whose;

use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand};

pub(crate) use self::demo::DemoArgs;
pub(crate) use self::engines::{DiscoveryArgs, EngineArgs, TlsArgs};
pub(crate) use self::follow::{EventFormat, FollowArgs};
pub(crate) use self::output::{Format, ViewArgs};
pub(crate) use self::ps::PsArgs;
pub(crate) use self::selection::SelectionArgs;
pub(crate) use self::until::Until;
pub(crate) use self::watch::{EventsArgs, WatchArgs};
#[cfg(target_os = "linux")]
pub(crate) use self::whose::WhoseArgs;

/// Show which containers are alive on this host, and every change as it happens.
///
/// A container is alive while it has a process, running or paused. Whalewatcher lists the containers once, then follows the
/// engine's events. After a lost connection or a restart of the engine it prints exactly what changed meanwhile.
#[derive(Parser)]
#[command(name = "whalewatcher", version, arg_required_else_help = true, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Increase verbosity of the log on the standard error (-v, -vv, -vvv); the default is RUST_LOG
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  whalewatcher ps                          list live containers by compose project
  whalewatcher watch                       the same, then a line per change
  whalewatcher watch --format json         one JSON object per line, for other programs
  whalewatcher demo --for 20s              watch a built-in demo engine; needs no Docker";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show live containers, then every start, exit, pause and rename as it happens
    Watch(WatchArgs),
    /// Show changes only, without the containers that are alive already; short for 'watch --only-changes'
    Events(EventsArgs),
    /// Show live containers
    Ps(PsArgs),
    /// Show the containers that processes belong to
    #[cfg(target_os = "linux")]
    Whose(WhoseArgs),
    /// Watch a built-in demo engine; needs no Docker
    Demo(DemoArgs),
}

impl Command {
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

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|signed| Duration::try_from(signed).ok());
    parsed
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "not a duration such as 20s, 2m or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

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
        assert_eq!((follow.format, follow.selection.project), (EventFormat::Text, None));
    }
}
