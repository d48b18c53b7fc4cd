//! Which engines a command concerns.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Format, duration};

const EXAMPLES: &str = "\
Examples:
  whalewatcher engines
  whalewatcher engines --host podman://
  whalewatcher engines -o json | jq -r '.[] | select(.phase != \"live\")'

Lists the engines of this host, or those of --host and --context, and what was \
    found and cannot be watched, with the reason.

Exits with status 1 if one that may run cannot be watched completely.";

/// Which engines to list, and how to print them.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EnginesArgs {
    #[command(flatten)]
    pub(crate) engines: EngineArgs,

    /// Output format
    #[arg(short = 'o', long = "output", visible_alias = "format", value_enum, value_name = "FORMAT", default_value_t = Format::Text, help_heading = "Output")]
    pub(crate) format: Format,
}

/// The engines to watch.
#[derive(Args, Default)]
#[command(next_help_heading = "Engines")]
pub(crate) struct EngineArgs {
    /// Engine to watch: Docker at unix:///PATH, /PATH, tcp://HOST:PORT, https://HOST:PORT or ssh://USER@HOST,
    /// podman at podman:///PATH, containerd at containerd:///PATH, the runtime of a Kubernetes node at
    /// cri:///PATH, all that hosts publish in etcd at etcd://HOST,…; can be repeated
    ///
    /// docker:///PATH is the same as unix:///PATH, and watches podman too, but without pods. podman://
    /// without a path means the socket of this user's podman, which is /run/podman/podman.sock for root.
    /// containerd:// and cri:// mean containerd's default socket, with its own API or with CRI; CRI-O is at
    /// cri:///run/crio/crio.sock. The default is WHALEWATCHER_HOST, else 'hosts' in
    /// ~/.config/whalewatcher.toml, else the engine of Docker's tools if they are set to one, by DOCKER_HOST,
    /// DOCKER_CONTEXT or 'docker context use', else all engines of this host.
    #[arg(short = 'H', long = "host", value_name = "URL")]
    pub(crate) hosts: Vec<String>,

    /// Where the hosts come from if not from the command line, for errors.
    #[arg(skip)]
    pub(crate) origin: String,

    /// Docker context to watch, as 'docker context ls' shows it; can be repeated
    ///
    /// Its certificates are used, if it has any. 'default' is what DOCKER_HOST names.
    #[arg(long = "context", value_name = "NAME")]
    pub(crate) contexts: Vec<String>,

    #[command(flatten)]
    pub(crate) discovery: DiscoveryArgs,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    #[command(flatten)]
    pub(crate) etcd: EtcdArgs,

    /// Ignore this containerd namespace, instead of 'moby' and 'k8s.io'; can be repeated
    #[arg(long = "ignore-namespace", value_name = "NAME")]
    pub(crate) ignored: Vec<String>,

    /// Show all containerd namespaces, including 'moby' and 'k8s.io'
    #[arg(long, conflicts_with = "ignored")]
    pub(crate) all_namespaces: bool,

    /// Do not watch processes: the ends of containers are known by the engine only
    ///
    /// On Linux, commands that follow changes watch the initial process of each container of this host, if it
    /// is proven to be the container's. So an end is known within milliseconds, also while the engine hangs
    /// or is gone, and an engine that reports the end of a container that goes on is not believed.
    #[arg(long)]
    pub(crate) no_kernel: bool,
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
    /// Use TLS for tcp:// and etcds://, and trust only the authorities in this file (PEM)
    ///
    /// Without it, the certificates of DOCKER_CERT_PATH are used for DOCKER_HOST, and those that the system trusts for
    /// https://.
    #[arg(long = "tls-ca", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Use TLS for tcp:// and etcds://, with this client certificate (PEM)
    #[arg(long = "tls-cert", value_name = "FILE", requires = "key")]
    pub(crate) certificate: Option<PathBuf>,

    /// Key of the client certificate (PEM)
    #[arg(long = "tls-key", value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
}

/// How etcd knows its client.
#[derive(Args, Default)]
pub(crate) struct EtcdArgs {
    /// User of etcd; without one it is the common name of the client certificate
    #[arg(long = "etcd-user", value_name = "NAME", requires = "password_file")]
    pub(crate) user: Option<String>,

    /// File with the password of that user
    #[arg(id = "password_file", long = "etcd-password-file", value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,

    /// Leave out hosts in etcd that have been silent for this long, such as 7d
    ///
    /// At least two hours. It counts from the time that the agent of the host wrote last, by that host's
    /// clock, which it does at least once an hour. A host that publishes again is shown again. 'whalewatcher
    /// fleet forget' deletes what a host has published.
    #[arg(long, value_name = "DURATION", value_parser = silence)]
    pub(crate) forget_after: Option<Duration>,
}

/// Returns a duration in days, or as others are.
fn silence(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('d').map(str::parse::<u32>) {
        Some(Ok(days)) if days > 0 => Ok(Duration::from_secs(u64::from(days) * 86_400)),
        _ => duration(text).map_err(|_| "not a duration such as 7d or 12h".to_owned()),
    }
}

impl DiscoveryArgs {
    /// Returns whether engines are to be found in any case.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.discover || self.activate
    }
}

impl EngineArgs {
    /// Returns the containerd namespaces to ignore; `None` for the default.
    pub(crate) fn ignored_namespaces(&self) -> Option<&[String]> {
        (self.all_namespaces || !self.ignored.is_empty()).then_some(&self.ignored)
    }
}
