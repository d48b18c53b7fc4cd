//! The arguments of `serve`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{CrashLoopArgs, EngineArgs};

const EXAMPLES: &str = "\
Examples:
  whalewatcher serve
  curl --unix-socket /run/whalewatcher.sock http://localhost/v1/containers
  curl -N --unix-socket /run/whalewatcher.sock http://localhost/v1/events
  whalewatcher serve --sd-file /etc/prometheus/targets/containers.json

The answers have the shape of 'ps -o json' and 'watch -o json'; docs/serve.md has all of them.

Exits with status 0 at Ctrl-C or SIGTERM, after the streams are ended. Waits for engines that cannot be reached.";

/// What to serve, and where.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) engines: EngineArgs,

    /// Unix socket to listen at: its user and group may connect
    #[arg(long, value_name = "PATH", default_value = "/run/whalewatcher.sock", help_heading = "Server")]
    pub(crate) socket: PathBuf,

    /// File to keep up to date with targets for Prometheus (file_sd_configs)
    ///
    /// It is replaced as a whole, in its folder, whenever the targets change. They are those of /v1/sd/prometheus.
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    pub(crate) sd_file: Option<PathBuf>,

    /// What /metrics has of each container
    ///
    /// A series for each name or ID of a container costs Prometheus memory, also after the container is gone.
    #[arg(long, value_name = "LABEL", value_enum, default_value_t, help_heading = "Server")]
    pub(crate) metrics_containers: ContainerMetrics,

    #[command(flatten)]
    pub(crate) crash_loops: CrashLoopArgs,
}

/// Which metrics there are of each container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ContainerMetrics {
    /// Nothing
    None,
    /// Image and start time, with the name
    #[default]
    Name,
    /// The same, with the ID too
    Id,
}
