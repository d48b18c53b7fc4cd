//! Whether the engine itself does what all other scenarios build on.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tokio::task::block_in_place;
use xtask::engines::Containerd;

use super::super::fixture::CriFixture;
use super::super::truth::Truth;
use crate::fixture::Fixture as _;
use whalewatcher_drivers::cri::Driver;
use whalewatcher_drivers::cri::{ContainerPlan, PodPlan};

pub(super) async fn the_fixture_runs_pods_like_a_kubelet(fixture: &CriFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let version = driver.ready().await?;
    fixture.figure(format!(
        "{} {}, {}",
        version.runtime_name, version.runtime_version, version.runtime_api_version
    ));
    let plan = PodPlan::named("web")
        .within("shop")
        .of_a_kubelet()
        .labelled("tier", "front")
        .annotated("why", "a test");
    let pod = driver.run_pod(&plan).await?;
    let plan = ContainerPlan::named("server").labelled("tier", "front").annotated("why", "a test");
    let first = driver.run(&pod, &plan).await?;
    let brief = driver.run(&pod, &ContainerPlan::named("brief").running("exit 3")).await?;
    let code = driver.ended(&brief).await?;
    ensure!(code == 3, "it ended with {code}");
    let (code, printed) = driver.exec(&first, "echo $$ here; exit 4").await?;
    ensure!(code == 4 && printed.ends_with("here\n"), "an exec ended with {code} and printed {printed}");
    let truth = Truth::ask(&driver).await?;
    ensure!(truth.alive.len() == 2, "alive are {:?}", truth.alive);
    for alive in truth.alive.values() {
        ensure!(Path::new(&format!("/proc/{}", alive.pid)).exists(), "{alive:?} has no process");
        ensure!(alive.started_at.is_some(), "{alive:?} never began");
    }
    for id in [&pod.id, &first] {
        let alive = truth.alive.get(id).with_context(|| format!("{id} is not alive"))?;
        for (key, value) in [
            ("tier", "front"),
            ("io.kubernetes.annotation/why", "a test"),
            ("io.kubernetes.pod.name", "web"),
            ("io.kubernetes.pod.namespace", "shop"),
        ] {
            ensure!(alive.labels.get(key).is_some_and(|label| label == value), "{key} is lost: {alive:?}");
        }
    }
    ensure!(truth.ended.keys().eq([&brief]), "ended are {:?}", truth.ended);

    let before: Vec<u32> = truth.alive.values().map(|alive| alive.pid).collect();
    fixture.kill_engine()?;
    fixture.start_engine()?;
    let driver = fixture.driver().await?;
    let truth = Truth::ask(&driver).await?;
    let after: Vec<u32> = truth.alive.values().map(|alive| alive.pid).collect();
    ensure!(before == after, "a killed containerd took pods with it: {:?}", truth.alive);
    driver.stop(&first).await?;
    let code = driver.ended(&first).await?;
    ensure!(code == 137, "a container that was stopped at once ended with {code}");
    let again = driver.run(&pod, &ContainerPlan::named("server").attempt(1)).await?;
    ensure!(again != first, "the next attempt is the same container");
    driver.remove(&brief).await?;
    ensure!(driver.container(&brief).await?.is_none(), "a removed container is still there");
    driver.stop_pod(&pod.id).await?;
    let truth = Truth::ask(&driver).await?;
    ensure!(truth.alive.is_empty(), "alive are {:?}", truth.alive);
    driver.remove_pod(&pod.id).await
}

pub(super) async fn an_instance_stopped_with_running_pods_leaves_nothing(fixture: &CriFixture) -> Result<()> {
    let other = block_in_place(|| Containerd::start(fixture.installation(), None))?;
    let driver = Driver::new(&other)?;
    driver.ready().await?;
    for pod in driver.run_pods(["one", "two"].map(PodPlan::named)).await? {
        driver.run(&pod, &ContainerPlan::named("stays")).await?;
    }
    let marker = other.marker();
    let remains = marker.remains()?;
    for what in ["process", "mount", "cgroup", "socket"] {
        ensure!(remains.iter().any(|line| line.contains(what)), "it has no {what}: {remains:?}");
    }
    drop(driver);
    block_in_place(|| other.stop())?;
    let remains = marker.remains()?;
    ensure!(remains.is_empty(), "there remains: {}", remains.join(", "));
    Ok(())
}
