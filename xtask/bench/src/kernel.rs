//! Ends known by the kernel: how long until a subscriber has them while the engine is gone, and what 10,000
//! lives take that are watched.
//!
//! The lives are processes of this bench, in a control group with a name like a container's ID. Each process
//! is that of many lives, in namespaces of containerd, where that is enough.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep, timeout};
use whalewatcher_bench::figure::{Aim, Figure, Unit};
use whalewatcher_bench::sample::Sample;
use whalewatcher_core::{Container, ErrorKind, EventKind, Settings, WatchHandle, Witness, watch_with};
use whalewatcher_kernel::{Kernel, raise_descriptor_limit};
use whalewatcher_testkit::scripted::Engine;

use crate::bench::Effort;
use crate::hub::resident;
use crate::process::{Running, Usage};

const NAME: &str = "kernel";
const ENDING: usize = 100;
const LASTING: usize = 10_000;
const ID: &str = "be9c4e15be9c4e15be9c4e15be9c4e15be9c4e15be9c4e15be9c4e15be9c4e15";

/// Where control groups are: in version 2, and in version 1 a hierarchy of any controller.
const ROOTS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"];

/// For how long nothing happens while that is measured.
const REST: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn run(_: &str, effort: &Effort) -> Result<Vec<Figure>> {
    let group = Group::new()?;
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    let mut figures = Vec::new();
    let mut taken = Vec::new();
    for _ in 0..effort.rounds {
        taken.extend(runtime.block_on(ended(&group))?);
    }
    let what = format!("from a kill to a subscriber, {ENDING} at once while the engine is gone");
    figures.extend(Figure::of_times(NAME, &what, &taken, Some(Aim::AtMost(10.0))));
    raise_descriptor_limit().context("the limit of descriptors cannot be raised")?;
    figures.extend(runtime.block_on(watched(&group, REST[usize::from(effort.large)]))?);
    Ok(figures)
}

/// A control group of the container.
struct Group(PathBuf);

impl Group {
    fn new() -> Result<Group> {
        let root = ROOTS.iter().map(PathBuf::from).find(|root| root.join("cgroup.procs").exists());
        let group = root.context("no control groups are mounted")?.join(ID);
        // What a run left that was killed.
        let _ = fs::remove_dir(&group);
        fs::create_dir(&group).context("a control group can be made by root only, where it is writable")?;
        Ok(Group(group))
    }

    fn start(&self) -> Result<Running> {
        let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let process = Running(child);
        fs::write(self.0.join("cgroup.procs"), process.0.id().to_string())?;
        Ok(process)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Returns one of the lives of a process.
fn life(process: &Running, namespace: usize) -> Container {
    let pid = process.0.id();
    Container::new(format!("{namespace}/{ID}"), format!("web-{namespace}"), pid).with_host_pid(pid)
}

fn kernel() -> Arc<dyn Witness> {
    Arc::new(Kernel::new())
}

/// Watches an engine's lives with the kernel, each of which has to be proven.
async fn watch(engine: &Engine, settings: Settings) -> Result<WatchHandle<Engine>> {
    let watch = watch_with(engine.clone(), settings.with_audits(None));
    timeout(LIMIT, watch.ready()).await.context("it is not ready")??;
    Ok(watch)
}

/// Kills processes one by one while their engine is gone. Returns how long each took.
async fn ended(group: &Group) -> Result<Vec<Duration>> {
    let engine = Engine::at("unix:///run/bench.sock").with_whole_lists(true);
    let mut processes = Vec::new();
    for number in 0..ENDING {
        let process = group.start()?;
        engine.start(life(&process, number));
        processes.push(process);
    }
    let watch = watch(&engine, Settings::default().with_witness(kernel())).await?;
    ensure!(watch.status().unwitnessed == 0, "{} lives are not watched", watch.status().unwitnessed);
    let (_, mut changes) = watch.subscribe();
    engine.refuse(ErrorKind::Unreachable, "gone");
    engine.disconnect();
    let gone = async {
        while !matches!(changes.next().await.context("the end")?.kind, EventKind::Disconnected { .. }) {}
        anyhow::Ok(())
    };
    timeout(LIMIT, gone).await.context("the engine is not missed")??;
    let reader = tokio::spawn(async move {
        let mut ends = Vec::new();
        while ends.len() < ENDING
            && let Some(event) = changes.next().await
        {
            if let EventKind::Exited { container, .. } = &event.kind {
                ends.push((container.pid(), Instant::now()));
            }
        }
        ends
    });
    let mut killed = std::collections::HashMap::new();
    for process in &mut processes {
        killed.insert(process.0.id(), Instant::now());
        process.0.kill()?;
    }
    let ends = timeout(LIMIT, reader).await.context("not every end is reported")??;
    Ok(ends.iter().filter_map(|(pid, at)| Some(at.duration_since(*killed.get(pid)?))).collect())
}

/// Watches many lives of one process, with and without the kernel.
async fn watched(group: &Group, rest: Duration) -> Result<Vec<Figure>> {
    let process = group.start()?;
    let engine = Engine::at("unix:///run/bench.sock").with_whole_lists(true);
    (0..LASTING).for_each(|number| engine.start(life(&process, number)));
    let mut figures = Vec::new();
    let mut costs = Vec::new();
    // The first one takes memory that the second one uses again.
    for with_kernel in [true, false] {
        let settings = Settings::default();
        let settings = if with_kernel { settings.with_witness(kernel()) } else { settings };
        let before = (descriptors()?, resident()?, Instant::now());
        let watch = watch(&engine, settings).await?;
        // The lives are watched a little later than the watch is ready.
        while with_kernel && watch.status().unwitnessed == 0 && descriptors()? < before.0 + LASTING {
            tokio::task::yield_now().await;
        }
        let ready = before.2.elapsed();
        let (opened, memory) =
            (descriptors()?.saturating_sub(before.0), resident()?.saturating_sub(before.1));
        let unwatched = watch.status().unwitnessed;
        let usage = Usage::of(std::process::id())?;
        sleep(rest).await;
        let computed = Usage::of(std::process::id())?.since(usage).computed;
        costs.push((ready, opened, memory, computed.as_secs_f64() * 1_000.0 / rest.as_secs_f64()));
        ensure!(
            !with_kernel || unwatched == 0,
            "{unwatched} lives are not watched: raise the limit of descriptors"
        );
        watch.close().await;
    }
    let [(ready_with, opened, memory, computed), (ready, ..)] = costs[..] else { return Ok(figures) };
    let mut figure = |what: &str, unit, value| {
        figures.push(Figure::new(NAME, format!("{LASTING} lives: {what}"), unit, Sample::once(value)));
    };
    figure("descriptors", Unit::Count, opened as f64);
    figure("resident memory, with the portfolio", Unit::Bytes, memory as f64);
    figure("until all are known, without the kernel", Unit::Milliseconds, ready.as_secs_f64() * 1_000.0);
    figure("until all are watched", Unit::Milliseconds, ready_with.as_secs_f64() * 1_000.0);
    figure("CPU each second at rest", Unit::Milliseconds, computed);
    Ok(figures)
}

/// How many descriptors this process has open.
fn descriptors() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}
