//! `whalewatcher watch`: what is alive, then every change.

mod printer;

use std::sync::Arc;

use tokio::runtime::Handle;
use whalewatcher_core::{Fleet, Settings};
use whalewatcher_discover::discover;

use self::printer::EventPrinter;
use crate::args::ViewArgs;
use crate::hosts::{Hosts, join};
use crate::notes::Notes;
use crate::output::{Output, reader_gone};
use crate::warnings::{spawn_findings, spawn_warnings};

/// Watches the engines and prints their events.
pub(crate) async fn watch(
    fleet: &Arc<Fleet>,
    hosts: Hosts,
    view: ViewArgs,
    output: &Output,
    notes: Notes,
) -> anyhow::Result<()> {
    let warnings = spawn_warnings()?;
    let (named, found) = match hosts {
        Hosts::Named(clients) => (join(fleet, clients, &Settings::default())?, None),
        Hosts::Found(options) => (Vec::new(), Some(options)),
    };
    let count = found.is_none().then_some(named.len());
    named.into_iter().for_each(|watcher| warnings.warn_of(watcher));
    let (alive, changes) = fleet.subscribe();
    let discovery = found.map(|options| discover(fleet, *options));
    if let Some(discovery) = &discovery {
        spawn_findings(discovery.follow_findings(), Arc::downgrade(fleet))?;
    }
    let printer = EventPrinter::new(view, count, notes, alive, warnings);
    let runtime = Handle::current();
    let gone = reader_gone()?;
    let written = output.write(move |writer| printer.write_all(changes, writer, &runtime));
    tokio::select! {
        written = written => written,
        () = gone => Ok(()),
    }
}
