//! How `watch`, `events` and `demo` follow changes.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{CrashLoopArgs, JournalArgs, SelectionArgs, Until, duration};

/// Which changes to follow, until when, and what to do with them.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct FollowArgs {
    /// Output format
    #[arg(short = 'o', long = "output", visible_alias = "format", value_enum, value_name = "FORMAT", default_value_t = EventFormat::Text)]
    pub(crate) format: EventFormat,

    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    /// Show only what changes, not what is alive already
    #[arg(long)]
    pub(crate) only_changes: bool,

    /// Exit after this time, such as 20s, 2m or 1h30m [default: at Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) limit: Option<Duration>,

    /// Exit when this happens: 'NAME EVENT', such as 'web exited', or 'EVENT'; can be repeated
    ///
    /// Events are started, exited, paused, unpaused, updated, moved and crash_loop of a container, and
    /// synced, disconnected, lagged, joined and left of an engine. What is alive already when an engine is
    /// first listed has not started; 'whalewatcher wait' counts that too.
    #[arg(long, value_name = "WHAT")]
    pub(crate) until: Vec<Until>,

    /// Run this command with 'sh -c' for each change of a container
    ///
    /// The event is in WHALEWATCHER_EVENT, _TIME, _ID, _NAME, _PID, _PROJECT, _POD, _IMAGE, _HEALTH,
    /// _EXIT_CODE, _ENGINE and _HOST, as far as it is known, and as a JSON object on the standard input. Up
    /// to eight commands run at once, and those of one container one after the other.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) exec: Option<String>,

    #[command(flatten)]
    pub(crate) journal: JournalArgs,

    #[command(flatten)]
    pub(crate) crash_loops: CrashLoopArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventFormat {
    /// A table, then a line per event, for people, with colour on a terminal
    #[value(alias = "table")]
    Text,
    /// One event per line, for programs
    Json,
    /// The lines of 'docker events --format json'; implies --only-changes
    Docker,
}
