//! The engine itself.

use anyhow::{Result, ensure};
use tokio::task::block_in_place;
use xtask::engines::{Options, PrivateEngine};

use super::super::fixture::CriFixture;
use crate::fixture::Fixture as _;
use whalewatcher_drivers::cri::Driver;
use whalewatcher_drivers::cri::{ContainerPlan, PodPlan};

pub(super) async fn an_instance_stopped_with_running_pods_leaves_nothing(fixture: &CriFixture) -> Result<()> {
    let other =
        block_in_place(|| PrivateEngine::start(fixture.engine().installation(), &Options::default()))?;
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
