//! What can be said on the command line.

use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Shows which containers are alive on this host, and every change as it happens.
///
/// Alive means: has a process, running or paused. Whalewatcher asks the engine once, then follows its events;
/// restarts of the engine and lost connections are bridged, and nothing that happened meanwhile is lost.
#[derive(Parser)]
#[command(name = "whalewatcher", version, arg_required_else_help = true, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Increase verbosity on the standard error: -v, -vv, -vvv; without it RUST_LOG decides
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  whalewatcher ps                          which containers are alive, by compose project
  whalewatcher watch                       the same, then a line for every change
  whalewatcher watch --format json         one JSON object a line, for other programs
  whalewatcher demo --for 20s              the same on a built-in demo engine: no Docker needed";

const WATCH_EXAMPLES: &str = "\
Examples:
  whalewatcher watch
  whalewatcher watch --project shop
  whalewatcher watch --host unix:///run/docker.sock --host tcp://127.0.0.1:2375
  whalewatcher watch --format json | jq -r 'select(.event == \"exited\") | .container.name'

Ends with status 0 at Ctrl-C or SIGTERM. An engine that is not there yet, or goes away, is waited for. Of several hosts, those
that cannot be watched are named on the standard error; the others are watched.";

const PS_EXAMPLES: &str = "\
Examples:
  whalewatcher ps
  whalewatcher ps --project shop
  whalewatcher ps --host unix:///run/user/1000/podman/podman.sock
  whalewatcher ps --host containerd:///run/containerd/containerd.sock
  whalewatcher ps --host cri:///run/containerd/containerd.sock
  whalewatcher ps --format json | jq -r '.[] | [.pid, .name] | @tsv'

Ends with status 1 if an engine or a container cannot be asked; what is known is shown.";

const DEMO_EXAMPLES: &str = "\
Examples:
  whalewatcher demo
  whalewatcher demo --for 20s
  whalewatcher demo --for 1m --format json

The demo engine speaks Docker's API on a private socket: while it runs, other programs can watch it too.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show what is alive, then every start, exit, pause and rename as it happens
    #[command(after_help = WATCH_EXAMPLES)]
    Watch {
        #[command(flatten)]
        engines: Engines,
        #[command(flatten)]
        view: View,
    },
    /// Show what is alive right now
    #[command(after_help = PS_EXAMPLES)]
    Ps {
        #[command(flatten)]
        engines: Engines,
        #[command(flatten)]
        view: View,
    },
    /// Watch a built-in demo engine, on which containers come and go: no Docker needed
    #[command(after_help = DEMO_EXAMPLES)]
    Demo {
        /// End after so long, such as 20s, 2m or 1h30m; without it at Ctrl-C
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        limit: Option<Duration>,
        #[command(flatten)]
        view: View,
    },
}

/// Which engines.
#[derive(Args, Default)]
pub(crate) struct Engines {
    /// Where an engine is: Docker at unix:///PATH, /PATH, tcp://HOST:PORT or http://HOST:PORT, containerd at
    /// containerd:///PATH, or a Kubernetes node's runtime at cri:///PATH; can be repeated
    ///
    /// docker:///PATH is the same as unix:///PATH. containerd:// and cri:// are containerd where it always is, asked by its
    /// own API or by the one that the kubelet uses; CRI-O is at cri:///run/crio/crio.sock. Without it: DOCKER_HOST, else
    /// unix:///var/run/docker.sock.
    #[arg(long = "host", value_name = "URL")]
    pub(crate) hosts: Vec<String>,

    /// Leave out this namespace of containerd, in place of 'moby' and 'k8s.io'; can be repeated
    #[arg(long = "ignore-namespace", value_name = "NAME")]
    pub(crate) ignored: Vec<String>,

    /// Show all namespaces of containerd, 'moby' and 'k8s.io' included
    #[arg(long, conflicts_with = "ignored")]
    pub(crate) all_namespaces: bool,
}

impl Engines {
    /// Which namespaces of containerd are left out; `None`: those that are by default.
    pub(crate) fn ignored_namespaces(&self) -> Option<&[String]> {
        (self.all_namespaces || !self.ignored.is_empty()).then_some(&self.ignored)
    }
}

/// What is shown of them, and how.
#[derive(Args)]
pub(crate) struct View {
    /// Output format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    pub(crate) format: Format,

    /// Show the containers of this compose project only; '' shows those without one
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables and lines, with relative times, and with colour on a terminal
    Text,
    /// JSON for programs: of 'ps' an array of containers, else one event a line
    Json,
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
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_are_written_as_people_do() {
        let seconds = |text| duration(text).map(|duration| duration.as_secs());
        assert_eq!((seconds("20s"), seconds("2m"), seconds("1h30m")), (Ok(20), Ok(120), Ok(5_400)));
        for wrong in ["", "20", "0s", "-3s", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_add_up_and_text_is_the_default() {
        let line = ["whalewatcher", "watch", "--host", "/a", "--host", "tcp://b:1", "-vv"];
        let arguments = Arguments::try_parse_from(line).unwrap();
        assert_eq!(arguments.verbose, 2);
        let Command::Watch { engines, view } = arguments.command else { panic!("not watch") };
        assert_eq!(engines.hosts, ["/a", "tcp://b:1"]);
        assert_eq!((view.format, view.project), (Format::Text, None));
    }
}
