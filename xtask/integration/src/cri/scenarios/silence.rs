//! A containerd that is dead without saying so, and one that only has nothing to say.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;

use super::super::check::check;
use super::super::fixture::CriFixture;
use super::super::truth::Truth;
use crate::docker::scenarios::outage::{is_reported, kill};
use crate::docker::scenarios::silence::{Stopped, until_noticed};
use crate::fixture::{Fixture as _, settings};
use crate::recorder::{LIMIT, Reader};
use whalewatcher_drivers::cri::{ContainerPlan, PodPlan};

/// For how many checks nothing happens. That nothing comes of them can only be waited for.
const QUIET_CHECKS: u32 = 15;

pub(super) async fn stopped_containerd_is_detected_and_yields_the_difference(
    fixture: &CriFixture,
) -> Result<()> {
    let driver = fixture.driver().await?;
    let pod = driver.run_pod(&PodPlan::named("stays")).await?;
    driver.run(&pod, &ContainerPlan::named("stays")).await?;
    let goes = driver.run(&pod, &ContainerPlan::named("goes")).await?;
    fixture.fence_pod().await?;
    // The engine may emit the exit before the watcher is subscribed again, and record it only later.
    let watched = fixture.watch().await?.that_is_hindered();
    check(fixture, &watched).await?;
    let reported = Reader::new(watched.recorder());
    let ending = Truth::ask(&driver).await?.alive.get(&goes).context("it is not alive")?.pid;

    let stopped = Stopped::new(fixture.engine().containerd_pid())?;
    kill(i32::try_from(ending)?)?;
    fixture.figure(until_noticed(&watched).await?);
    ensure!(watched.watching.portfolio().by_id(&goes).is_some(), "no event can have reported the exit yet");
    ensure!(reported.rest().is_empty(), "reported although the engine says nothing: {:?}", reported.rest());

    drop(stopped);
    watched.in_sync_again(1).await?;
    // The shim could not report it, and tries again after a while.
    watched.recorder().until_reported(1, "exited").await?;
    check(fixture, &watched).await?;
    is_reported(&reported.rest(), &[("goes", &["exited"])], watched.recorder())
}

pub(super) async fn idle_containerd_is_not_considered_dead(fixture: &CriFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let every = Duration::from_millis(100);
    let watched = fixture.begin_watch(settings().with_probes(every, LIMIT))?;
    watched.ready().await?;
    let pod = driver.run_pod(&PodPlan::named("quiet")).await?;
    driver.run(&pod, &ContainerPlan::named("quiet")).await?;
    check(fixture, &watched).await?;
    let reported = watched.recorder().len();
    sleep(every * QUIET_CHECKS).await;
    ensure!(watched.recorder().len() == reported, "there was something\n{}", watched.recorder().tail());
    let counters = watched.watching.status().counters;
    ensure!((counters.connects, counters.resyncs) == (1, 1), "a false alarm: {counters:?}");
    driver.remove_pod(&pod.id).await?;
    check(fixture, &watched).await
}
