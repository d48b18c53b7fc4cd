//! A containerd in a container.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use whalewatcher_core::Container;
use whalewatcher_core::fleet::FleetPortfolio;
use whalewatcher_discover::PREFIX_LABEL;
use whalewatcher_drivers::docker::Plan;
use whalewatcher_host::process::Proc;
use xtask::cache::Cache;
use xtask::engines::Release;

use super::discovery::Found;
use crate::docker::fixture::DockerFixture;
use crate::fixture::Fixture as _;

/// Longer than the scenario takes.
const GRACE: Duration = Duration::from_secs(3600);

/// Runs containerd with the programs and libraries of the host, and with all its files in the container.
const ENGINE: &str = "set -e; mkdir -p /r/bin /r/proc /r/dev /r/sys; cp /bin/busybox /r/bin/sh; cp /bin/busybox /r/bin/sleep
printf 'version = 2\\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.nri.v1.nri\"]\\n' > /c.toml
export PATH=PROGRAMS:$PATH LD_LIBRARY_PATH=LIBRARIES
exec containerd --config /c.toml --root /c/root --state /c/state --address /c.sock";

/// Runs a container in it, in the control group of its own container.
const INNER: &str = "export PATH=PROGRAMS:$PATH LD_LIBRARY_PATH=LIBRARIES
until ctr -a /c.sock version; do sleep 0.1; done
ctr -a /c.sock run --detach --cgroup /inner --rootfs /r inner /bin/sh -c 'sleep 1000000' > /log 2>&1";

pub(super) async fn a_containerd_in_a_container_is_found_and_its_containers_have_prefix_and_pid_on_the_host(
    fixture: &DockerFixture,
) -> Result<()> {
    let (docker, engine) = (fixture.driver().await?, fixture.engine());
    // dockerd 20.10 gives a privileged container all capabilities that the kernel has, also those that this
    // host's root lacks.
    if engine.engine().release == Release::Bookworm {
        return Ok(());
    }
    let programs = engine.folder().join("bin");
    let cache = Cache::open()?.folder().to_owned();
    let shared = [Path::new("/lib"), Path::new("/lib64"), Path::new("/usr/lib"), &programs, &cache];
    let libraries = engine.installation().library_path().map(|path| path.display().to_string());
    let script = |script: &str| {
        let script = script.replace("PROGRAMS", &programs.display().to_string());
        script.replace("LIBRARIES", libraries.as_deref().unwrap_or_default())
    };
    let outer = Plan::named("outer").privileged().running(&script(ENGINE));
    let outer = shared.iter().filter(|path| path.exists()).fold(outer, |outer, path| outer.sharing(path));
    let id = docker.run(outer).await?;
    docker.exec(&id, &script(INNER)).await?;

    let found = Found::new(fixture, GRACE).await?;
    let inner = |alive: &FleetPortfolio| -> Option<Container> {
        let (_, inner) = alive.by_name("inner").next()?;
        (inner.labels().get(PREFIX_LABEL) == Some("outer")).then(|| Container::clone(inner))
    };
    let what = "the inner container is shown as in the outer one";
    found.announced.until(what, |so_far| inner(&so_far.fold).is_some()).await?;
    let alive = found.announced.so_far().fold.clone();
    let container = inner(&alive).context("it was shown")?;
    let on_host = container.host_pid().context("its PID on the host is not known")?;
    let process = Proc::default().open(on_host)?;
    ensure!(process.pids()? == [on_host, container.pid(), 1], "{container} is {:?}", process.pids()?);
    let group = std::fs::read_to_string(format!("/proc/{on_host}/cgroup"))?;
    ensure!(group.contains(&format!("/{id}/inner")), "{group}");
    let prefix = |name| {
        let (_, found) = alive.by_name(name).next()?;
        Some((found.labels().get(PREFIX_LABEL)?.to_owned(), found.host_pid()))
    };
    ensure!(prefix("outer") == Some((String::new(), None)), "{:?}", prefix("outer"));

    docker.kill(&id, "KILL").await?;
    found.until_reported("exited inner", 1).await?;
    found.until_reported("left containerd.io", 1).await?;
    fixture.figure(format!("PID {} in the container, {on_host} on the host", container.pid()));
    Ok(())
}
