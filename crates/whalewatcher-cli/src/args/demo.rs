//! The arguments of `demo`.

use std::time::Duration;

use clap::Args;

use super::{ViewArgs, duration};

const EXAMPLES: &str = "\
Examples:
  whalewatcher demo
  whalewatcher demo --for 20s
  whalewatcher demo --for 1m -o json

The demo engine serves Docker's API on a private socket, which other programs can use while it runs.";

/// How long the demo lasts, and how to print it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Exit after this time, such as 20s, 2m or 1h30m [default: at Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) limit: Option<Duration>,
    #[command(flatten)]
    pub(crate) view: ViewArgs,
}
