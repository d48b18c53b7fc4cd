//! How a command prints.

use clap::{Args, ValueEnum};

use crate::render::column::Column;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables and lines for people, with colour on a terminal
    #[value(alias = "table")]
    Text,
    /// JSON array, for programs
    Json,
}

/// How containers are listed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct ShapeArgs {
    /// Output format
    #[arg(short = 'o', long = "output", visible_alias = "format", value_enum, value_name = "FORMAT", default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,

    /// Print only IDs, one per line
    #[arg(short, long, conflicts_with_all = ["format", "columns", "no_header"])]
    pub(crate) quiet: bool,

    /// With --quiet, print PIDs instead of IDs: those of this host, where they are known
    #[arg(long, requires = "quiet")]
    pub(crate) pids: bool,

    /// Print IDs, names and images in full
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// Columns of the table, separated by commas; there is one table for all engines then
    #[arg(long, value_enum, ignore_case = true, value_delimiter = ',', value_name = "COLUMN,...")]
    pub(crate) columns: Vec<Column>,

    /// Sort by this column, for all engines and projects together
    #[arg(long, value_enum, ignore_case = true, value_name = "COLUMN", hide_possible_values = true)]
    pub(crate) sort: Option<Column>,

    /// Print one table for all engines, without headings
    #[arg(long, visible_alias = "no-headers")]
    pub(crate) no_header: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// Table that fits the terminal
    #[value(alias = "text")]
    Table,
    /// Table with status and ports, whatever the terminal's width is
    Wide,
    /// One JSON array, for programs
    Json,
    /// Only names, one per line
    Name,
}
