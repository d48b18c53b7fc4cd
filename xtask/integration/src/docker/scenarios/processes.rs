//! Which container a process belongs to.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::block_in_place;
use whalewatcher_core::Portfolio;
use whalewatcher_drivers::docker::{AT_ONCE, Plan};
use whalewatcher_host::owner_of;

use crate::docker::fixture::DockerFixture;
use crate::fixture::Fixture as _;

pub(super) async fn processes_belong_to_the_container_of_their_control_group(
    fixture: &DockerFixture,
) -> Result<()> {
    let docker = fixture.driver().await?;
    let ids = docker.run_all(["one", "two", "three"].map(Plan::named)).await?;
    let watched = fixture.watch().await?;
    let portfolio = watched.watching.portfolio();
    let execs = (0..60).map(|number| docker.exec(&ids[number % 2], "true; true"));
    let execs = stream::iter(execs).buffer_unordered(AT_ONCE).try_collect::<()>();
    let looks = async {
        let mut found = BTreeMap::<_, usize>::new();
        for _ in 0..20 {
            for (name, number) in block_in_place(|| look(&portfolio))? {
                *found.entry(name).or_default() += number;
            }
            tokio::task::yield_now().await;
        }
        anyhow::Ok(found)
    };
    let ((), found) = tokio::try_join!(execs, looks)?;
    for name in ["one", "two", "three"] {
        ensure!(found.get(name).is_some_and(|number| *number >= 20), "of '{name}': {found:?}");
    }
    fixture.figure(format!("processes found by their container: {found:?}"));
    // Without its initial process a container owns nothing.
    docker.kill(&ids[2], "KILL").await?;
    docker.await_events("die", 1, ("container", "three")).await?;
    let left = block_in_place(|| look(&portfolio))?;
    ensure!(!left.contains_key("three"), "a container that has ended owns processes: {left:?}");
    Ok(())
}

/// Compares the owners of all processes of the host with what their control groups are named. Returns the
/// number of processes by the name of their container.
fn look(portfolio: &Portfolio) -> Result<BTreeMap<String, usize>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let groups = || fs::read_to_string(format!("/proc/{pid}/cgroup"));
        let Ok(before) = groups() else { continue };
        let owner = match owner_of(pid, [portfolio]) {
            Ok(owner) => owner,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("process {pid}")),
        };
        // It is moved into its container's group as it starts.
        if groups().ok().as_ref() != Some(&before) {
            continue;
        }
        let named = portfolio.containers().find(|container| before.contains(container.id().as_str()));
        match (owner, named) {
            (Some(owner), named) => {
                ensure!(
                    named.is_some_and(|named| named.id() == owner.container.id()),
                    "process {pid} is said to belong to {}, but it is in {before}",
                    owner.container
                );
                *found.entry(owner.container.name().to_owned()).or_default() += 1;
            }
            (None, Some(named)) => {
                let initial = fs::read_to_string(format!("/proc/{}/cgroup", named.pid()));
                ensure!(
                    !initial.is_ok_and(|initial| initial.contains(named.id().as_str())),
                    "process {pid} is said to belong to no container, but it is in {before}"
                );
            }
            (None, None) => {}
        }
    }
    Ok(found)
}
