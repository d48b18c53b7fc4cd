//! Large numbers.

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;

use super::super::fixture::CriFixture;
use crate::fixture::Fixture as _;
use crate::recorder::Reader;
use whalewatcher_drivers::cri::AT_ONCE;
use whalewatcher_drivers::cri::{ContainerPlan, PodPlan};

const PODS: usize = 50;
/// Of these.
const WITH_A_CONTAINER: usize = 10;
/// How many go while it is watched, and how many come.
const CHANGING: usize = 15;

pub(super) async fn many_pods_are_there_at_the_start_and_come_and_go(fixture: &CriFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let began = Instant::now();
    let pods = driver.run_pods((0..PODS).map(|number| PodPlan::named(format!("pod-{number:03}")))).await?;
    let containers = stream::iter(&pods[..WITH_A_CONTAINER]);
    let containers = containers.map(async |pod| driver.run(pod, &ContainerPlan::named("main")).await);
    containers.buffered(AT_ONCE).try_collect::<Vec<_>>().await?;
    let made = began.elapsed();
    let began = Instant::now();
    let watched = fixture.watch().await?;
    fixture.figure(format!(
        "{PODS} pods made in {:.1} s, known in {:.2} s",
        made.as_secs_f32(),
        began.elapsed().as_secs_f32()
    ));
    fixture.check(&watched).await?;
    let total = watched.watching.portfolio().total();
    ensure!(total == PODS + WITH_A_CONTAINER, "{total} are alive");

    let reported = Reader::new(watched.recorder());
    let going = WITH_A_CONTAINER / 2..WITH_A_CONTAINER / 2 + CHANGING;
    let going = stream::iter(&pods[going]).map(|pod| driver.remove_pod(&pod.id));
    let coming = driver.run_pods((0..CHANGING).map(|number| PodPlan::named(format!("later-{number:02}"))));
    let (gone, came) = tokio::join!(going.buffer_unordered(AT_ONCE).try_collect::<()>(), coming);
    gone?;
    came?;
    fixture.check(&watched).await?;
    let count = |kind: &str| reported.rest().iter().filter(|words| words.starts_with(kind)).count();
    let counts = (count("started"), count("exited"));
    ensure!(counts == (CHANGING, CHANGING + WITH_A_CONTAINER / 2), "reported were {counts:?}");
    let pods = watched.watching.portfolio().pods();
    ensure!(
        pods.pod("default/pod-000").is_some_and(|pod| pod.containers().count() == 1),
        "a pod is not whole"
    );
    Ok(())
}
