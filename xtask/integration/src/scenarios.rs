//! Scenarios that ask the same on several engines, and what other scenarios share with them.

pub(crate) mod churn;
pub(crate) mod lifecycle;
pub(crate) mod outage;
pub(crate) mod witness;

use std::{fs, thread};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, timeout};
use whalewatcher_core::EventKind;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_testkit::proxy::{Fault, FaultId, Proxy, Refusal};

use crate::recorder::{LIMIT, Recorder};
use crate::watched::Watched;

/// Checks that exactly these kinds of events were reported of these containers, and nothing of others.
pub(crate) fn is_reported(
    reported: &[String],
    expected: &[(&str, &[&str])],
    recorder: &Recorder,
) -> Result<()> {
    for (name, kinds) in expected {
        let of_it = reported.iter().map(|words| words.split(' ').collect::<Vec<_>>());
        let of_it: Vec<&str> =
            of_it.filter(|words| words.get(1) == Some(name)).map(|words| words[0]).collect();
        ensure!(
            of_it == *kinds,
            "of {name} was reported {of_it:?} instead of {kinds:?}\n{}",
            recorder.tail()
        );
    }
    let count: usize = expected.iter().map(|(_, kinds)| kinds.len()).sum();
    ensure!(reported.len() == count, "there was more than that: {reported:?}");
    Ok(())
}

/// Kills a container's initial process, without the engine's help.
pub(crate) fn kill(pid: u32) -> Result<()> {
    signal(Some(pid), Signal::KILL).context("cannot kill a container's initial process")
}

fn signal(pid: Option<u32>, signal: Signal) -> Result<()> {
    let pid = pid.and_then(|pid| Pid::from_raw(pid.try_into().ok()?)).context("it does not run")?;
    Ok(kill_process(pid, signal)?)
}

/// A process that does nothing until this is dropped, and whose sockets stay open.
pub(crate) struct Stopped(Option<u32>);

impl Stopped {
    pub(crate) fn new(pid: Option<u32>) -> Result<Stopped> {
        signal(pid, Signal::STOP).context("cannot stop the engine")?;
        let stopped = Stopped(pid);
        // Its threads go on until one of them takes the signal, which on a busy machine is a while. Nothing reports it.
        let began = Instant::now();
        while !have_stopped(pid.context("it does not run")?)? {
            ensure!(began.elapsed() < LIMIT, "the engine does not stop");
            thread::yield_now();
        }
        Ok(stopped)
    }
}

/// Whether all threads of a process have stopped.
fn have_stopped(pid: u32) -> Result<bool> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // One that has ended does nothing either.
        let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) else { continue };
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        if !matches!(state, Some('T' | 't' | 'Z' | 'X')) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // If it has ended meanwhile, there is nothing to be done.
        let _ = signal(self.0, Signal::CONT);
    }
}

/// Waits until the watcher has noticed that its connection is dead, even if it has another one by now, and returns how
/// that was.
pub(crate) async fn until_noticed<C: EngineClient>(watched: &Watched<C>) -> Result<String> {
    let began = Instant::now();
    watched.recorder().until_reported(1, "disconnected").await?;
    let record = watched.recorder().record();
    let noticed = record.events.iter().find(|event| matches!(event.kind, EventKind::Disconnected { .. }));
    let noticed = noticed.context("no disconnected event")?;
    Ok(format!("after {:.1} s: {noticed}", began.elapsed().as_secs_f32()))
}

/// Closes all connections through a proxy, and refuses others until this fault is lifted.
pub(crate) async fn cut_off(proxy: &Proxy) -> Result<FaultId> {
    let refusal = proxy.inject(Fault::refuse(Refusal::Closed))?;
    proxy.cut_all();
    timeout(LIMIT, proxy.until_open(0)).await.context("connections stay open")?;
    Ok(refusal)
}
