//! A containerd that is dead without saying so, and one that only has nothing to say.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;

use super::super::check::check;
use super::super::stage::Stage;
use super::super::truth::Truth;
use crate::recorder::{LIMIT, Reader};
use crate::scenarios::outage::{is_reported, kill};
use crate::scenarios::silence::{Stopped, until_noticed};
use crate::stage::settings;
use whalewatcher_drivers::cri::{ContainerPlan, PodPlan};

/// For how many checks nothing happens. That nothing comes of them can only be waited for.
const QUIET_CHECKS: u32 = 15;

pub(super) async fn a_containerd_that_stops_answering_is_noticed_and_then_the_difference_is_reported(
    stage: &Stage,
) -> Result<()> {
    let driver = stage.driver().await?;
    let pod = driver.run_pod(&PodPlan::named("stays")).await?;
    driver.run(&pod, &ContainerPlan::named("stays")).await?;
    let goes = driver.run(&pod, &ContainerPlan::named("goes")).await?;
    stage.fence_pod().await?;
    // The engine may have told of the end before anybody listens again, and note it itself only later.
    let watched = stage.watch().await?.that_is_hindered();
    check(stage, &watched).await?;
    let reported = Reader::new(watched.recorder());
    let ending = Truth::ask(&driver).await?.alive.get(&goes).context("it is not alive")?.pid;

    let stopped = Stopped::new(stage.engine().containerd_pid())?;
    kill(i32::try_from(ending)?)?;
    stage.figure(until_noticed(&watched).await?);
    ensure!(watched.watching.portfolio().by_id(&goes).is_some(), "nobody can know yet that it has ended");
    ensure!(reported.rest().is_empty(), "reported although the engine says nothing: {:?}", reported.rest());

    drop(stopped);
    watched.in_sync_again(1).await?;
    // The shim could tell nobody of it, and tries again after a while.
    watched.recorder().until_reported(1, "exited").await?;
    check(stage, &watched).await?;
    is_reported(&reported.rest(), &[("goes", &["exited"])], watched.recorder())
}

pub(super) async fn a_containerd_with_nothing_to_say_is_not_taken_for_a_dead_one(
    stage: &Stage,
) -> Result<()> {
    let driver = stage.driver().await?;
    let every = Duration::from_millis(100);
    let watched = stage.begin_watch(settings().with_probes(every, LIMIT))?;
    watched.ready().await?;
    let pod = driver.run_pod(&PodPlan::named("quiet")).await?;
    driver.run(&pod, &ContainerPlan::named("quiet")).await?;
    check(stage, &watched).await?;
    let reported = watched.recorder().len();
    sleep(every * QUIET_CHECKS).await;
    ensure!(watched.recorder().len() == reported, "there was something\n{}", watched.recorder().tail());
    let counters = watched.watching.status().counters;
    ensure!((counters.connects, counters.resyncs) == (1, 1), "a false alarm: {counters:?}");
    driver.remove_pod(&pod.id).await?;
    check(stage, &watched).await
}
