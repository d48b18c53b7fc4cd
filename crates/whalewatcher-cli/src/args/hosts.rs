//! The arguments of `hosts` and `fleet`.

use clap::{Args, Subcommand};

use super::{EngineArgs, Format};

const EXAMPLES: &str = "\
Examples:
  whalewatcher hosts --host etcd://one,two,three
  whalewatcher hosts --host etcd://one -o json | jq -r '.[] | select(.published | not).name'

'since' is when the agent began to publish, by the clock of its host. The last word is the newest time in what was published; an agent \
    that publishes renews its claim all the time.

Exits with status 1 if etcd cannot be read.";

/// Of `fleet`.
pub(super) const FLEET_EXAMPLES: &str = "\
Examples:
  whalewatcher fleet forget 4f0c2d8e91b7a365 --host etcd://one,two,three

A host that is down stays, with its last known containers, until it publishes again or is forgotten.";

/// Where hosts publish, and how to print them.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HostsArgs {
    #[command(flatten)]
    pub(crate) engines: EngineArgs,
    /// Output format
    #[arg(short = 'o', long = "output", visible_alias = "format", value_enum, value_name = "FORMAT", default_value_t = Format::Text, help_heading = "Output")]
    pub(crate) format: Format,
}

/// What to do with what hosts have published.
#[derive(Subcommand)]
pub(crate) enum FleetCommand {
    /// Delete all that a host has published, so that it is shown nowhere
    ///
    /// Refused while an agent publishes for the host.
    Forget(ForgetArgs),
}

/// Which host to forget, and where it has published.
#[derive(Args)]
pub(crate) struct ForgetArgs {
    /// ID of the host, as 'whalewatcher hosts' shows it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) engines: EngineArgs,
}
