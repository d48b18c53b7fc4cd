//! Watches that end before their time.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

use super::super::Client;
use super::super::check::check;
use super::super::churn::churn;
use super::super::fixture::CriFixture;
use crate::docker::scenarios::dropping::dropped_at_random_moments;
use crate::fixture::Fixture as _;
use crate::leaks::{Apart, descriptors, no_more_descriptors_than};
use whalewatcher_drivers::cri::{ContainerPlan, PodPlan};

/// How many watches are dropped at random moments.
const WATCHES: usize = 40;

pub(super) async fn watches_dropped_at_random_during_churn_leave_nothing(fixture: &CriFixture) -> Result<()> {
    fixture.release_driver();
    let apart = Apart::build()?;
    let before = descriptors()?;
    let driver = fixture.driver().await?;
    let pod = driver.run_pod(&PodPlan::named("stays")).await?;
    driver.run(&pod, &ContainerPlan::named("stays")).await?;
    let churn = churn(driver.clone(), fastrand::u64(..));
    let endpoint = fixture.endpoint();
    let over = AtomicBool::new(false);
    let dropping = async {
        let dropped = dropped_at_random_moments(&apart, WATCHES, || Ok(Client::new(&endpoint)?)).await;
        over.store(true, Ordering::Relaxed);
        dropped
    };
    let is_over = || over.load(Ordering::Relaxed);
    let ((), (), live) = tokio::join!(churn.run(1, is_over), churn.run(2, is_over), dropping);
    let live = live?;
    fixture.figure(format!(
        "{WATCHES} watches dropped, {live} of them when they were live already; {} transitions meanwhile",
        churn.transitions()
    ));
    churn.settle().await?;
    drop((churn, driver));
    fixture.release_driver();
    no_more_descriptors_than(&before).await?;
    let watched = fixture.watch().await?;
    check(fixture, &watched).await
}
