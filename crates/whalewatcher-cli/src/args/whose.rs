//! The arguments of `whose`.

use clap::Args;

use super::{EngineArgs, Format};

const EXAMPLES: &str = "\
Examples:
  whalewatcher whose 4711
  whalewatcher whose $(pgrep nginx)
  whalewatcher ps -o wide $(whalewatcher whose -q 4711)
  whalewatcher whose 4711 -o json | jq -r '.[].container.name'

A process that belongs to no known container has the name '-', and no 'container' in JSON. containerd's namespaces 'moby' and \
    'k8s.io' are not searched without --all-namespaces. With several hosts, the table names the host of each container.

Exits with status 1 if there is no such process, or if an engine or a container cannot be queried; prints what is known.";

/// Which processes to look up, and how to print them.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WhoseArgs {
    /// PID of a process, as this host's /proc names it; can be repeated
    #[arg(required = true, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub(crate) pids: Vec<u32>,
    #[command(flatten)]
    pub(crate) engines: EngineArgs,
    /// Output format
    #[arg(short = 'o', long = "output", visible_alias = "format", value_enum, value_name = "FORMAT", default_value_t = Format::Text, help_heading = "Output")]
    pub(crate) format: Format,
    /// Print only the IDs of the containers, each once
    #[arg(short, long, conflicts_with = "format", help_heading = "Output")]
    pub(crate) quiet: bool,
}
