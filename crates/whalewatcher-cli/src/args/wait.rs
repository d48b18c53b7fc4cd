//! The arguments of `wait`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{EngineArgs, FilterArgs, duration};

const EXAMPLES: &str = "\
Examples:
  whalewatcher wait job --exit-code
  whalewatcher wait db cache --for healthy --timeout 60s
  whalewatcher wait 'shop-*' --for gone
  whalewatcher wait blue green --for started --any -q

Each NAME is awaited once: they need not be in that state at the same time.
With wildcards, 'exited' and 'healthy' are about all containers that match.

Exit status: 0 when it happened, 124 at the time limit, 2 for wrong usage, and
130 or 143 at Ctrl-C or SIGTERM. With --exit-code that of the container: of
several the first that is not 0, and 125 if the engine does not report it.";

/// What to wait for.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WaitArgs {
    /// Containers: names, which may contain the wildcards *, ? and [...], or IDs or their first characters
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// What to wait for
    #[arg(long = "for", value_enum, value_name = "STATE", default_value_t = State::Exited)]
    pub(crate) state: State,

    /// Wait for one NAME only
    #[arg(long)]
    pub(crate) any: bool,

    /// Wait for each NAME; the default
    #[arg(long, conflicts_with = "any")]
    pub(crate) all: bool,

    /// Give up after this time, such as 20s, 2m or 1h30m, with status 124
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    /// Exit with the container's exit code
    #[arg(long)]
    pub(crate) exit_code: bool,

    /// Print nothing on the standard output
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) filters: FilterArgs,

    #[command(flatten)]
    pub(crate) engines: EngineArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// Alive, already or later
    Started,
    /// Has exited since the program began to wait
    Exited,
    /// Alive, and its healthcheck says so
    Healthy,
    /// Not alive, which has to be known for certain
    Gone,
}
