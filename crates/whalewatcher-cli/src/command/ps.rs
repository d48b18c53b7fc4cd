//! `whalewatcher ps`: what is alive right now.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use whalewatcher_core::{Container, Fleet, Portfolio, Watcher};

use super::once::{Answer, Answers, answers};
use crate::args::Format;
use crate::hosts::{Hosts, ignored_namespaces};
use crate::notes;
use crate::output::{Output, Writer};
use crate::render::json;
use crate::render::style::Terminal;
use crate::render::text::{Headlines, TextView};
use crate::selection::Selection;

/// Prints the selected containers of all engines that answer, and warnings about what is not known. The status is 1 with warnings,
/// except for those about engines that do not run, and if a name stands for no container.
pub(crate) async fn ps(
    fleet: &Arc<Fleet>,
    hosts: Hosts,
    selection: Selection,
    format: Format,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let Answers { mut answers, missing } = answers(fleet, hosts).await?;
    answers.retain(|answer| selection.concerns(&*answer.watcher));
    let empty = |answer: &&Answer| answer.portfolio.as_ref().is_some_and(Portfolio::is_empty);
    let ignored: Vec<_> =
        answers.iter().filter(empty).filter_map(|answer| ignored_namespaces(&*answer.watcher)).collect();
    let warnings: Vec<_> = answers.iter().flat_map(|answer| answer.warnings.clone()).collect();
    let is_known = answers.is_empty() || answers.iter().any(|answer| answer.portfolio.is_some());
    let are_all = missing.notes.is_empty();
    let is_complete = are_all && warnings.is_empty();
    let nothing = match is_known {
        true => nothing(&answers, &selection, is_complete),
        false => Vec::new(),
    };
    let is_named = selection.has_names();
    output
        .write(move |writer| {
            if writer.begin() {
                match format {
                    Format::Json if is_known => write_json(writer, &answers, &selection)?,
                    Format::Json => {}
                    Format::Text => write_text(writer, &answers, are_all, &selection)?,
                }
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

/// Returns the containers to show, with their engines.
fn selected<'a>(
    answers: &'a [Answer],
    selection: &'a Selection,
) -> impl Iterator<Item = (&'a dyn Watcher, &'a Container)> {
    let all = answers.iter().flat_map(|Answer { watcher, portfolio, .. }| {
        let containers = portfolio.iter().flat_map(Portfolio::containers);
        containers.map(move |container| (&**watcher, &**container))
    });
    all.filter(|(watcher, container)| selection.matches(*watcher, container))
}

/// Returns sentences about names that stand for no container, else about a selection without containers.
fn nothing(answers: &[Answer], selection: &Selection, is_complete: bool) -> Vec<String> {
    let selected: Vec<_> = selected(answers, selection).map(|(_, container)| container).collect();
    if selection.has_names() {
        let unmatched = selection.unmatched(&selected);
        return unmatched.map(|name| selection.nothing_named(name, is_complete)).collect();
    }
    let is_empty = selected.is_empty() && !selection.is_all();
    is_empty.then(|| selection.nothing(is_complete)).into_iter().collect()
}

/// Writes an array.
fn write_json(writer: &mut Writer, answers: &[Answer], selection: &Selection) -> anyhow::Result<()> {
    Ok(json::write_containers(writer, selected(answers, selection))?)
}

/// Writes a table for each engine that answered, which may not be all; with a selection, for each engine that has containers of it.
fn write_text(
    writer: &mut Writer,
    answers: &[Answer],
    are_all: bool,
    selection: &Selection,
) -> anyhow::Result<()> {
    let headlines = if answers.len() > 1 { Headlines::Plain } else { Headlines::No };
    let mut view = TextView::new(Terminal::of_stdout(), selection.clone(), headlines);
    let now = SystemTime::now();
    for Answer { watcher, portfolio, warnings } in answers {
        let Some(portfolio) = portfolio else { continue };
        let text = match selection.is_all() {
            true => Some(view.overview(&**watcher, portfolio, warnings.is_empty() && are_all, now)),
            false => view.table(&**watcher, portfolio, now),
        };
        writer.write_all(text.unwrap_or_default().as_bytes())?;
    }
    Ok(())
}
