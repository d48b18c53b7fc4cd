//! `whalewatcher ps`: what is alive right now.

use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

use whalewatcher_core::{Fleet, Portfolio};

use super::once::{Answer, answers};
use crate::args::{Format, ViewArgs};
use crate::filter::Filter;
use crate::hosts::Host;
use crate::notes;
use crate::output::{Output, Writer};
use crate::render::json;
use crate::render::style::Terminal;
use crate::render::table::nothing;
use crate::render::text::{Headlines, TextView};

/// Prints what is alive on all engines that answer, and warnings about what is not known. The status is 1 with warnings.
pub(crate) async fn ps(
    fleet: &Fleet,
    hosts: &[Host],
    view: ViewArgs,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let answers = answers(fleet, hosts).await;
    let empty = |(_, answer): &(_, &Answer)| answer.portfolio.as_ref().is_some_and(Portfolio::is_empty);
    let ignored: Vec<_> =
        hosts.iter().zip(&answers).filter(empty).filter_map(|(host, _)| host.ignored_namespaces()).collect();
    let warnings: Vec<_> = answers.iter().flat_map(|answer| answer.warnings.clone()).collect();
    let filter = Filter::new(view.project);
    output
        .write(move |writer| {
            if writer.begin() {
                match view.format {
                    Format::Json => write_json(writer, &answers, &filter)?,
                    Format::Text => write_text(writer, &answers, &filter)?,
                }
            }
            Ok(())
        })
        .await?;
    for message in warnings.iter().chain(&ignored) {
        notes::note(message);
    }
    Ok(if warnings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

/// Writes a table for each engine that answered; with a project, for each engine that has containers of it.
fn write_text(writer: &mut Writer, answers: &[Answer], filter: &Filter) -> anyhow::Result<()> {
    let headlines = if answers.len() > 1 { Headlines::Plain } else { Headlines::No };
    let mut view = TextView::new(Terminal::of_stdout(), filter.clone(), headlines);
    let now = SystemTime::now();
    let (mut answered, mut shown) = (false, false);
    for Answer { watcher, portfolio, warnings } in answers {
        let Some(portfolio) = portfolio else { continue };
        let text = match filter.project() {
            Some(_) => view.table(&**watcher, portfolio, now),
            None => Some(view.overview(&**watcher, portfolio, warnings.is_empty(), now)),
        };
        answered = true;
        shown |= text.is_some();
        writer.write_all(text.unwrap_or_default().as_bytes())?;
    }
    if answered && !shown {
        let complete = answers.iter().all(|answer| answer.warnings.is_empty());
        notes::note(&nothing(filter, complete));
    }
    Ok(())
}
