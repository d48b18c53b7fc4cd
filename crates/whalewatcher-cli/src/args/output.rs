//! What a command shows, and how.

use clap::{Args, ValueEnum};

use super::SelectionArgs;

/// What to show, and how.
#[derive(Args)]
pub(crate) struct ViewArgs {
    /// Output format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    pub(crate) format: Format,

    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables and lines for people, with colour on a terminal
    Text,
    /// JSON for programs: an array of containers for 'ps', of processes for 'whose', else one event per line
    Json,
}
