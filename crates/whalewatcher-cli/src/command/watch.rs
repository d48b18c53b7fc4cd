//! `whalewatcher watch`: what is alive, then every change, until somebody ends it.

use std::collections::HashMap;
use std::io::Write;

use anyhow::{anyhow, bail};
use futures_util::future::FutureExt;
use tokio::runtime::Handle;
use whalewatcher_core::fleet::FleetSubscription;
use whalewatcher_core::{Event, EventKind, Fleet, Phase, Portfolio, Watcher};

use crate::advice::{advised, place};
use crate::args::{self, Format};
use crate::filter::Scope;
use crate::hosts::Host;
use crate::notes::Notes;
use crate::output::{Output, Writer, reader_gone};
use crate::render::json;
use crate::render::style::Terminal;
use crate::render::text::{Headlines, View};
use crate::warnings::complain;

/// Watches all members of the fleet, which must only just have been added: it shows what happens from its call on.
pub(crate) async fn watch(
    fleet: &Fleet,
    hosts: Vec<Host>,
    view: args::View,
    output: &Output,
    notes: Notes,
) -> anyhow::Result<()> {
    let (_, changes) = fleet.subscribe();
    complain(fleet.watchers())?;
    let story = Story::new(view, hosts, notes);
    let runtime = Handle::current();
    let gone = reader_gone()?;
    let written = output.write(move |writer| story.write_all(changes, writer, &runtime));
    tokio::select! {
        written = written => written,
        () = gone => Ok(()),
    }
}

/// What was written so far, and how to write the rest.
struct Story {
    scope: Scope,
    /// `None`: JSON.
    people: Option<View>,
    /// By place.
    engines: HashMap<String, Engine>,
    /// By place.
    hosts: HashMap<String, Host>,
    notes: Notes,
}

/// What was written of one engine.
#[derive(Default)]
struct Engine {
    picture: Portfolio,
    /// An attempt to connect has succeeded or failed.
    tried: bool,
    /// It cannot be watched as it is; it is tried again all the same, unless its watch has ended.
    failed: bool,
    /// The standard error has the reason why it is waited for.
    awaited: bool,
    /// What is alive has been shown.
    shown: bool,
    /// What its empty picture leaves out was looked for.
    noted: bool,
}

impl Story {
    fn new(view: args::View, hosts: Vec<Host>, notes: Notes) -> Self {
        let scope = Scope::new(view.project);
        let headlines = if hosts.len() > 1 { Headlines::Numbered } else { Headlines::No };
        let people = || View::new(Terminal::of_stdout(), scope.clone(), headlines);
        let people = (view.format == Format::Text).then(people);
        let hosts = hosts.into_iter().map(|host| (place(&*host.watcher), host)).collect();
        Self { scope, people, engines: HashMap::new(), hosts, notes }
    }

    /// Writes events as they come, each at once, and all notes: blocks this thread, until the output has ended.
    fn write_all(
        mut self,
        changes: FleetSubscription,
        writer: &mut Writer,
        runtime: &Handle,
    ) -> anyhow::Result<()> {
        let followed = self.follow(changes, writer, runtime);
        let flushed = writer.flush();
        // They come before the reason why it ends.
        self.notes.finish();
        followed.and(flushed.map_err(Into::into))
    }

    fn follow(
        &mut self,
        mut changes: FleetSubscription,
        writer: &mut Writer,
        runtime: &Handle,
    ) -> anyhow::Result<()> {
        loop {
            let next = match changes.next().now_or_never() {
                Some(next) => next,
                None => {
                    writer.flush()?;
                    runtime.block_on(changes.next())
                }
            };
            let Some((watcher, event)) = next else { bail!("the watch ended by itself") };
            if !writer.begin() {
                return Ok(());
            }
            self.write(writer, &*watcher, &event)?;
        }
    }

    /// Writes what this event means; an error if no engine can be watched any more.
    fn write(&mut self, writer: &mut Writer, watcher: &dyn Watcher, event: &Event) -> anyhow::Result<()> {
        let engine = self.engines.entry(place(watcher)).or_default();
        let is_first = !std::mem::replace(&mut engine.tried, true);
        let is_shown = self.scope.shows(event, &engine.picture);
        let before = event.container().and_then(|it| engine.picture.by_id(it.id())).map(|known| &**known);
        match &mut self.people {
            None if is_shown => json::write_event(writer, watcher, event, before)?,
            None => {}
            Some(people) => {
                let was_shown = engine.shown;
                let status = watcher.status();
                let is_synced = match event.kind {
                    EventKind::Synced { .. } => true,
                    // The event of that is among those that were missed.
                    EventKind::Lagged { .. } => status.is_live(),
                    // It will not be all for a while.
                    _ => !status.unlisted.is_empty(),
                };
                if is_synced && !was_shown {
                    // The events so far add up to the picture.
                    let complete =
                        status.is_live() && status.unresolved.is_empty() && status.unlisted.is_empty();
                    let picture = people.picture(watcher, &engine.picture, complete, event.time);
                    writer.write_all(picture.as_bytes())?;
                    engine.shown = true;
                }
                let is_all = !was_shown && matches!(event.kind, EventKind::Synced { .. });
                if engine.shown && is_shown && !is_all {
                    writer.write_all(people.event(watcher, event, before).as_bytes())?;
                }
            }
        }
        engine.picture.apply(&event.kind);
        match &event.kind {
            EventKind::Synced { .. } => {
                (engine.failed, engine.awaited) = (false, false);
                if engine.picture.is_empty()
                    && !std::mem::replace(&mut engine.noted, true)
                    && let Some(left_out) = self.hosts.get(&place(watcher)).and_then(Host::left_out)
                {
                    self.notes.note(left_out);
                }
            }
            EventKind::Disconnected { error } => {
                let has_ended = matches!(
                    watcher.status().phase,
                    Phase::Failed { .. }
                        | Phase::Refused { .. }
                        | Phase::Panicked { .. }
                        | Phase::Cancelled
                        | Phase::Closed
                );
                let advised = advised(watcher, error);
                if has_ended || is_first && !error.is_transient() {
                    engine.failed = true;
                    if self.engines.values().filter(|engine| engine.failed).count() == self.hosts.len() {
                        return Err(anyhow!(advised));
                    }
                    self.notes.note(format!("going on without this engine: {advised}"));
                } else if self.people.is_some() && !engine.shown && !engine.awaited {
                    engine.awaited = true;
                    self.notes.note(format!("waiting for the engine: {advised}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
