//! The endurance run: containers come and go and anything goes wrong for as long as is asked for, and each minute it is
//! looked whether anything grows. This process is the watcher, its subscribers, the proxy and what checks them; the
//! latter forgets after each check what it has checked.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::{Instant, sleep, timeout};
use whalewatcher_core::Counters;

use crate::churn::seed;
use crate::leaks::descriptors;
use crate::recorder::LIMIT;
use crate::stage::Stage;
use crate::trial::Trial;

const CONTAINERS: usize = 14;

/// Faults between two checks, with ten transitions each.
const FAULTS: usize = 8;

/// No round takes longer, unless something hangs.
const ROUND_LIMIT: Duration = Duration::from_secs(300);

/// What each connection of the watcher is: its own end, and the proxy's two.
const DESCRIPTORS_PER_CONNECTION: usize = 3;

/// The watcher's tasks besides one for each connection: the watch itself, what closes idle connections, and what waits
/// for the connection of the event stream to be idle.
const TASKS: usize = 3;

/// By how much the last third of the run may need more memory than the second third, in percent.
const MEMORY_GROWTH: f64 = 10.0;

const HEADER: &str = "| minute | checks | transitions | faults | MiB | descriptors | connections | tasks | requests \
                      | resyncs | retries | garbled | audits | divergences | lagged |\n\
                      |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

/// What has happened since the start, and what there is now that all is at rest.
#[derive(Clone, Debug, Default)]
struct Reading {
    checks: usize,
    transitions: usize,
    faults: usize,
    requests: u64,
    counters: Counters,
    memory: f64,
    descriptors: usize,
    connections: usize,
    tasks: usize,
}

/// What happened within a minute, and what there was at its end: a line of the table.
struct Minute<'a> {
    number: u64,
    before: &'a Reading,
    after: &'a Reading,
}

impl fmt::Display for Minute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Minute { number, before, after } = self;
        let (were, are) = (&before.counters, &after.counters);
        write!(
            f,
            "| {number} | {} | {} | {} | {:.1} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            after.checks - before.checks,
            after.transitions - before.transitions,
            after.faults - before.faults,
            after.memory,
            after.descriptors,
            after.connections,
            after.tasks,
            after.requests - before.requests,
            are.resyncs - were.resyncs,
            are.retries - were.retries,
            are.garbled - were.garbled,
            are.audits - were.audits,
            are.divergences - were.divergences,
            are.lagged - were.lagged,
        )
    }
}

/// Runs for so many minutes. Prints a line after each.
pub(crate) async fn run(stage: &Stage, minutes: u64) -> Result<()> {
    let seed = seed(stage)?;
    for figure in stage.take_figures() {
        println!("{figure}");
    }
    let mut trial = Trial::begin(stage, CONTAINERS, seed).await?;
    println!("{HEADER}");
    let began = Instant::now();
    let mut readings: Vec<Reading> = vec![Reading::default()];
    for number in 1..=minutes {
        let mut checks = readings.last().map_or(0, |reading| reading.checks);
        let before = checks;
        while checks == before || began.elapsed() < Duration::from_secs(60 * number) {
            timeout(ROUND_LIMIT, trial.round(FAULTS)).await.context("it hangs")??;
            checks += 1;
        }
        let first = readings.get(1).cloned();
        let after = at_rest(&trial, checks, first.as_ref()).await?;
        let before = readings.last().cloned().unwrap_or_default();
        println!("{}", Minute { number, before: &before, after: &after });
        readings.push(after);
    }
    let memory: Vec<f64> = readings[1..].iter().map(|reading| reading.memory).collect();
    println!("{}", judged(&memory)?);
    trial.end().await.context("at the end")?;
    println!("dropped: no task and no descriptor is left");
    Ok(())
}

/// Reads everything once no more is there than should be. Neither tasks nor descriptors say when they are gone.
async fn at_rest(trial: &Trial<'_>, checks: usize, first: Option<&Reading>) -> Result<Reading> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let reading = read(trial, checks)?;
        let excess = first.and_then(|first| excess(first, &reading)).or_else(|| too_many_tasks(&reading));
        match excess {
            None => return Ok(reading),
            Some(excess) if Instant::now() > deadline => bail!("{excess}"),
            Some(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

fn read(trial: &Trial<'_>, checks: usize) -> Result<Reading> {
    let stats = trial.proxy.stats();
    Ok(Reading {
        checks,
        transitions: trial.churn.transitions(),
        faults: trial.storm.gusts(),
        requests: stats.requests,
        counters: trial.watched.watching.status().counters,
        memory: memory()?,
        descriptors: descriptors()?.len(),
        connections: stats.open,
        tasks: trial.tasks()?,
    })
}

/// What has more descriptors than after the first minute, connections aside: of these the watcher keeps up to 16 for a
/// while when they are idle.
fn excess(first: &Reading, now: &Reading) -> Option<String> {
    let others = |reading: &Reading| {
        reading.descriptors.saturating_sub(DESCRIPTORS_PER_CONNECTION * reading.connections)
    };
    (others(now) > others(first))
        .then(|| format!("{} descriptors besides those of connections, after {}", others(now), others(first)))
}

fn too_many_tasks(now: &Reading) -> Option<String> {
    (now.tasks > now.connections + TASKS)
        .then(|| format!("{} tasks for {} connections", now.tasks, now.connections))
}

/// The memory of this process, in MiB.
fn memory() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
    Ok(kib / 1024.0)
}

/// Compares the last third with the second third; in the first one, caches fill.
fn judged(memory: &[f64]) -> Result<String> {
    let third = memory.len() / 3;
    if third == 0 {
        return Ok("too short to tell whether memory grows".to_owned());
    }
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (second, last) = (mean(&memory[third..2 * third]), mean(&memory[2 * third..]));
    let growth = (last / second - 1.0) * 100.0;
    ensure!(
        growth <= MEMORY_GROWTH,
        "memory grows: {second:.1} MiB in the second third of the run, {last:.1} MiB in the last"
    );
    Ok(format!("memory: {second:.1} MiB in the second third of the run, {last:.1} MiB in the last"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_is_a_failure() {
        assert!(judged(&[10.0, 20.0, 20.1, 20.0, 20.2, 20.1]).is_ok());
        assert!(judged(&[10.0, 20.0, 20.0, 22.0, 23.0, 24.0]).is_err());
        assert!(judged(&[10.0, 90.0]).unwrap().contains("too short"));
    }

    #[test]
    fn a_descriptor_or_a_task_more_is_a_leak_unless_it_belongs_to_a_connection() {
        let reading = |descriptors, connections, tasks| Reading {
            descriptors,
            connections,
            tasks,
            ..Reading::default()
        };
        let first = reading(40, 5, 7);
        assert_eq!(excess(&first, &reading(43, 6, 8)), None);
        assert!(excess(&first, &reading(44, 6, 8)).is_some());
        assert_eq!(too_many_tasks(&reading(0, 6, 9)), None);
        assert!(too_many_tasks(&reading(0, 6, 10)).is_some());
    }
}
