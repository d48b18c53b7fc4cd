//! The program in another PID namespace than the engine, as in a container without `pid: host`.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio::process::Command;
use whalewatcher_drivers::docker::Plan;
use whalewatcher_host::process::Proc;
use xtask::engines::Release;

use super::prometheus::{Changes, Serving, until};
use super::serving::metric;
use crate::docker::fixture::DockerFixture;
use crate::fixture::Fixture as _;
use crate::scenarios::{Stopped, kill};

const NAMES: [&str; 2] = ["ends", "stays"];

/// Starts processes that have these PIDs in this namespace, and then the program, with one that a process
/// beside the engine has.
const STRANGERS: &str = "begin() { echo $(($1 - 1)) > /proc/sys/kernel/ns_last_pid; }
for pid in PIDS
do begin $pid
    sleep 1000000 &
done
begin OURS
\"$@\" &
wait";

pub(super) async fn in_another_pid_namespace_no_life_is_watched_and_no_stranger_is_taken_for_one(
    fixture: &DockerFixture,
) -> Result<()> {
    if fixture.engine().engine().release != Release::Trixie {
        fixture.figure("only on docker@trixie".to_owned());
        return Ok(());
    }
    let docker = fixture.driver().await?;
    let ids = docker.run_all(NAMES.map(Plan::named)).await?;
    let pids = [fixture.pid(&ids[0]).await?, fixture.pid(&ids[1]).await?];
    let script = STRANGERS.replace("PIDS", &pids.map(|pid| pid.to_string()).join(" "));
    let script = script.replace("OURS", &std::process::id().to_string());
    let beside = Command::new("env");
    let (within, with_hosts_proc) = (unshare(&["--mount-proc"], &script), unshare(&[], &script));
    // There may be others, of scenarios before.
    let all = fixture.truth().await?.alive.len();
    let mut servers = Vec::new();
    for (name, command, unwatched) in
        [("beside", beside, 0), ("within", within, all), ("hosts-proc", with_hosts_proc, all)]
    {
        let folder = fixture.socket(name);
        fs::create_dir(&folder)?;
        let serving = Serving::start_by(command, fixture, &folder, &[]).await?;
        let mut changes = serving.events().await?;
        changes.until("synced").await?;
        let unwatched = unwatched as f64;
        let counted =
            async || Ok((metric(&serving, "whalewatcher_unwitnessed").await? == unwatched).then_some(()));
        until(&format!("{name}: {unwatched} lives are not watched"), counted).await?;
        servers.push((name, serving, changes));
    }
    // Those that have a container's PID, in both namespaces.
    let mut strangers = Vec::new();
    for pid in Proc::default().pids()? {
        let process = Proc::default().open(pid).and_then(|process| process.pids());
        if process.is_ok_and(|all| all.len() == 2 && pids.contains(&all[1])) {
            strangers.push(pid);
        }
    }
    ensure!(strangers.len() == 2 * NAMES.len(), "no process has the PIDs {pids:?} there: {strangers:?}");

    // Now what the kernel reports is published at once.
    let stopped = Stopped::new(fixture.engine().pid())?;
    strangers.into_iter().try_for_each(kill)?;
    kill(pids[0])?;
    let (_, _, changes) = &mut servers[0];
    exits(changes, "ends", Some("kernel")).await?;
    drop(stopped);
    for (_, _, changes) in &mut servers[1..] {
        exits(changes, "ends", None).await?;
    }
    docker.kill(&ids[1], "KILL").await?;
    for (_, _, changes) in &mut servers[1..] {
        exits(changes, "stays", None).await?;
    }
    Ok(())
}

/// Starts what follows in a PID namespace of its own.
fn unshare(options: &[&str], script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child"]).args(options).args(["sh", "-c", script, "sh"]);
    command
}

/// Checks that the next exit is that of this container, and seen by the kernel or reported by the engine.
async fn exits(changes: &mut Changes, name: &str, seen_by: Option<&str>) -> Result<()> {
    let exit = changes.until("exited").await?;
    let code = if seen_by.is_some() { Value::Null } else { 137.into() };
    let is_it = exit["container"]["name"] == name && exit["seen_by"].as_str() == seen_by;
    ensure!(is_it && exit["exit_code"] == code, "not the end of '{name}': {exit}");
    Ok(())
}
