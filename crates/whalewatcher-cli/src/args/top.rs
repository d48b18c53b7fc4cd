//! The arguments of `top`.

use clap::Args;

use super::{CrashLoopArgs, EngineArgs, JournalArgs, SelectionArgs};

const EXAMPLES: &str = "\
Examples:
  whalewatcher top
  whalewatcher top --project shop
  whalewatcher top --host unix:///run/docker.sock --journal shop.journal

The key ? shows the keys. There are no figures of CPU or memory: engines do \
    not report them with their containers.

Exits with status 0 at q, Ctrl-C or SIGTERM.";

/// What to show.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) engines: EngineArgs,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    #[command(flatten)]
    pub(crate) crash_loops: CrashLoopArgs,
}
