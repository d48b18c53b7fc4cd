//! Everything at once, at random.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::join_all;

use super::super::check::check;
use super::super::churn::churn;
use super::super::fixture::ContainerdFixture;
use crate::docker::churn::seed;
use crate::fixture::{Fixture as _, settings};
use crate::recorder::Recorder;

const TRANSITIONS: usize = 150;

pub(super) async fn random_churn_with_three_subscribers(fixture: &ContainerdFixture) -> Result<()> {
    let churn = churn(fixture.driver().await?, seed(|text| fixture.figure(text))?);
    let mut watched = fixture.begin_watch(settings().with_subscriber_queue(16))?;
    for (name, rest) in [("slow", 20), ("slowest", 200)] {
        let subscription = watched.watching.subscribe();
        watched.recorders.push(Recorder::start(name, subscription, Duration::from_millis(rest)));
    }
    watched.ready().await?;
    join_all((0..4).map(|who| churn.run(who, || churn.transitions() >= TRANSITIONS))).await;
    churn.settle().await?;
    check(fixture, &watched).await?;
    for recorder in &watched.recorders {
        churn.lives().bears_out(&recorder.record())?;
    }
    let record = watched.recorder().record().clone();
    let lagged: Vec<usize> =
        watched.recorders.iter().map(|recorder| recorder.record().count("lagged")).collect();
    fixture.figure(format!(
        "{} transitions, {} refused; {} starts and {} exits reported, {} alive; subscribers lagged {lagged:?} times",
        churn.transitions(),
        churn.refused(),
        record.count("started"),
        record.count("exited"),
        watched.watching.portfolio().total(),
    ));
    ensure!(record.count("started") > 0 && record.count("exited") > 0, "nothing happened");
    Ok(())
}
