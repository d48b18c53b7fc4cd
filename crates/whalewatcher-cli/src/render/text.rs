//! The output for people: what is alive as soon as that is known, then a line an event.
//!
//! With several engines each table has a headline, with the number by which lines name the engine.

use std::collections::HashMap;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use whalewatcher_core::{Container, Event, Portfolio, Printable, Watcher};

use crate::advice::place;
use crate::filter::Scope;
use crate::render::event_row::Lines;
use crate::render::style::{STRONG, Terminal};
use crate::render::table::{nothing, table};
use crate::render::width;

/// Writes what is to be shown.
pub(crate) struct View {
    terminal: Terminal,
    scope: Scope,
    lines: Lines,
    headlines: Headlines,
    /// By place, from 1 on.
    numbers: HashMap<String, usize>,
    latest: Latest,
}

/// What is above the table of an engine.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Headlines {
    /// Nothing: there is but one.
    No,
    /// Which engine.
    Plain,
    /// Which engine, and its number.
    Numbered,
}

/// What was written last.
#[derive(Clone, Copy, PartialEq)]
enum Latest {
    Nothing,
    Table,
    Line,
}

impl View {
    pub(crate) fn new(terminal: Terminal, scope: Scope, headlines: Headlines) -> Self {
        let lines = Lines::new(terminal, TimeZone::system());
        Self { terminal, scope, lines, headlines, numbers: HashMap::new(), latest: Latest::Nothing }
    }

    /// What is alive in one engine; `complete` if that is all.
    pub(crate) fn picture(
        &mut self,
        watcher: &dyn Watcher,
        portfolio: &Portfolio,
        complete: bool,
        now: SystemTime,
    ) -> String {
        let text = self.table(watcher, portfolio, now);
        text.unwrap_or_else(|| self.titled(watcher, &(nothing(&self.scope, complete) + "\n")))
    }

    /// What is alive in one engine; `None` if no container is to be shown.
    pub(crate) fn table(
        &mut self,
        watcher: &dyn Watcher,
        portfolio: &Portfolio,
        now: SystemTime,
    ) -> Option<String> {
        for container in portfolio.containers().filter(|container| self.scope.holds(container)) {
            self.lines.expect(container);
        }
        let table = table(portfolio, &self.scope, now, self.terminal)?;
        Some(self.titled(watcher, &table))
    }

    fn titled(&mut self, watcher: &dyn Watcher, text: &str) -> String {
        let gap = if self.latest == Latest::Nothing { "" } else { "\n" };
        self.latest = Latest::Table;
        format!("{gap}{}{text}", self.headline(watcher))
    }

    /// What happened in one engine, given what was known before.
    pub(crate) fn event(
        &mut self,
        watcher: &dyn Watcher,
        event: &Event,
        before: Option<&Container>,
    ) -> String {
        let gap = if self.latest == Latest::Table { "\n" } else { "" };
        self.latest = Latest::Line;
        let number = (self.headlines == Headlines::Numbered).then(|| self.number(watcher));
        format!("{gap}{}", self.lines.line(event, before, number))
    }

    fn number(&mut self, watcher: &dyn Watcher) -> usize {
        let next = self.numbers.len() + 1;
        *self.numbers.entry(place(watcher)).or_insert(next)
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
        let name = Printable(&format!("{number}{name} at {}", watcher.endpoint())).to_string();
        let name = self.terminal.width().map_or_else(|| name.clone(), |width| width::cut(&name, width));
        self.terminal.paint(STRONG, &name) + "\n"
    }
}
