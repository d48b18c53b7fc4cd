//! `whalewatcher ps`: what is alive right now.

use std::future::pending;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};
use whalewatcher_core::{Backoff, Fleet, Phase, Portfolio, Settings, WatchError, Watcher};

use crate::advice::{advised, place};
use crate::args::{self, Format};
use crate::filter::Scope;
use crate::hosts::Host;
use crate::notes;
use crate::output::{Output, Writer};
use crate::render::json;
use crate::render::style::Terminal;
use crate::render::table::nothing;
use crate::render::text::{Headlines, View};
use crate::warnings::unresolved;

/// How long all engines together may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long each of connecting, subscribing, listing and an inspection may take, so that what takes too long is named before
/// all have run out of time.
const STEP: Duration = Duration::from_secs(7);

/// How long a part of an engine that cannot be listed may take to recover.
const AGAIN: Duration = Duration::from_secs(3);

/// One attempt: waiting for an engine does not show what is alive now.
pub(crate) fn settings() -> Settings {
    let settings = Settings::default().with_limits(STEP, STEP, STEP);
    settings.with_backoff(Backoff::default().with_attempts(1))
}

/// What an engine answered.
struct Answer {
    watcher: Arc<dyn Watcher>,
    /// What is known to be alive; `None` if nothing was learned.
    portfolio: Option<Portfolio>,
    /// What is wrong, so that something may be missing.
    complaints: Vec<String>,
}

/// Shows what is alive in all engines, as far as they answer, and complains of the rest.
pub(crate) async fn ps(
    fleet: &Fleet,
    hosts: &[Host],
    view: args::View,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let deadline = Instant::now() + PATIENCE;
    let answers = join_all(hosts.iter().map(|host| answer(&host.watcher, deadline))).await;
    fleet.close();
    let empty = |(_, answer): &(_, &Answer)| answer.portfolio.as_ref().is_some_and(Portfolio::is_empty);
    let left_out: Vec<_> =
        hosts.iter().zip(&answers).filter(empty).filter_map(|(host, _)| host.left_out()).collect();
    let complaints: Vec<_> = answers.iter().flat_map(|answer| answer.complaints.clone()).collect();
    let scope = Scope::new(view.project);
    output
        .write(move |writer| {
            if writer.begin() {
                match view.format {
                    Format::Json => write_json(writer, &answers, &scope)?,
                    Format::Text => write_text(writer, &answers, &scope)?,
                }
            }
            Ok(())
        })
        .await?;
    for message in complaints.iter().chain(&left_out) {
        notes::note(message);
    }
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn answer(watcher: &Arc<dyn Watcher>, deadline: Instant) -> Answer {
    let mut complaints = Vec::new();
    let place = place(&**watcher);
    let began = Instant::now();
    let ready = tokio::select! {
        ready = watcher.ready() => Some(ready),
        () = sleep_until(deadline) => None,
        () = incomplete(&**watcher) => None,
    };
    let is_ready = matches!(ready, Some(Ok(_)));
    match ready {
        Some(Ok(status)) => {
            complaints.extend(unresolved(&status).iter().map(|complaint| format!("{place}: {complaint}")));
        }
        Some(Err(WatchError::GaveUp { error } | WatchError::Refused { error })) => {
            complaints.push(advised(&**watcher, &error));
        }
        Some(Err(error)) => complaints.push(format!("{place}: {error}")),
        None => {
            let status = watcher.status();
            complaints.push(match &status.phase {
                Phase::Disconnected { error } | Phase::Failed { error } => advised(&**watcher, error),
                _ => format!("{place} is still {status} after {} s", began.elapsed().as_secs()),
            });
            complaints.extend(unresolved(&status).iter().map(|complaint| format!("{place}: {complaint}")));
        }
    }
    let portfolio = Some(watcher.portfolio()).filter(|portfolio| is_ready || !portfolio.is_empty());
    Answer { watcher: watcher.clone(), portfolio, complaints }
}

/// Resolves when a part of the engine still cannot be listed although that was tried again.
async fn incomplete(watcher: &dyn Watcher) {
    let mut status = watcher.follow_status();
    if status.wait_for(|status| !status.unlisted.is_empty()).await.is_some() {
        sleep(AGAIN).await;
    } else {
        pending::<()>().await;
    }
}

/// An array, unless nothing was learned at all.
fn write_json(writer: &mut Writer, answers: &[Answer], scope: &Scope) -> anyhow::Result<()> {
    if answers.iter().all(|answer| answer.portfolio.is_none()) {
        return Ok(());
    }
    let all = answers.iter().flat_map(|Answer { watcher, portfolio, .. }| {
        let containers = portfolio.iter().flat_map(Portfolio::containers);
        containers.map(move |container| (&**watcher, &**container))
    });
    Ok(json::write_containers(writer, all.filter(|(_, container)| scope.holds(container)))?)
}

/// A table for each engine of which something was learned; of a project, for each that has containers of it.
fn write_text(writer: &mut Writer, answers: &[Answer], scope: &Scope) -> anyhow::Result<()> {
    let headlines = if answers.len() > 1 { Headlines::Plain } else { Headlines::No };
    let mut people = View::new(Terminal::of_stdout(), scope.clone(), headlines);
    let now = SystemTime::now();
    let (mut learned, mut shown) = (false, false);
    for Answer { watcher, portfolio, complaints } in answers {
        let Some(portfolio) = portfolio else { continue };
        let text = match scope.project() {
            Some(_) => people.table(&**watcher, portfolio, now),
            None => Some(people.picture(&**watcher, portfolio, complaints.is_empty(), now)),
        };
        learned = true;
        shown |= text.is_some();
        writer.write_all(text.unwrap_or_default().as_bytes())?;
    }
    if learned && !shown {
        let complete = answers.iter().all(|answer| answer.complaints.is_empty());
        notes::note(&nothing(scope, complete));
    }
    Ok(())
}
