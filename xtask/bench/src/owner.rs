//! What it costs to find the container of a process, next to reading the process' control groups once.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use whalewatcher_bench::cost::nanoseconds_each;
use whalewatcher_bench::figure::{Aim, Figure, Unit};
use whalewatcher_bench::population;
use whalewatcher_bench::rounds::in_turn;
use whalewatcher_core::{Container, Portfolio};
use whalewatcher_host::owner_of;

use crate::bench::Effort;

const CONTAINERS: usize = 10_000;
/// How many lookups are one measurement.
const LOOKUPS: usize = 5_000;
/// 10,000 lookups a second on one core.
const AIM: Aim = Aim::AtMost(100_000.0);

pub(crate) fn run(_: &str, effort: &Effort) -> Result<Vec<Figure>> {
    let id = population::id(0);
    let group = Group::of_child(&id)?;
    let (inside, outside) = (group.child.id(), std::process::id());
    let first = Container::new(id.as_str(), population::name(0), inside);
    let portfolio = Portfolio::from_iter((1..CONTAINERS).map(population::container).chain([first]));
    let found = |pid| anyhow::Ok(owner_of(pid, [&portfolio])?.map(|owner| owner.container.id().to_string()));
    ensure!(found(inside)? == Some(id), "the container of its own process is not found");
    ensure!(found(outside)?.is_none(), "the bench is in a container that it knows");
    let figure = |what: &str, pid: u32| {
        let cgroup = format!("/proc/{pid}/cgroup");
        let pair = in_turn(
            effort.rounds,
            || of_each(|| drop(black_box(owner_of(pid, [&portfolio])))),
            || of_each(|| drop(black_box(fs::read(&cgroup)))),
        );
        let what = format!("the container of a process, {what}, {CONTAINERS} containers");
        Figure::new("owner", what, Unit::Nanoseconds, pair.measured)
            .over(pair.floor, pair.ratio)
            .aiming_at(AIM)
    };
    Ok(vec![figure("in a container", inside), figure("in none", outside)])
}

fn of_each(mut look: impl FnMut()) -> f64 {
    nanoseconds_each(LOOKUPS, || (0..LOOKUPS).for_each(|_| look()))
}

/// A process in a control group of its own. Dropping it ends both.
struct Group {
    child: Child,
    path: PathBuf,
}

impl Group {
    fn of_child(name: &str) -> Result<Self> {
        // Version 2, or a hierarchy of version 1.
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"].map(Path::new);
        let root = roots.into_iter().find(|root| root.join("cgroup.procs").exists());
        let path = root.context("no control groups are mounted at /sys/fs/cgroup")?.join(name);
        fs::create_dir(&path)
            .with_context(|| format!("cannot create the control group {}", path.display()))?;
        let child = Command::new("sleep").arg("infinity").stdin(Stdio::null()).spawn();
        let group = match child {
            Ok(child) => Self { child, path },
            Err(error) => {
                let _ = fs::remove_dir(&path);
                return Err(error).context("cannot run sleep");
            }
        };
        fs::write(group.path.join("cgroup.procs"), group.child.id().to_string())
            .with_context(|| format!("cannot move a process to {}", group.path.display()))?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
        let _ = fs::remove_dir(&self.path);
    }
}
