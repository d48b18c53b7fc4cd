//! The arguments of `watch` and `events`.

use clap::Args;

use super::{EngineArgs, FollowArgs};

const WATCH_EXAMPLES: &str = "\
Examples:
  whalewatcher watch
  whalewatcher watch --project shop
  whalewatcher watch 'web-*' --filter health=unhealthy
  whalewatcher watch --discover
  whalewatcher watch --until 'web exited' --for 5m
  whalewatcher watch --exec 'logger \"$WHALEWATCHER_NAME $WHALEWATCHER_EVENT\"'
  whalewatcher watch -H unix:///run/docker.sock -H tcp://127.0.0.1:2375
  whalewatcher watch -o json | jq -r 'select(.event == \"exited\").container.name'

Without --host, all engines of this host are watched, also those that start later, unless Docker's tools are set to one.

Exits with status 0 at Ctrl-C or SIGTERM. Waits for engines that cannot be reached. Hosts that cannot be watched are reported \
    on the standard error while the others are watched.";

const EVENTS_EXAMPLES: &str = "\
Examples:
  whalewatcher events
  whalewatcher events --format docker
  whalewatcher events --format json | jq -r '[.event, .container.name] | @tsv'

This is 'whalewatcher watch --only-changes', with the same options.";

/// What to watch, and how to print it.
#[derive(Args)]
#[command(after_help = WATCH_EXAMPLES)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) engines: EngineArgs,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

/// The same without the table.
#[derive(Args)]
#[command(after_help = EVENTS_EXAMPLES)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) engines: EngineArgs,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}
