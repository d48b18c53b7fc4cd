//! The printer of events, which runs in the thread of the output.

use std::collections::HashMap;
use std::io::Write;

use anyhow::bail;
use futures_util::future::FutureExt;
use tokio::runtime::Handle;
use whalewatcher_core::fleet::{FleetEvent, FleetPortfolio};
use whalewatcher_core::{EngineKey, Event, EventKind, Portfolio, Watcher};

use super::super::following::{Outage, Outages};
use super::beginning::Beginnings;
use crate::args::{EventFormat, FollowArgs, Until};
use crate::changes::Changes;
use crate::hosts::ignored_namespaces;
use crate::notes::Notes;
use crate::output::Writer;
use crate::render::style::Terminal;
use crate::render::text::{Headlines, TextView};
use crate::render::{docker, json};
use crate::selection::Selection;
use crate::warnings::Warned;

/// Prints the events of all engines.
pub(super) struct EventPrinter {
    selection: Selection,
    format: EventFormat,
    /// `None` for other formats.
    text: Option<TextView>,
    only_changes: bool,
    beginnings: Beginnings,
    /// Events that end the output.
    until: Vec<Until>,
    /// The sum of the events so far.
    alive: FleetPortfolio,
    engines: HashMap<EngineKey, Engine>,
    outages: Outages,
    notes: Notes,
    /// Where engines go that are to be warned about.
    warnings: Warned,
}

/// The state of the output of one engine.
#[derive(Default)]
struct Engine {
    /// The note that this engine is waited for has been printed.
    wait_noted: bool,
    /// The table has been printed.
    table_shown: bool,
    /// The note about ignored namespaces has been printed, or there was nothing to note.
    ignored_noted: bool,
}

impl EventPrinter {
    pub(super) fn new(
        selection: Selection,
        follow: FollowArgs,
        named: Option<usize>,
        notes: Notes,
        alive: FleetPortfolio,
        warnings: Warned,
    ) -> Self {
        let headlines =
            if named.is_some_and(|named| named > 1) { Headlines::Numbered } else { Headlines::No };
        let text = || TextView::new(Terminal::of_stdout(), selection.clone(), headlines);
        let text = (follow.format == EventFormat::Text).then(text);
        Self {
            selection,
            format: follow.format,
            text,
            only_changes: follow.only_changes || follow.format == EventFormat::Docker,
            beginnings: Beginnings::default(),
            until: follow.until,
            alive,
            engines: HashMap::new(),
            outages: Outages::new(named),
            notes,
            warnings,
        }
    }

    /// Writes each event at once, and all notes. Blocks this thread until the output has ended, or an awaited
    /// event has been written, whose revision it returns.
    pub(super) fn write_all(
        mut self,
        changes: Changes,
        writer: &mut Writer,
        runtime: &Handle,
    ) -> anyhow::Result<Option<u64>> {
        let followed = self.follow(changes, writer, runtime);
        let flushed = writer.flush();
        // All notes are printed before the error with which the program ends.
        self.notes.finish();
        followed.and_then(|until| flushed.map(|()| until).map_err(Into::into))
    }

    fn follow(
        &mut self,
        mut changes: Changes,
        writer: &mut Writer,
        runtime: &Handle,
    ) -> anyhow::Result<Option<u64>> {
        // Polling the changes may start a timer.
        let _context = runtime.enter();
        loop {
            let next = match changes.next().now_or_never() {
                Some(next) => next,
                None => {
                    writer.flush()?;
                    runtime.block_on(changes.next())
                }
            };
            let Some(change) = next else { bail!("the watch ended by itself") };
            if !writer.begin() {
                return Ok(None);
            }
            if self.handle(writer, &change)? {
                return Ok(Some(change.revision));
            }
        }
    }

