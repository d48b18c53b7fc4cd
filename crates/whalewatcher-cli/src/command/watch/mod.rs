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
use whalewatcher_core::Fleet;

use self::exec::Executor;
use self::printer::EventPrinter;
use super::following::{Following, follow as follow_engines};
use crate::args::FollowArgs;
use crate::changes::Changes;
use crate::hosts::Hosts;
use crate::journal::{JournalFile, Recorder};
use crate::notes::{Notes, note_beside};
use crate::output::{Output, reader_gone};
use crate::selection::Selection;

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
    let Following { named, warnings, discovery: _discovery, hubs: _hubs } =
        follow_engines(fleet, hosts, &selection)?;
    let loops = follow.crash_loops.settings();
    let (alive, changes) = Changes::subscribe(fleet, loops.clone());
    let mut executor = follow.exec.clone().map(|command| {
        let changes = Changes::subscribe(fleet, loops.clone()).1;
        Executor::new(command, selection.clone(), changes, commands.clone())
    });
    let journal = follow.journal.journal.as_deref().map(JournalFile::open).transpose()?;
    let recorder =
        journal.map(|file| Recorder::start(file, fleet, loops, Arc::new(note_beside))).transpose()?;
    let limit = follow.limit;
    let time_limit = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => pending().await,
        }
    };
    let printer = EventPrinter::new(selection, follow, named, notes, alive, warnings);
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
