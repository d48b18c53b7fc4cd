//! What a watcher finds when it comes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;
use whalewatcher_host::age_of;

use super::super::fixture::ContainerdFixture;
use crate::fixture::{Fixture as _, settings};
use whalewatcher_drivers::containerd::Plan;

pub(super) async fn nerdctl_containers_in_three_namespaces_are_there_at_the_start(
    fixture: &ContainerdFixture,
) -> Result<()> {
    let (driver, begun) = (fixture.driver().await?, Instant::now());
    let shop = |number: usize| {
        Plan::of(format!("staging/{number:064x}")).named(&format!("shop-web-{number}")).in_project("shop")
    };
    driver.run_all((1..=3).map(shop)).await?;
    driver.run_all([Plan::of("lonely"), Plan::of("4711").named("named"), Plan::of("other/lonely")]).await?;
    driver.pause("other/lonely").await?;
    // None of these is alive.
    driver.create(&Plan::of("without-a-task")).await?;
    driver.create(&Plan::of("never-started")).await?;
    driver.create_task("never-started").await?;
    driver.run(&Plan::of("other/over").running("exit 3")).await?;
    driver.ended("other/over").await?;
    let truth = fixture.truth().await?;
    ensure!(truth.alive.len() == 6, "{} are alive", truth.alive.len());

    let watched = fixture.begin_watch(settings())?;
    watched.ready().await?;
    let portfolio = watched.watching.portfolio();
    let differences = truth.differences(&portfolio);
    ensure!(differences.is_empty(), "ready, but not right:\n    {}", differences.join("\n    "));
    let mut names: Vec<&str> = portfolio.containers().map(|container| container.name()).collect();
    names.sort_unstable();
    let expected =
        ["lonely", "named", "other/lonely", "staging/shop-web-1", "staging/shop-web-2", "staging/shop-web-3"];
    ensure!(names == expected, "the names are {names:?}");
    for container in portfolio.containers() {
        // Without a start time of the engine's.
        let age = age_of(container)?.with_context(|| format!("{container} has no age"))?;
        ensure!(age < begun.elapsed() + Duration::from_secs(1), "{container} is {age:?} old");
    }
    let projects: Vec<&str> = portfolio.names().collect();
    ensure!(projects == ["shop"], "the projects are {projects:?}");
    fixture.check(&watched).await?;
    driver.start_task("never-started").await?;
    watched.recorder().until_reported(7, "started").await?;
    fixture.check(&watched).await?;
    let namespaces = driver.namespaces().await?;
    ensure!(
        namespaces.iter().all(|name| ["default", "staging", "other"].contains(&name.as_str())),
        "watching left a namespace behind: {namespaces:?}"
    );
    Ok(())
}
