//! A watcher that only asks for what is alive, again and again.

use std::time::Duration;

use anyhow::{Result, ensure};
use whalewatcher_core::{ChangeSource, watch_with};
use whalewatcher_cri::Client;

use super::super::check::check_by;
use super::super::fixture::{CriFixture, Watched};
use crate::fixture::{Fixture as _, settings};
use crate::recorder::Reader;
use whalewatcher_drivers::cri::{ContainerPlan, PodPlan};

const EVERY: Duration = Duration::from_millis(100);

pub(super) async fn polling_reports_all_lasting_changes(fixture: &CriFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let source = ChangeSource::Polling { every: EVERY };
    let stays = driver.run_pod(&PodPlan::named("stays")).await?;
    let first = driver.run(&stays, &ContainerPlan::named("server")).await?;
    let before = fixture.requests("GetContainerEvents")?;
    let client = Client::builder().endpoint(fixture.endpoint()).poll_every(EVERY).polling().build()?;
    let watched = Watched::new(watch_with(client, settings()));
    watched.ready().await?;
    check_by(fixture, &watched, source).await?;
    let mut reported = Reader::new(watched.recorder());
    driver.stop(&first).await?;
    // A list shows no exit code, but a status does.
    reported.expect("exited server 137").await?;
    driver.run(&stays, &ContainerPlan::named("server").attempt(1)).await?;
    reported.expect("started server").await?;
    let comes = driver.run_pod(&PodPlan::named("comes")).await?;
    reported.expect(&format!("started {}", comes.id)).await?;
    driver.run(&comes, &ContainerPlan::named("comes")).await?;
    reported.expect("started comes").await?;
    check_by(fixture, &watched, source).await?;
    driver.remove_pod(&comes.id).await?;
    watched.recorder().until_reported(3, "exited").await?;
    check_by(fixture, &watched, source).await?;
    let counters = watched.watching.status().counters;
    ensure!(counters.drifted == 0, "polling found {} drifted", counters.drifted);
    let asked = fixture.requests("GetContainerEvents")? - before;
    ensure!(asked == 0, "events were asked for {asked} times");
    Ok(())
}
