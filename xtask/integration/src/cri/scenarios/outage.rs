//! The connection is lost, and meanwhile pods come and go.

use anyhow::{Result, ensure};

use super::super::fixture::CriFixture;
use crate::fixture::{Fixture as _, settings};
use crate::recorder::Reader;
use crate::scenarios::{cut_off, is_reported, kill};
use whalewatcher_drivers::cri::{ContainerPlan, PodPlan};

pub(super) async fn an_outage_yields_the_difference(fixture: &CriFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let pods = driver.run_pods(["stays", "goes", "restarts"].map(PodPlan::named)).await?;
    let [stays, goes, restarts] = &pods[..] else { unreachable!("three were asked for") };
    driver.run(stays, &ContainerPlan::named("stays")).await?;
    driver.run(goes, &ContainerPlan::named("goes")).await?;
    let ends = driver.run(stays, &ContainerPlan::named("ends")).await?;
    let first = driver.run(restarts, &ContainerPlan::named("restarts")).await?;
    let proxy = fixture.proxy()?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?.that_is_cut();
    watched.ready().await?;
    fixture.check(&watched).await?;
    let reported = Reader::new(watched.recorder());

    let refusal = cut_off(&proxy).await?;
    watched.recorder().until_reported(1, "disconnected").await?;
    driver.remove_pod(&goes.id).await?;
    driver.stop(&ends).await?;
    driver.stop(&first).await?;
    driver.remove(&first).await?;
    driver.run(restarts, &ContainerPlan::named("restarts").attempt(1)).await?;
    let comes = driver.run_pod(&PodPlan::named("comes")).await?;
    driver.run(&comes, &ContainerPlan::named("comes")).await?;
    let brief = driver.run_pod(&PodPlan::named("comes-and-goes")).await?;
    driver.run(&brief, &ContainerPlan::named("comes-and-goes")).await?;
    driver.remove_pod(&brief.id).await?;
    proxy.lift(refusal)?;
    watched.in_sync_again(1).await?;
    fixture.check(&watched).await?;
    let expected: [(&str, &[&str]); 6] = [
        ("ends", &["exited"]),
        ("goes", &["exited"]),
        (&goes.id, &["exited"]),
        ("restarts", &["exited", "started"]),
        ("comes", &["started"]),
        (&comes.id, &["started"]),
    ];
    let rest = reported.rest();
    is_reported(&rest, &expected, watched.recorder())?;
    ensure!(rest.iter().any(|words| words == "exited ends 137"), "its status shows how it ended: {rest:?}");
    Ok(())
}

pub(super) async fn killed_containerd_yields_the_difference(fixture: &CriFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?.that_is_cut();
    let pods = driver.run_pods(["stays", "loses-one", "loses-its-sandbox"].map(PodPlan::named)).await?;
    let mut containers = Vec::new();
    for (pod, name) in [(0, "stays"), (1, "stays-too"), (1, "goes"), (2, "orphan")] {
        containers.push(driver.run(&pods[pod], &ContainerPlan::named(name)).await?);
    }
    watched.recorder().until_reported(7, "started").await?;
    fixture.check(&watched).await?;
    let reported = Reader::new(watched.recorder());
    let ending = [fixture.pid(&containers[2]).await?, fixture.pid(&pods[2].id).await?];

    fixture.kill_engine()?;
    watched.recorder().until_reported(1, "disconnected").await?;
    ensure!(watched.watching.portfolio().total() == 7, "what was last known is gone during the outage");
    for pid in ending {
        kill(pid)?;
    }
    fixture.start_engine()?;
    watched.in_sync_again(1).await?;
    fixture.check(&watched).await?;
    is_reported(&reported.rest(), &[("goes", &["exited"]), (&pods[2].id, &["exited"])], watched.recorder())?;

    // It goes on as before.
    let driver = fixture.driver().await?;
    driver.run(&pods[0], &ContainerPlan::named("comes")).await?;
    watched.recorder().until_reported(8, "started").await?;
    driver.remove_pod(&pods[1].id).await?;
    watched.recorder().until_reported(4, "exited").await?;
    fixture.check(&watched).await
}
