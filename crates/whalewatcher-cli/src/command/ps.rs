//! `whalewatcher ps`: what is alive right now.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use whalewatcher_core::{Container, Fleet, Portfolio, Printable, Watcher};

use super::once::{Answer, Answers, answers, found_answers};
use crate::args::{ListFormat, ShapeArgs, wrong};
use crate::hosts::{Hosts, ignored_namespaces};
use crate::notes;
use crate::output::{Output, Writer};
use crate::render::column::{Column, Entry};
use crate::render::style::Terminal;
use crate::render::table::{ordered, table};
use crate::render::text::{Headlines, TextView};
use crate::render::texts::id_for_programs;
use crate::render::{Layout, json};
use crate::selection::Selection;

/// How containers are listed.
pub(crate) struct Shape {
    form: Form,
    sort: Option<Column>,
}

enum Form {
    Table(Layout),
    Json,
    /// A line with this text for each container.
    Lines(fn(&Container) -> String),
}

impl Shape {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// If options contradict each other: wrong usage.
    pub(crate) fn new(args: &ShapeArgs) -> anyhow::Result<Self> {
        let ShapeArgs { format, quiet, pids, no_trunc, columns, sort, no_header } = args;
        if !columns.is_empty() && *format != ListFormat::Table {
            return Err(wrong("--columns is for tables, and names all of their columns"));
        }
        let form = match format {
            _ if *pids => {
                Form::Lines(|container| container.host_pid().unwrap_or(container.pid()).to_string())
            }
            _ if *quiet && *no_trunc => Form::Lines(|container| Printable(container.id()).to_string()),
            _ if *quiet => Form::Lines(|container| id_for_programs(container.id())),
            ListFormat::Name => Form::Lines(|container| Printable(container.name()).to_string()),
            ListFormat::Json => Form::Json,
            ListFormat::Table | ListFormat::Wide => {
                let layout = match (columns.is_empty(), format) {
                    (false, _) => Layout::of(columns),
                    (true, ListFormat::Wide) => Layout::wide(),
                    _ => Layout::default(),
                };
                let is_flat = layout.is_grouped() && (sort.is_some() || *no_header);
                let layout = if is_flat { layout.flat() } else { layout };
                let layout = if *no_header { layout.without_header() } else { layout };
                Form::Table(if *no_trunc { layout.in_full() } else { layout })
            }
        };
        Ok(Self { form, sort: *sort })
    }

    /// Returns whether the standard output says so if no container is alive.
    fn shows_nothing(&self) -> bool {
        match &self.form {
            Form::Table(layout) => layout.is_grouped(),
            Form::Json => true,
            Form::Lines(_) => false,
        }
    }
}

/// Prints the selected containers of all engines that answer, and warnings about what is not known. The
/// status is 1 with warnings, except for those about engines that do not run, and if a name stands for no
/// container.
pub(crate) async fn ps(
    fleet: &Arc<Fleet>,
    hosts: Hosts,
    selection: Selection,
    shape: Shape,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let hosts = selection.restrict(hosts)?;
    let Answers { mut answers, missing } = match selection.names_engines() {
        // There may be others.
        true => found_answers(fleet, hosts).await?,
        false => answers(fleet, hosts).await?,
    };
    answers.retain(|answer| selection.concerns(&*answer.watcher));
    let empty = |answer: &&Answer| answer.portfolio.as_ref().is_some_and(Portfolio::is_empty);
    let ignored: Vec<_> =
        answers.iter().filter(empty).filter_map(|answer| ignored_namespaces(&*answer.watcher)).collect();
    let warnings: Vec<_> = answers.iter().flat_map(|answer| answer.warnings.clone()).collect();
    let is_known = answers.is_empty() || answers.iter().any(|answer| answer.portfolio.is_some());
    let are_all = missing.notes.is_empty();
    let is_complete = are_all && warnings.is_empty();
    let nothing = match is_known {
        true => nothing(&answers, &selection, is_complete, !shape.shows_nothing()),
        false => Vec::new(),
    };
    let is_named = selection.has_names();
    output
        .write(move |writer| {
            if is_known && writer.begin() {
                write(writer, &answers, are_all, &selection, shape)?;
            }
            Ok(())
        })
        .await?;
    for message in nothing.iter().chain(&warnings).chain(&missing.notes).chain(&ignored) {
        notes::note(message);
    }
    let is_wrong = !warnings.is_empty() || missing.may_run || is_named && !nothing.is_empty();
    Ok(if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Returns the containers to show, with their engines, in the order of tables.
fn selected<'a>(answers: &'a [Answer], selection: &Selection) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    for Answer { watcher, portfolio, status, .. } in answers {
        let watcher: &dyn Watcher = &**watcher;
        let now = status.engine_time();
        let Some(portfolio) = portfolio else { continue };
        let containers = ordered(portfolio, |container| selection.matches(watcher, container));
        entries.extend(containers.into_iter().map(|container| Entry::new(watcher, container, now)));
    }
    entries
}

/// Returns sentences about names that stand for no container, else about a selection without containers.
fn nothing(answers: &[Answer], selection: &Selection, is_complete: bool, also_of_all: bool) -> Vec<String> {
    let selected: Vec<_> = selected(answers, selection).iter().map(|entry| entry.container).collect();
    if selection.has_names() {
        let unmatched = selection.unmatched(&selected);
        return unmatched.map(|name| selection.nothing_named(name, is_complete)).collect();
    }
    let is_empty = selected.is_empty() && (also_of_all || !selection.is_all());
    is_empty.then(|| selection.nothing(is_complete)).into_iter().collect()
}

fn write(
    writer: &mut Writer,
    answers: &[Answer],
    are_all: bool,
    selection: &Selection,
    Shape { form, sort }: Shape,
) -> anyhow::Result<()> {
    let mut entries = selected(answers, selection);
    if let Some(column) = sort {
        entries.sort_by(|one, other| column.compare(one, other));
    }
    match form {
        Form::Json => {
            json::write_containers(writer, entries.iter().map(|entry| (entry.watcher, entry.container)))?;
        }
        Form::Lines(line) => {
            for entry in &entries {
                writeln!(writer, "{}", line(entry.container))?;
            }
        }
        Form::Table(layout) if layout.is_grouped() => {
            write_tables(writer, answers, are_all, selection, layout)?;
        }
        Form::Table(layout) => {
            let table = table(&entries, &layout, Terminal::of_stdout());
            writer.write_all(table.unwrap_or_default().as_bytes())?;
        }
    }
    Ok(())
}

/// Writes a table for each engine that answered, which may not be all; with a selection, for each engine that
/// has containers of it.
fn write_tables(
    writer: &mut Writer,
    answers: &[Answer],
    are_all: bool,
    selection: &Selection,
    layout: Layout,
) -> anyhow::Result<()> {
    let headlines = if answers.len() > 1 { Headlines::Plain } else { Headlines::No };
    let mut view = TextView::new(Terminal::of_stdout(), selection.clone(), headlines).with_layout(layout);
    for Answer { watcher, portfolio, warnings, status } in answers {
        let now = status.engine_time();
        let Some(portfolio) = portfolio else { continue };
        let text = match selection.is_all() {
            true => Some(view.overview(&**watcher, portfolio, warnings.is_empty() && are_all, now)),
            false => view.table(&**watcher, portfolio, now),
        };
        writer.write_all(text.unwrap_or_default().as_bytes())?;
    }
    Ok(())
}
