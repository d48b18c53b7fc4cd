//! `whalewatcher ps`: what is alive right now.

use std::future::pending;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};
use whalewatcher_core::{Backoff, Fleet, Phase, Portfolio, Settings, WatchError, Watcher};

use crate::advice::{explain, location};
use crate::args::{Format, ViewArgs};
use crate::filter::Filter;
use crate::hosts::Host;
use crate::notes;
use crate::output::{Output, Writer};
use crate::render::json;
use crate::render::style::Terminal;
use crate::render::table::nothing;
use crate::render::text::{Headlines, TextView};
use crate::warnings::unresolved;

/// The time limit of all engines together.
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// The time limit of connecting, subscribing, listing and of an inspection. Two of them fit into [`TIME_LIMIT`], so that the
/// message names the step that takes too long.
const STEP_LIMIT: Duration = Duration::from_secs(7);

/// How long unlisted scopes may take to recover.
const UNLISTED_LIMIT: Duration = Duration::from_secs(3);

/// Returns settings with one attempt to connect: waiting for an engine would not show what is alive now.
pub(crate) fn settings() -> Settings {
    let settings = Settings::default().with_limits(STEP_LIMIT, STEP_LIMIT, STEP_LIMIT);
    settings.with_backoff(Backoff::default().with_attempts(1))
}

/// The answer of an engine.
struct Answer {
    watcher: Arc<dyn Watcher>,
    /// The containers known to be alive; `None` if nothing is known of the engine.
    portfolio: Option<Portfolio>,
    /// Why containers may be missing.
    warnings: Vec<String>,
}

/// Prints what is alive on all engines that answer, and warnings about what is not known. The status is 1 with warnings.
pub(crate) async fn ps(
    fleet: &Fleet,
    hosts: &[Host],
    view: ViewArgs,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let deadline = Instant::now() + TIME_LIMIT;
    let answers = join_all(hosts.iter().map(|host| answer(&host.watcher, deadline))).await;
    fleet.close();
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

async fn answer(watcher: &Arc<dyn Watcher>, deadline: Instant) -> Answer {
    let mut warnings = Vec::new();
    let location = location(&**watcher);
    let began = Instant::now();
    let ready = tokio::select! {
        ready = watcher.ready() => Some(ready),
        () = sleep_until(deadline) => None,
        () = still_unlisted(&**watcher) => None,
    };
    let is_ready = matches!(ready, Some(Ok(_)));
    match ready {
        Some(Ok(status)) => {
            warnings.extend(unresolved(&status).iter().map(|warning| format!("{location}: {warning}")));
        }
        Some(Err(WatchError::GaveUp { error } | WatchError::Refused { error })) => {
            warnings.push(explain(&**watcher, &error));
        }
        Some(Err(error)) => warnings.push(format!("{location}: {error}")),
        None => {
            let status = watcher.status();
            warnings.push(match &status.phase {
                Phase::Disconnected { error } | Phase::Failed { error } => explain(&**watcher, error),
                _ => format!("{location} is still {status} after {} s", began.elapsed().as_secs()),
            });
            warnings.extend(unresolved(&status).iter().map(|warning| format!("{location}: {warning}")));
        }
    }
    let portfolio = Some(watcher.portfolio()).filter(|portfolio| is_ready || !portfolio.is_empty());
    Answer { watcher: watcher.clone(), portfolio, warnings }
}

/// Resolves [`UNLISTED_LIMIT`] after a scope of the engine could not be listed.
async fn still_unlisted(watcher: &dyn Watcher) {
    let mut status = watcher.follow_status();
    if status.wait_for(|status| !status.unlisted.is_empty()).await.is_some() {
        sleep(UNLISTED_LIMIT).await;
    } else {
        pending::<()>().await;
    }
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
