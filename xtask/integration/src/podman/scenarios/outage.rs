//! podman goes away and comes back, while its containers live on.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use whalewatcher_drivers::docker::Plan;

use super::super::Stage;
use crate::churn::Churn;
use crate::recorder::Reader;
use crate::scenarios::outage::{is_reported, kill};
use crate::stage::pid_of;

pub(super) async fn of_a_killed_podman_the_difference_is_reported(stage: &Stage) -> Result<()> {
    let docker = stage.docker().await?;
    let watched = stage.watch().await?.that_is_cut();
    docker.run_all((0..3).map(|number| Plan::named(format!("stays-{number}")))).await?;
    docker.run(Plan::named("goes")).await?;
    watched.recorder().until_reported(4, "started").await?;
    docker.pause("stays-2").await?;
    watched.recorder().until_reported(1, "paused").await?;
    stage.check(&watched).await?;
    let reported = Reader::new(watched.recorder());
    let ending = pid_of(&docker, "goes").await?;

    stage.kill_engine()?;
    watched.recorder().until_reported(1, "disconnected").await?;
    ensure!(watched.watching.portfolio().total() == 4, "what was last known is gone during the outage");
    kill(ending)?;
    stage.start_engine()?;
    watched.in_sync_again(1).await?;
    stage.check(&watched).await?;
    is_reported(&reported.rest(), &[("goes", &["exited"])], watched.recorder())?;

    // It goes on as before.
    let docker = stage.docker().await?;
    docker.unpause("stays-2").await?;
    watched.recorder().until_reported(1, "unpaused").await?;
    docker.run(Plan::named("comes")).await?;
    watched.recorder().until("it is reported", |record| record.fold.by_name("comes").is_some()).await?;
    stage.check(&watched).await
}

pub(super) async fn podman_is_killed_again_and_again_while_containers_come_and_go(
    stage: &Stage,
) -> Result<()> {
    let watched = stage.watch().await?.that_is_cut();
    let docker = stage.docker().await?;
    let churn = Churn::prepare(&docker, "outage", 6, fastrand::u64(..)).await?;
    for outage in 1..=3 {
        let docker = stage.docker().await?;
        let over = AtomicBool::new(false);
        let is_over = || over.load(Ordering::Relaxed);
        let killing = async {
            churn.until_transitions(churn.transitions() + 8).await;
            let killed = stage.kill_engine();
            over.store(true, Ordering::Relaxed);
            killed
        };
        let (_, _, killed) = tokio::join!(
            churn.run(&docker, outage, is_over),
            churn.run(&docker, outage + 9, is_over),
            killing
        );
        killed?;
        stage.start_engine()?;
        watched.in_sync_again(usize::try_from(outage)?).await?;
    }
    churn.until_quiet(&stage.docker().await?).await?;
    stage.figure(format!("{} transitions, and 3 outages", churn.transitions()));
    stage.check(&watched).await
}
