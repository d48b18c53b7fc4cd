//! The arguments about the journal: where it is written, and what `log` shows of it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Format, duration};

/// Where to record events.
#[derive(Args, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct JournalArgs {
    /// Append the events to this file, for 'whalewatcher log'
    ///
    /// Two files of up to 16 MiB are kept: this one, and the one before with '.1' at its end. Only one
    /// program can write a journal.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  whalewatcher watch --journal /var/log/whalewatcher.journal > /dev/null &
  whalewatcher log --journal /var/log/whalewatcher.journal
  whalewatcher log --journal /var/log/whalewatcher.journal --since 2h web
  whalewatcher log -o json | jq -r 'select(.event == \"exited\").exit_code'

Shows starts, exits, changes of health and crash loops, and when nothing was \
    recorded because no watch with --journal ran.

Exits with status 1 if there is no journal, or if it has nothing of any NAME.";

/// What to show of a journal.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LogArgs {
    /// Show only these containers: names, which may contain the wildcards *, ? and [...], or IDs or their
    /// first characters
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// Journal to read, as 'watch --journal' or 'top --journal' wrote it
    #[arg(long, value_name = "FILE", env = "WHALEWATCHER_JOURNAL")]
    pub(crate) journal: PathBuf,

    /// Show only the last part, such as 20s, 2h or 1h30m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) since: Option<Duration>,

    /// Output format
    #[arg(short = 'o', long = "output", visible_alias = "format", value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    pub(crate) format: Format,
}
