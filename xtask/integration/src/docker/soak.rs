//! The endurance run: containers come and go and anything goes wrong for as long as is asked for, and each minute it is
//! looked whether anything grows. This process is the watcher, its subscribers, the proxy and what checks them; the
//! latter forgets after each check what it has checked.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::{Instant, sleep, timeout};
use whalewatcher_core::Counters;

use crate::docker::fixture::DockerFixture;
use crate::docker::trial::Trial;
use crate::fixture::Fixture as _;
use crate::leaks::descriptors;
use crate::random_steps::seed;
use crate::recorder::LIMIT;

const CONTAINERS: usize = 14;

/// Faults between two checks, with ten transitions each.
const FAULTS: usize = 8;

/// No round takes longer, unless something hangs.
const ROUND_LIMIT: Duration = Duration::from_secs(300);

/// The most connections that a watcher keeps at rest: for its event stream, for a check, and as many idle ones as it
/// inspects at once.
const CONNECTIONS: usize = 18;

/// The watcher's tasks besides one for each connection: the watch itself, what closes idle connections, and what waits
/// for the connection of the event stream to be idle.
const TASKS: usize = 3;

/// By how much the last third of the run may need more memory than the second third: in percent, and in MiB, for of
/// little memory a little is much.
const MEMORY_GROWTH: (f64, f64) = (10.0, 1.0);

const HEADER: &str = "| minute | checks | transitions | faults | MiB | descriptors | connections | tasks | requests \
                      | resyncs | retries | malformed | audits | drifted | lagged |\n\
                      |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

/// What has happened since the start; how many connections and tasks there are at rest, and
/// what else there is without them.
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
            are.malformed - were.malformed,
            are.audits - were.audits,
            are.drifted - were.drifted,
            are.lagged - were.lagged,
        )
    }
}

/// Runs for so many minutes. Prints a line after each.
pub(crate) async fn run(fixture: &DockerFixture, minutes: u64) -> Result<()> {
    let seed = seed(fixture)?;
    for figure in fixture.take_figures() {
        println!("{figure}");
    }
    let mut trial = Trial::begin(fixture, CONTAINERS, seed).await?;
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

/// Sees that the watcher has no more tasks than belong to its connections, and reads the rest while it is cut off and
/// has none: what is there then is what it keeps for good. Neither tasks nor descriptors say when they are gone.
async fn at_rest(trial: &Trial<'_>, checks: usize, first: Option<&Reading>) -> Result<Reading> {
    let connected = until(|| Ok(at_most(trial.proxy.stats().open, trial.tasks()?))).await?;
    let reading = || {
        let reading = read(trial, checks, connected)?;
        let tasks = trial.tasks()?;
        Ok(match excess(first, &reading, tasks) {
            Some(excess) => Err(excess),
            None => Ok(reading),
        })
    };
    trial.cut_off(until(reading)).await
}

/// Asks again and again, until nothing is wrong any more.
async fn until<T>(ask: impl Fn() -> Result<Result<T, String>>) -> Result<T> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match ask()? {
            Ok(answer) => return Ok(answer),
            Err(wrong) if Instant::now() > deadline => bail!(wrong),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

fn read(trial: &Trial<'_>, checks: usize, (connections, tasks): (usize, usize)) -> Result<Reading> {
    Ok(Reading {
        checks,
        transitions: trial.churn.transitions(),
        faults: trial.injector.gusts(),
        requests: trial.proxy.stats().requests,
        counters: trial.watched.watching.status().counters,
        memory: memory()?,
        descriptors: descriptors()?.len(),
        connections,
        tasks,
    })
}

/// How many connections and tasks there are, unless there are too many.
fn at_most(connections: usize, tasks: usize) -> Result<(usize, usize), String> {
    let fit = connections <= CONNECTIONS && tasks <= connections + TASKS;
    if fit { Ok((connections, tasks)) } else { Err(format!("{tasks} tasks for {connections} connections")) }
}

/// What a watcher that is cut off has more than the watch itself and what it had after the first minute.
fn excess(first: Option<&Reading>, now: &Reading, tasks: usize) -> Option<String> {
    if tasks > 1 {
        return Some(format!("{tasks} tasks without a connection"));
    }
    let descriptors = first.map_or(usize::MAX, |first| first.descriptors);
    (now.descriptors > descriptors).then(|| format!("{} descriptors, after {descriptors}", now.descriptors))
}

/// The memory of this process in MiB, without its code, of which more is loaded the more of it runs.
fn memory() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("RssAnon is no number")?;
    Ok(kib / 1024.0)
}

/// Compares the last third with the second third; in the first one, caches fill.
fn judged(memory: &[f64]) -> Result<String> {
    let third = memory.len() / 3;
    if third == 0 {
        return Ok("too short to report whether memory grows".to_owned());
    }
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (second, last) = (mean(&memory[third..2 * third]), mean(&memory[2 * third..]));
    let (percent, mebibytes) = MEMORY_GROWTH;
    ensure!(
        last <= second * (1.0 + percent / 100.0) || last <= second + mebibytes,
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
        assert!(judged(&[1.0, 2.0, 2.0, 2.5, 2.9, 2.9]).is_ok());
        assert!(judged(&[1.0, 2.0, 2.0, 2.0, 3.1, 3.1]).is_err());
        assert!(judged(&[10.0, 90.0]).unwrap().contains("too short"));
    }

    #[test]
    fn a_descriptor_or_a_task_more_is_a_leak() {
        let reading = |descriptors| Reading { descriptors, ..Reading::default() };
        assert_eq!(excess(None, &reading(40), 1), None);
        assert_eq!(excess(Some(&reading(40)), &reading(40), 1), None);
        assert!(excess(Some(&reading(40)), &reading(41), 1).is_some());
        assert!(excess(Some(&reading(40)), &reading(40), 2).is_some());
        assert_eq!(at_most(6, 9), Ok((6, 9)));
        assert!(at_most(6, 10).is_err());
        assert!(at_most(19, 20).is_err());
    }
}
