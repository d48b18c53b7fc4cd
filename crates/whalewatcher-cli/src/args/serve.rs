//! The arguments of `serve`.

use std::path::PathBuf;

use clap::Args;

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

    #[command(flatten)]
    pub(crate) crash_loops: CrashLoopArgs,
}
