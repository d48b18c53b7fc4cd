//! A containerd that only has nothing to say.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::super::fixture::CriFixture;
use crate::fixture::{Fixture as _, settings};
use crate::recorder::LIMIT;
use whalewatcher_drivers::cri::{ContainerPlan, PodPlan};

/// For how many checks nothing happens. That nothing comes of them can only be waited for.
const QUIET_CHECKS: u32 = 15;

pub(super) async fn idle_containerd_is_not_considered_dead(fixture: &CriFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let every = Duration::from_millis(100);
    let watched = fixture.begin_watch(settings().with_probes(every, LIMIT))?;
    watched.ready().await?;
    let pod = driver.run_pod(&PodPlan::named("quiet")).await?;
    driver.run(&pod, &ContainerPlan::named("quiet")).await?;
    fixture.check(&watched).await?;
    let reported = watched.recorder().len();
    sleep(every * QUIET_CHECKS).await;
    ensure!(watched.recorder().len() == reported, "there was something\n{}", watched.recorder().tail());
    let counters = watched.watching.status().counters;
    ensure!((counters.connects, counters.resyncs) == (1, 1), "a false alarm: {counters:?}");
    driver.remove_pod(&pod.id).await?;
    fixture.check(&watched).await
}
