//! The arguments of `demo`.

use clap::Args;

use super::FollowArgs;

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
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}
