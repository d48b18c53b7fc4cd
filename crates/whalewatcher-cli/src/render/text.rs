//! The output for people: a table per engine, then a row per event.
//!
//! With several engines, each table has a headline with the number that rows refer to.

use std::collections::HashMap;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use whalewatcher_core::{Container, Event, Portfolio, Printable, Watcher};

use crate::advice::location;
use crate::clusters::host_of;
use crate::render::column::Entry;
use crate::render::event_row::EventRows;
use crate::render::layout::Layout;
use crate::render::style::{STRONG, Terminal};
use crate::render::table::{ordered, table};
use crate::render::width;
use crate::selection::Selection;

/// Formats tables and rows.
pub(crate) struct TextView {
    terminal: Terminal,
    selection: Selection,
    layout: Layout,
    rows: EventRows,
    headlines: Headlines,
    /// By location, from 1 on.
    numbers: HashMap<String, usize>,
    latest: Latest,
}

/// The headlines of tables.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Headlines {
    /// None.
    No,
    /// The engine.
    Plain,
    /// The engine and its number.
    Numbered,
}

/// The last output, which determines where empty lines go.
#[derive(Clone, Copy, PartialEq)]
enum Latest {
    Nothing,
    Table,
    Row,
}

impl TextView {
    pub(crate) fn new(terminal: Terminal, selection: Selection, headlines: Headlines) -> Self {
        let rows = EventRows::new(terminal, TimeZone::system());
        Self {
            terminal,
            selection,
            layout: Layout::default(),
            rows,
            headlines,
            numbers: HashMap::new(),
            latest: Latest::Nothing,
        }
    }

    /// Sets how tables look.
    #[must_use]
    pub(crate) fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Returns a table, or a sentence if there is no container to show. `complete` says that no container is missing.
    pub(crate) fn overview(
        &mut self,
        watcher: &dyn Watcher,
        portfolio: &Portfolio,
        complete: bool,
        now: SystemTime,
    ) -> String {
        let text = self.table(watcher, portfolio, now);
        text.unwrap_or_else(|| self.titled(watcher, &(self.selection.nothing(complete) + "\n")))
    }

    /// Returns a table; `None` if there is no container to show.
    pub(crate) fn table(
        &mut self,
        watcher: &dyn Watcher,
        portfolio: &Portfolio,
        now: SystemTime,
    ) -> Option<String> {
        let selection = &self.selection;
        let shown = |container: &Container| selection.matches(watcher, container);
        for container in portfolio.containers().filter(|container| shown(container)) {
            self.rows.reserve(container);
        }
        let entry = |container| Entry::new(watcher, container, now);
        let entries: Vec<_> = ordered(portfolio, shown).into_iter().map(entry).collect();
        let table = table(&entries, &self.layout, self.terminal)?;
        Some(self.titled(watcher, &table))
    }

    fn titled(&mut self, watcher: &dyn Watcher, text: &str) -> String {
        let gap = if self.latest == Latest::Nothing { "" } else { "\n" };
        self.latest = Latest::Table;
        format!("{gap}{}{text}", self.headline(watcher))
    }

    /// Returns the row of an event.
    pub(crate) fn event(&mut self, watcher: &dyn Watcher, event: &Event) -> String {
        let gap = if self.latest == Latest::Table { "\n" } else { "" };
        self.latest = Latest::Row;
        let number = (self.headlines == Headlines::Numbered).then(|| self.number(watcher));
        format!("{gap}{}", self.rows.row(event, number))
    }

    /// Numbers the engines from now on. Returns the headline of the one whose table was printed without, if
    /// there is one.
    pub(crate) fn number_engines(&mut self, printed: Option<&dyn Watcher>) -> String {
        if std::mem::replace(&mut self.headlines, Headlines::Numbered) == Headlines::Numbered {
            return String::new();
        }
        let Some(watcher) = printed else { return String::new() };
        self.latest = Latest::Table;
        format!("\n{}", self.headline(watcher))
    }

    fn number(&mut self, watcher: &dyn Watcher) -> usize {
        let next = self.numbers.len() + 1;
        *self.numbers.entry(location(watcher)).or_insert(next)
    }

    fn headline(&mut self, watcher: &dyn Watcher) -> String {
        let number = match self.headlines {
            Headlines::No => return String::new(),
            Headlines::Plain => String::new(),
            Headlines::Numbered => format!("[{}] ", self.number(watcher)),
        };
        let identity = watcher.identity();
        let name = match identity.as_deref() {
            Some(identity) => format!("{} {}", identity.engine_type, identity.version),
            None => watcher.engine_type().to_owned(),
        };
        let place = host_of(watcher)
            .map_or_else(|| format!("at {}", watcher.endpoint()), |host| format!("on {}", host.name));
        let name = Printable(&format!("{number}{name} {place}")).to_string();
        let name = self.terminal.width().map_or_else(|| name.clone(), |width| width::cut(&name, width));
        self.terminal.paint(STRONG, &name) + "\n"
    }
}