    /// Writes an event, and the note that follows from it. Returns whether it is one of the awaited ones.
    ///
    /// # Errors
    ///
    /// Fails if writing does, or if no engine can be watched any more.
    fn handle(&mut self, writer: &mut Writer, change: &FleetEvent) -> anyhow::Result<bool> {
        let FleetEvent { key, watcher, event, .. } = change;
        let watcher = &**watcher;
        if !self.selection.concerns(watcher) {
            self.alive.apply(change);
            return Ok(false);
        }
        if let EventKind::Joined = event.kind {
            self.begin(writer, change)?;
        }
        let engine = self.engines.entry(key.clone()).or_default();
        let is_change = self.beginnings.is_change(change);
        let is_selected = self.selection.shows(watcher, event);
        let is_shown = is_selected && (is_change || !self.only_changes);
        match &mut self.text {
            Some(text) if self.only_changes => {
                // The first `synced` and what precedes it belong to the table, which is left out.
                let is_first_sync = matches!(event.kind, EventKind::Synced { .. }) && !engine.table_shown;
                engine.table_shown |= is_first_sync;
                if is_shown && !is_first_sync && (engine.table_shown || event.container().is_some()) {
                    writer.write_all(text.event(watcher, event).as_bytes())?;
                }
            }
            Some(text) => {
                let alive =
                    self.alive.member(key).map(|member| member.portfolio().clone()).unwrap_or_default();
                write_text(writer, text, engine, (watcher, &alive), event, is_shown)?;
            }
            None if !is_shown => {}
            None if self.format == EventFormat::Docker => docker::write_event(writer, event)?,
            None => json::write_event(writer, watcher, event)?,
        }
        self.alive.apply(change);
        match &event.kind {
            EventKind::Synced { .. } => {
                engine.wait_noted = false;
                self.note_ignored_namespaces(key, watcher);
            }
            EventKind::Lagged { missed } if self.format == EventFormat::Docker => {
                self.notes.note(format!("missed {missed} events; what they changed follows"));
            }
            EventKind::Left => drop(self.engines.remove(key)),
            _ => {}
        }
        match self.outages.handle(change)? {
            Some(Outage::GoingOn(reason)) => self.notes.note(reason),
            Some(Outage::Waiting(reason)) => {
                let engine = self.engines.entry(key.clone()).or_default();
                let is_noted = match self.format {
                    EventFormat::Text => {
                        !engine.table_shown && !std::mem::replace(&mut engine.wait_noted, true)
                    }
                    EventFormat::Json => false,
                    // Its lines contain no outages.
                    EventFormat::Docker => true,
                };
                if is_noted {
                    self.notes.note(reason);
                }
            }
            None => {}
        }
        Ok(is_change && is_selected && self.until.iter().any(|until| until.matches(event)))
    }

    /// Begins with an engine that joined: from the second one on, engines are numbered.
    fn begin(&mut self, writer: &mut Writer, joined: &FleetEvent) -> anyhow::Result<()> {
        self.warnings.warn_of(joined.watcher.clone());
        if let Some(text) = &mut self.text
            && !self.engines.is_empty()
        {
            let printed = self.engines.iter().find(|(_, engine)| engine.table_shown);
            let printed = printed.and_then(|(key, _)| self.alive.member(key));
            let headline = text.number_engines(printed.map(|member| &**member.watcher()));
            writer.write_all(headline.as_bytes())?;
        }
        Ok(())
    }

    /// Notes once which namespaces an empty portfolio leaves out.
    fn note_ignored_namespaces(&mut self, key: &EngineKey, watcher: &dyn Watcher) {
        let engine = self.engines.entry(key.clone()).or_default();
        if self.alive.member(key).is_some_and(|member| member.portfolio().is_empty())
            && !std::mem::replace(&mut engine.ignored_noted, true)
            && let Some(note) = ignored_namespaces(watcher)
        {
            self.notes.note(note);
        }
    }
}

/// Writes the table once the engine is synced, and from then on a row for each event.
fn write_text(
    writer: &mut Writer,
    text: &mut TextView,
    engine: &mut Engine,
    (watcher, alive): (&dyn Watcher, &Portfolio),
    event: &Event,
    is_shown: bool,
) -> anyhow::Result<()> {
    let was_shown = engine.table_shown;
    let status = watcher.status();
    let is_synced = match event.kind {
        EventKind::Synced { .. } => true,
        // `Synced` was among the missed events if the watch is live.
        EventKind::Lagged { .. } => status.is_live(),
        // Unlisted scopes delay `Synced`; what is known is shown without it.
        _ => !status.unlisted.is_empty(),
    };
    if is_synced && !was_shown {
        let complete = status.is_live() && status.unresolved.is_empty() && status.unlisted.is_empty();
        let overview = text.overview(watcher, alive, complete, status.engine_time());
        writer.write_all(overview.as_bytes())?;
        engine.table_shown = true;
    }
    // The table stands for the first `Synced`.
    let is_covered = !was_shown && matches!(event.kind, EventKind::Synced { .. });
    if engine.table_shown && is_shown && !is_covered {
        let row = text.event(watcher, event);
        writer.write_all(row.as_bytes())?;
    }
    Ok(())
}
