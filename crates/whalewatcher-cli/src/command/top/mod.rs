//! `whalewatcher top`: a live table on the terminal.
//!
//! The subscription is read in the thread of the watch. Another thread draws what is known at that moment, so
//! a slow terminal delays nothing.

mod model;
mod screen;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::future::pending;
use std::io::{IsTerminal, stdin, stdout};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use anyhow::{anyhow, bail};
use rustix::io::Errno;
use tokio::sync::oneshot;
use whalewatcher_core::fleet::FleetSubscription;
use whalewatcher_core::history::History;
use whalewatcher_core::{EngineKey, EventKind, Fleet, Watcher};
use whalewatcher_discover::{FindingsFollower, discover};

use self::model::Choice;
use self::screen::{Known, Wake, lock};
use crate::advice::explain_finding;
use crate::args::{CrashLoops, TopArgs};
use crate::changes::until;
use crate::hosts::{Hosts, hosts, join};
use crate::journal::{JournalFile, Recorder};
use crate::output::reader_gone;
use crate::selection::Selection;
use crate::statuses::Statuses;
use crate::thread::spawn_detached;

/// Shows the live containers until the user quits.
pub(crate) async fn top(fleet: &Arc<Fleet>, args: TopArgs) -> anyhow::Result<()> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        bail!("'top' needs a terminal; 'whalewatcher watch' prints changes to anything");
    }
    let selection = Selection::new(&args.selection.names, &args.selection.filters)?;
    let loops = args.crash_loops.settings();
    let known = Known { history: History::new(loops.clone()), ..Known::default() };
    let (known, (wake, wakes)) = (Arc::new(Mutex::new(known)), sync_channel(screen::QUEUE));
    let (alive, changes) = fleet.subscribe();
    let statuses = Statuses::default();
    alive.members().for_each(|member| statuses.follow(&**member.watcher()));
    lock(&known).moment.alive = alive;
    let mut hubs = Vec::new();
    let discovery = match selection.restrict(hosts(&args.engines)?)? {
        Hosts::Named(clients, clusters, settings) => {
            join(fleet, clients, &settings)?;
            hubs.extend(clusters.iter().map(|cluster| cluster.join(fleet, &settings)));
            None
        }
        Hosts::Found(found) => Some(discover(fleet, found.into_options())),
    };
    let noting = {
        let (known, wake) = (known.clone(), wake.clone());
        Arc::new(move |note| {
            lock(&known).moment.own_note = Some(note);
            screen::changed(&wake);
        })
    };
    let journal = args.journal.journal.as_deref().map(JournalFile::open).transpose()?;
    let _recorder = journal.map(|file| Recorder::start(file, fleet, loops.clone(), noting)).transpose()?;
    screen::spawn_inputs(&wake)?;
    let gone = reader_gone()?;
    let (screen, _guard) = terminal::take()?;
    let (done, ended) = oneshot::channel();
    let shown = known.clone();
    let choice = Choice { selection, loops: CrashLoops::of(&loops), ..Choice::default() };
    spawn_detached("screen", move || {
        let _ = done.send(screen::run(screen, &wakes, &shown, choice));
    })?;
    let findings = discovery.as_ref().map(|discovery| discovery.follow_findings());
    tokio::select! {
        ended = ended => match ended {
            // The other end of the terminal is closed.
            Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Ok(()),
            Ok(result) => Ok(result?),
            Err(_) => Err(anyhow!("the thread that draws failed")),
        },
        () = follow(fleet, changes, statuses, &known, &wake) => Err(anyhow!("the watch ended by itself")),
        () = follow_findings(findings, &known, &wake) => Ok(()),
        () = gone => Ok(()),
    }
}

/// Folds the events, and looks at what the engines cannot report.
async fn follow(
    fleet: &Fleet,
    mut changes: FleetSubscription,
    mut statuses: Statuses,
    known: &Mutex<Known>,
    wake: &SyncSender<Wake>,
) {
    loop {
        let timeout = until(lock(known).history.timeout());
        let change = tokio::select! {
            biased;
            change = changes.next() => change,
            () = statuses.changed() => {
                lock(known).moment.missing = all_missing(fleet);
                screen::changed(wake);
                continue;
            }
            () = timeout => {
                lock(known).history.handle_timeout(SystemTime::now());
                screen::changed(wake);
                continue;
            }
        };
        let Some(change) = change else { return };
        let is_joining = matches!(change.event.kind, EventKind::Joined);
        if is_joining {
            statuses.follow(&*change.watcher);
        }
        {
            let mut known = lock(known);
            if is_joining {
                // It may have changed before it was followed.
                known.moment.missing = all_missing(fleet);
            }
            known.moment.alive.apply(&change);
            known.history.handle_event(&change.key, &change.event, SystemTime::now());
            // The table shows loops as they are.
            while known.history.poll_event().is_some() {}
        }
        screen::changed(wake);
    }
}

/// Returns what is not known of the engines.
fn all_missing(fleet: &Fleet) -> BTreeMap<EngineKey, String> {
    let all = fleet.watchers();
    all.iter().filter_map(|watcher| Some((watcher.key(), missing(&**watcher)?))).collect()
}

/// Returns what is not known of an engine, in a few words.
fn missing(watcher: &dyn Watcher) -> Option<String> {
    let status = watcher.status();
    if let Some(first) = status.unresolved.containers().first() {
        let name = first.name.as_deref().unwrap_or(first.id.as_str());
        return Some(format!(
            "{} cannot be inspected ('{name}': {})",
            status.unresolved.total(),
            first.error
        ));
    }
    let scope = status.unlisted.first()?;
    Some(format!("'{}' cannot be listed: {}", scope.scope, scope.error))
}

/// Shows the engines that were found and are not watched.
async fn follow_findings(findings: Option<FindingsFollower>, known: &Mutex<Known>, wake: &SyncSender<Wake>) {
    let Some(mut findings) = findings else { return pending().await };
    while let Some(found) = findings.changed().await {
        lock(known).moment.findings = found.iter().map(explain_finding).collect();
        screen::changed(wake);
    }
    pending::<()>().await;
}
