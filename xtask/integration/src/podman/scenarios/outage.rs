//! podman goes away and comes back, while its containers live on.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use whalewatcher_drivers::docker::Plan;

use super::super::PodmanFixture;
use crate::docker::churn::Churn;
use crate::docker::fixture::pid_of;
use crate::docker::scenarios::outage::{is_reported, kill};
use crate::fixture::Fixture as _;
use crate::recorder::Reader;

pub(super) async fn killed_podman_yields_the_difference(fixture: &PodmanFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let watched = fixture.watch().await?.that_is_cut();
    docker.run_all((0..3).map(|number| Plan::named(format!("stays-{number}")))).await?;
    docker.run(Plan::named("goes")).await?;
    watched.recorder().until_reported(4, "started").await?;
    docker.pause("stays-2").await?;
    watched.recorder().until_reported(1, "paused").await?;
    fixture.check(&watched).await?;
    let reported = Reader::new(watched.recorder());
    let ending = pid_of(&docker, "goes").await?;

    fixture.kill_engine()?;
    watched.recorder().until_reported(1, "disconnected").await?;
    ensure!(watched.watching.portfolio().total() == 4, "what was last known is gone during the outage");
    kill(ending)?;
    fixture.start_engine()?;
    watched.in_sync_again(1).await?;
    fixture.check(&watched).await?;
    is_reported(&reported.rest(), &[("goes", &["exited"])], watched.recorder())?;

    // It goes on as before.
    let docker = fixture.driver().await?;
    docker.unpause("stays-2").await?;
    watched.recorder().until_reported(1, "unpaused").await?;
    docker.run(Plan::named("comes")).await?;
    watched.recorder().until("it is reported", |record| record.fold.by_name("comes").is_some()).await?;
    fixture.check(&watched).await
}

pub(super) async fn podman_killed_repeatedly_during_churn(fixture: &PodmanFixture) -> Result<()> {
    let watched = fixture.watch().await?.that_is_cut();
    let docker = fixture.driver().await?;
    let churn = Churn::prepare(&docker, "outage", 6, fastrand::u64(..)).await?;
    for outage in 1..=3 {
        let docker = fixture.driver().await?;
        let over = AtomicBool::new(false);
        let is_over = || over.load(Ordering::Relaxed);
        let killing = async {
            churn.until_transitions(churn.transitions() + 8).await;
            let killed = fixture.kill_engine();
            over.store(true, Ordering::Relaxed);
            killed
        };
        let (_, _, killed) = tokio::join!(
            churn.run(&docker, outage, is_over),
            churn.run(&docker, outage + 9, is_over),
            killing
        );
        killed?;
        fixture.start_engine()?;
        watched.in_sync_again(usize::try_from(outage)?).await?;
    }
    churn.until_quiet(&fixture.driver().await?).await?;
    fixture.figure(format!("{} transitions, and 3 outages", churn.transitions()));
    fixture.check(&watched).await
}
