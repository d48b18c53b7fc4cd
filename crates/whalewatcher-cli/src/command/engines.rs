//! `whalewatcher engines`: which engines there are, and whether they can be watched.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use whalewatcher_core::{ChangeSource, Fleet, Phase, Portfolio, Printable, Status, Watcher};
use whalewatcher_discover::Finding;

use super::once::{Answer, Answers, found_answers};
use crate::advice::{location, with_variable};
use crate::args::Format;
use crate::hosts::{Hosts, prefix};
use crate::notes;
use crate::output::Output;
use crate::render::grid::grid;
use crate::render::json::{self, ListedEngine};
use crate::render::style::Terminal;
use crate::render::texts::short_id;

/// The columns that a narrow terminal drops, in this order: ID, prefix, source, version.
const DROPPED: [usize; 4] = [2, 4, 5, 1];

/// Prints a line for each engine that was named or found. The status is that of `ps`.
pub(crate) async fn engines(
    fleet: &Arc<Fleet>,
    hosts: Hosts,
    format: Format,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let Answers { answers, missing } = found_answers(fleet, hosts).await?;
    let are_complete = answers.iter().all(|answer| answer.warnings.is_empty());
    // The findings are part of the output.
    let unsettled = missing.notes.get(missing.findings.len()..).unwrap_or_default().to_vec();
    let is_empty = answers.is_empty() && missing.findings.is_empty();
    let findings = missing.findings;
    output
        .write(move |writer| {
            if writer.begin() {
                let listed = answers.iter().map(of_answer).chain(findings.iter().map(of_finding));
                match format {
                    Format::Json => json::write_engines(writer, listed)?,
                    Format::Text if is_empty => {}
                    Format::Text => writer.write_all(table(listed).as_bytes())?,
                }
            }
            Ok(())
        })
        .await?;
    if is_empty {
        notes::note("no container engine was found: start one, or name one with --host");
    }
    for note in &unsettled {
        notes::note(note);
    }
    let is_success = are_complete && !missing.may_run && !is_empty;
    Ok(if is_success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn of_answer(answer: &Answer) -> ListedEngine {
    let Answer { watcher, portfolio, warnings, status } = answer;
    let location = format!("{}: ", location(&**watcher));
    let problem = |warning: &String| warning.strip_prefix(&location).unwrap_or(warning).to_owned();
    let problems = warnings.iter().map(problem).collect();
    of_watcher(&**watcher, status, portfolio.as_ref(), problems)
}

/// An engine that is watched.
pub(super) fn of_watcher(
    watcher: &dyn Watcher,
    status: &Status,
    portfolio: Option<&Portfolio>,
    problems: Vec<String>,
) -> ListedEngine {
    ListedEngine {
        engine: Some(json::engine(watcher, None)),
        place: None,
        prefix: prefix(watcher),
        phase: phase(status),
        source: status.source.map(source),
        fallback: status.fallback.as_ref().map(ToString::to_string),
        containers: portfolio.map(Portfolio::total),
        unresolved: status.unresolved.total(),
        problems,
        remedy: None,
    }
}

/// What was found and is not watched.
pub(super) fn of_finding(finding: &Finding) -> ListedEngine {
    ListedEngine {
        engine: None,
        place: Some(finding.place.clone()),
        prefix: String::new(),
        phase: "unwatched",
        source: None,
        fallback: None,
        containers: None,
        unresolved: 0,
        problems: vec![with_variable(&finding.place, finding.reason.clone())],
        remedy: Some(finding.remedy.clone()).filter(|remedy| !remedy.is_empty()),
    }
}

fn phase(status: &Status) -> &'static str {
    match &status.phase {
        Phase::Idle => "idle",
        Phase::Connecting => "connecting",
        Phase::Synchronizing => "synchronizing",
        Phase::Live { .. } => "live",
        Phase::Disconnected { .. } => "disconnected",
        Phase::Failed { .. } => "failed",
        Phase::Refused { .. } => "refused",
        Phase::Panicked { .. } => "panicked",
        Phase::Cancelled => "cancelled",
        Phase::Closed => "closed",
        _ => "unknown",
    }
}

fn source(source: ChangeSource) -> &'static str {
    match source {
        ChangeSource::Events => "events",
        ChangeSource::Hints => "hints",
        ChangeSource::Polling { .. } => "polling",
        _ => "unknown",
    }
}

fn table(listed: impl Iterator<Item = ListedEngine>) -> String {
    let headings = ["TYPE", "VERSION", "ID", "HOST", "PREFIX", "SOURCE", "CONTAINERS", "STATUS"];
    let mut rows = vec![headings.map(str::to_owned)];
    rows.extend(listed.map(|listed| {
        let status = status(&listed);
        let ListedEngine { engine, place, prefix, source, containers, .. } = listed;
        let text = |text: &str| Printable(text).to_string();
        let (engine_type, version, id, api) = match &engine {
            Some(engine) => (&*engine.engine_type, &*engine.version, &*engine.id, &*engine.endpoint),
            None => ("-", "", "", place.as_deref().unwrap_or_default()),
        };
        let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        [
            text(engine_type),
            text(version),
            short_id(id),
            text(api),
            text(&prefix),
            source.unwrap_or("-").to_owned(),
            known(containers.map(|count| count.to_string())),
            status,
        ]
    }));
    grid(&rows, &DROPPED, Terminal::of_stdout().width())
}

/// Returns the phase, with the reason and what to do about it where not everything is known.
fn status(listed: &ListedEngine) -> String {
    let mut status = listed.phase.to_owned();
    if let Some(fallback) = &listed.fallback {
        status += &format!(", because {fallback}");
    }
    if !listed.problems.is_empty() {
        status += &format!(": {}", listed.problems.join("; "));
    }
    if let Some(remedy) = &listed.remedy {
        status += &format!("; {remedy}");
    }
    Printable(&status).to_string()
}
