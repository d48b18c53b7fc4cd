//! Others on the same containerd.

use anyhow::{Context as _, Result, ensure};
use tokio::task::block_in_place;

use super::super::fixture::ContainerdFixture;
use super::super::truth::tasks;
use crate::fixture::Fixture as _;
use crate::recorder::Reader;
use whalewatcher_drivers::containerd::Plan;
use whalewatcher_drivers::docker;

pub(super) async fn containers_of_a_dockerd_on_the_same_containerd_are_ignored(
    fixture: &ContainerdFixture,
) -> Result<()> {
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    let socket =
        block_in_place(|| fixture.engine().start_dockerd(false)).context("cannot start dockerd beside")?;
    let played = play(fixture, &socket, &mut reported).await;
    block_in_place(|| fixture.engine().stop_dockerd())?;
    played?;
    fixture.check(&watched).await?;
    ensure!(reported.rest().is_empty(), "there was more: {:?}", reported.rest());
    // Nor does a watcher that comes later see any.
    let later = fixture.watch().await?;
    fixture.check(&later).await
}

async fn play(
    fixture: &ContainerdFixture,
    socket: &std::path::Path,
    reported: &mut Reader<'_>,
) -> Result<()> {
    let docker = docker::Driver::connect(socket).await?;
    // It keeps what the scenario left in it if it was played before.
    docker.remove_all(None).await?;
    let plan = docker::Plan::named("whale");
    docker.run(plan).await?;
    let there = tasks(fixture.engine(), "moby").await?;
    ensure!(there.len() == 1 && there[0].status == "RUNNING", "dockerd runs it elsewhere: {there:?}");
    docker.pause("whale").await?;
    docker.unpause("whale").await?;
    // When this container is reported, all earlier events have arrived.
    fixture.driver().await?.run(&Plan::of("ours")).await?;
    reported.expect("started ours").await?;
    docker.remove("whale").await?;
    fixture.driver().await?.remove("ours").await?;
    reported.expect("exited ours 137").await
}
