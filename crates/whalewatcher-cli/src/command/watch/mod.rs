//! `whalewatcher watch`: what is alive, then every change.

mod beginning;
pub(crate) mod exec;
mod printer;
mod queue;

use std::future::pending;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use whalewatcher_core::{Fleet, Settings};
use whalewatcher_discover::discover;

use self::exec::Executor;
use self::printer::EventPrinter;
use crate::args::{FollowArgs, wrong};
use crate::changes::Changes;
use crate::hosts::{Hosts, join};
use crate::journal::{JournalFile, Recorder};
use crate::notes::{Notes, note_beside};
use crate::output::{Output, reader_gone};
use crate::selection::Selection;
use crate::warnings::{spawn_findings, spawn_warnings};

/// Watches the engines and prints their events, until the time limit or one of the awaited events.
pub(crate) async fn watch(
    fleet: &Arc<Fleet>,
    hosts: Hosts,
    selection: Selection,
    follow: FollowArgs,
    output: &Output,
    notes: Notes,
    commands: &TaskTracker,
) -> anyhow::Result<()> {
    let warnings = spawn_warnings()?;
    let (named, found) = match hosts {
        Hosts::Named(clients) => (join(fleet, clients, &Settings::default())?, None),
        Hosts::Found(options) => (Vec::new(), Some(options)),
    };
    let named: Vec<_> = named.into_iter().filter(|watcher| selection.concerns(&**watcher)).collect();
    if named.is_empty() && found.is_none() {
        return Err(wrong("--engine selects none of the engines of --host and --context"));
    }
    let count = found.is_none().then_some(named.len());
    named.into_iter().for_each(|watcher| warnings.warn_of(watcher));
    let (alive, changes) = Changes::subscribe(fleet);
    let mut executor = follow
        .exec
        .clone()
        .map(|command| Executor::new(command, selection.clone(), fleet.subscribe().1, commands.clone()));
    let journal = follow.journal.journal.as_deref().map(JournalFile::open).transpose()?;
    let recorder = journal.map(|file| Recorder::start(file, fleet, Arc::new(note_beside))).transpose()?;
    let discovery = found.map(|options| discover(fleet, *options));
    if let Some(discovery) = &discovery {
        spawn_findings(discovery.follow_findings(), Arc::downgrade(fleet))?;
    }
    let limit = follow.limit;
    let time_limit = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => pending().await,
        }
    };
    let printer = EventPrinter::new(selection, follow, count, notes, alive, warnings);
    let runtime = Handle::current();
    let gone = reader_gone()?;
    let executing = async {
        if let Some(executor) = &mut executor {
            executor.run().await;
        }
        pending::<()>().await;
    };
    let written = output.write(move |writer| printer.write_all(changes, writer, &runtime));
    let watched = tokio::select! {
        written = written => {
            // The awaited event has commands too, and so have those before it.
            if let (Some(revision), Some(executor)) = (written?, &mut executor) {
                let _ = timeout(exec::END_LIMIT, executor.run_until(revision)).await;
            }
            Ok(())
        }
        () = gone => Ok(()),
        () = time_limit => Ok(()),
        () = executing => Ok(()),
    };
    if let Some(recorder) = recorder {
        recorder.finish(fleet.portfolio().revision()).await;
    }
    watched
}
