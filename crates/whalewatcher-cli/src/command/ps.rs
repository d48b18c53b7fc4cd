//! `whalewatcher ps`: what is alive right now.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use whalewatcher_core::{Fleet, Portfolio};

use super::once::{Answer, Answers, answers};
use crate::args::{Format, ViewArgs};
use crate::filter::Filter;
use crate::hosts::{Hosts, ignored_namespaces};
use crate::notes;
use crate::output::{Output, Writer};
use crate::render::json;
use crate::render::style::Terminal;
use crate::render::table::nothing;
use crate::render::text::{Headlines, TextView};

/// Prints what is alive on all engines that answer, and warnings about what is not known. The status is 1 with warnings, except
/// for those about engines that do not run.
pub(crate) async fn ps(
    fleet: &Arc<Fleet>,
    hosts: Hosts,
    view: ViewArgs,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let Answers { answers, missing } = answers(fleet, hosts).await?;
    let empty = |answer: &&Answer| answer.portfolio.as_ref().is_some_and(Portfolio::is_empty);
    let ignored: Vec<_> =
        answers.iter().filter(empty).filter_map(|answer| ignored_namespaces(&*answer.watcher)).collect();
    let warnings: Vec<_> = answers.iter().flat_map(|answer| answer.warnings.clone()).collect();
    let are_all = missing.notes.is_empty();
    let filter = Filter::new(view.selection.project);
    output
        .write(move |writer| {
            if writer.begin() {
                match view.format {
                    Format::Json => write_json(writer, &answers, &filter)?,
                    Format::Text => write_text(writer, &answers, are_all, &filter)?,
                }
            }
            Ok(())
        })
        .await?;
    for message in warnings.iter().chain(&missing.notes).chain(&ignored) {
        notes::note(message);
    }
    Ok(if warnings.is_empty() && !missing.may_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes an array, or nothing if no engine answered.
fn write_json(writer: &mut Writer, answers: &[Answer], filter: &Filter) -> anyhow::Result<()> {
    if answers.iter().all(|answer| answer.portfolio.is_none()) {
        return Ok(());
    }
    let all = answers.iter().flat_map(|Answer { watcher, portfolio, .. }| {
        let containers = portfolio.iter().flat_map(Portfolio::containers);
        containers.map(move |container| (&**watcher, &**container))
    });
    Ok(json::write_containers(writer, all.filter(|(_, container)| filter.matches(container)))?)
}

/// Writes a table for each engine that answered, which may not be all; with a project, for each engine that has containers of it.
fn write_text(writer: &mut Writer, answers: &[Answer], are_all: bool, filter: &Filter) -> anyhow::Result<()> {
    let headlines = if answers.len() > 1 { Headlines::Plain } else { Headlines::No };
    let mut view = TextView::new(Terminal::of_stdout(), filter.clone(), headlines);
    let now = SystemTime::now();
    let (mut answered, mut shown) = (false, false);
    for Answer { watcher, portfolio, warnings } in answers {
        let Some(portfolio) = portfolio else { continue };
        let text = match filter.project() {
            Some(_) => view.table(&**watcher, portfolio, now),
            None => Some(view.overview(&**watcher, portfolio, warnings.is_empty() && are_all, now)),
        };
        answered = true;
        shown |= text.is_some();
        writer.write_all(text.unwrap_or_default().as_bytes())?;
    }
    if answered && !shown {
        let complete = are_all && answers.iter().all(|answer| answer.warnings.is_empty());
        notes::note(&nothing(filter, complete));
    }
    Ok(())
}
