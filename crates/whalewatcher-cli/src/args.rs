//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

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

const WATCH_EXAMPLES: &str = "\
Examples:
  whalewatcher watch
  whalewatcher watch --project shop
  whalewatcher watch --discover
  whalewatcher watch --host unix:///run/docker.sock --host tcp://127.0.0.1:2375
  whalewatcher watch --format json | jq -r 'select(.event == \"exited\") | .container.name'

Without --host, all engines of this host are watched, also those that start later, unless Docker's tools are set to one.

Exits with status 0 at Ctrl-C or SIGTERM. Waits for engines that cannot be reached. Hosts that cannot be watched are reported
on the standard error while the others are watched.";

const PS_EXAMPLES: &str = "\
Examples:
  whalewatcher ps
  whalewatcher ps --project shop
  whalewatcher ps --host podman:///run/user/1000/podman/podman.sock
  whalewatcher ps --context build-server
  whalewatcher ps --host ssh://me@build-server
  whalewatcher ps --host tcp://whale:2376 --tls-ca ca.pem --tls-cert cert.pem --tls-key key.pem
  whalewatcher ps --host containerd:///run/containerd/containerd.sock
  whalewatcher ps --host cri:///run/containerd/containerd.sock
  whalewatcher ps --format json | jq -r '.[] | [.pid, .name] | @tsv'

Exits with status 1 if an engine cannot be listed or a container cannot be inspected; prints what is known.";

#[cfg(target_os = "linux")]
const WHOSE_EXAMPLES: &str = "\
Examples:
  whalewatcher whose 4711
  whalewatcher whose $(pgrep nginx)
  whalewatcher whose 4711 --format json | jq -r '.[].container.name'

A process that belongs to no known container has the name '-', and no 'container' in JSON. containerd's namespaces 'moby' and
'k8s.io' are not searched without --all-namespaces. With several hosts, the table names the host of each container.

Exits with status 1 if there is no such process, or if an engine or a container cannot be queried; prints what is known.";

const DEMO_EXAMPLES: &str = "\
Examples:
  whalewatcher demo
  whalewatcher demo --for 20s
  whalewatcher demo --for 1m --format json

The demo engine serves Docker's API on a private socket, which other programs can use while it runs.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show live containers, then every start, exit, pause and rename as it happens
    #[command(after_help = WATCH_EXAMPLES)]
    Watch {
        #[command(flatten)]
        engines: EngineArgs,
        #[command(flatten)]
        view: ViewArgs,
    },
    /// Show live containers
    #[command(after_help = PS_EXAMPLES)]
    Ps {
        #[command(flatten)]
        engines: EngineArgs,
        #[command(flatten)]
        view: ViewArgs,
    },
    /// Show the containers that processes belong to
    #[cfg(target_os = "linux")]
    #[command(after_help = WHOSE_EXAMPLES)]
    Whose {
        /// PID of a process, as this host's /proc names it; can be repeated
        #[arg(required = true, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
        pids: Vec<u32>,
        #[command(flatten)]
        engines: EngineArgs,
        /// Output format
        #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
        format: Format,
    },
    /// Watch a built-in demo engine; needs no Docker
    #[command(after_help = DEMO_EXAMPLES)]
    Demo {
        /// Exit after this time, such as 20s, 2m or 1h30m [default: at Ctrl-C]
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        limit: Option<Duration>,
        #[command(flatten)]
        view: ViewArgs,
    },
}

/// The engines to watch.
#[derive(Args, Default)]
pub(crate) struct EngineArgs {
    /// Engine to watch: Docker at unix:///PATH, /PATH, tcp://HOST:PORT, https://HOST:PORT or ssh://USER@HOST, podman at
    /// podman:///PATH, containerd at containerd:///PATH, the runtime of a Kubernetes node at cri:///PATH; can be repeated
    ///
    /// docker:///PATH is the same as unix:///PATH, and watches podman too, but without pods. podman:// without a path means the
    /// socket of this user's podman, which is /run/podman/podman.sock for root. containerd:// and cri:// mean containerd's default
    /// socket, with its own API or with CRI; CRI-O is at cri:///run/crio/crio.sock. The default is the engine of Docker's tools if
    /// they are set to one, by DOCKER_HOST, DOCKER_CONTEXT or 'docker context use', else all engines of this host.
    #[arg(long = "host", value_name = "URL")]
    pub(crate) hosts: Vec<String>,

    /// Docker context to watch, as 'docker context ls' shows it; can be repeated
    ///
    /// Its certificates are used, if it has any. 'default' is what DOCKER_HOST names.
    #[arg(long = "context", value_name = "NAME")]
    pub(crate) contexts: Vec<String>,

    #[command(flatten)]
    pub(crate) discovery: DiscoveryArgs,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    /// Ignore this containerd namespace, instead of 'moby' and 'k8s.io'; can be repeated
    #[arg(long = "ignore-namespace", value_name = "NAME")]
    pub(crate) ignored: Vec<String>,

    /// Show all containerd namespaces, including 'moby' and 'k8s.io'
    #[arg(long, conflicts_with = "ignored")]
    pub(crate) all_namespaces: bool,
}

/// How engines are found.
#[derive(Args, Default)]
pub(crate) struct DiscoveryArgs {
    /// Find all engines of this host, also if Docker's tools are set to one
    ///
    /// Those of other users and in containers are found as root only, or with CAP_SYS_PTRACE.
    #[arg(long, conflicts_with_all = ["hosts", "contexts"])]
    pub(crate) discover: bool,

    /// Start engines that are found by their sockets but do not run, such as podman
    #[arg(long, conflicts_with_all = ["hosts", "contexts"])]
    pub(crate) activate: bool,

    /// Folder in which the root of the host's file system is mounted
    #[arg(long, value_name = "FOLDER", hide_short_help = true, default_value = "/")]
    pub(crate) root: PathBuf,

    /// Folder in which the host's /proc is mounted
    #[arg(long, value_name = "FOLDER", hide_short_help = true, default_value = "/proc")]
    pub(crate) proc: PathBuf,
}

/// The certificates for engines at tcp:// and https://.
#[derive(Args, Default)]
pub(crate) struct TlsArgs {
    /// Use TLS for tcp://, and trust only the authorities in this file (PEM)
    ///
    /// Without it, the certificates of DOCKER_CERT_PATH are used for DOCKER_HOST, and those that the system trusts for
    /// https://.
    #[arg(long = "tls-ca", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Use TLS for tcp://, with this client certificate (PEM)
    #[arg(long = "tls-cert", value_name = "FILE", requires = "key")]
    pub(crate) certificate: Option<PathBuf>,

    /// Key of the client certificate (PEM)
    #[arg(long = "tls-key", value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
}

impl EngineArgs {
    /// Returns the containerd namespaces to ignore; `None` for the default.
    pub(crate) fn ignored_namespaces(&self) -> Option<&[String]> {
        (self.all_namespaces || !self.ignored.is_empty()).then_some(&self.ignored)
    }
}

/// What to show, and how.
#[derive(Args)]
pub(crate) struct ViewArgs {
    /// Output format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    pub(crate) format: Format,

    /// Show only containers of this compose project; '' means those without one
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables and lines for people, with colour on a terminal
    Text,
    /// JSON for programs: an array of containers for 'ps', of processes for 'whose', else one event per line
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
        let Command::Watch { engines, view } = arguments.command else { panic!("not watch") };
        assert_eq!(engines.hosts, ["/a", "tcp://b:1"]);
        assert_eq!((view.format, view.project), (Format::Text, None));
    }
}
