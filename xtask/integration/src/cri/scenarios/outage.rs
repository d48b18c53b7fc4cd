//! The connection is lost, and meanwhile pods come and go.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use tokio::time::timeout;
use whalewatcher_testkit::proxy::{Fault, Proxy, Refusal};

use super::super::check::check;
use super::super::fixture::CriFixture;
use super::super::truth::Truth;
use crate::docker::scenarios::outage::{is_reported, kill};
use crate::fixture::{Fixture as _, settings};
use crate::recorder::{LIMIT, Reader};
use whalewatcher_drivers::cri::{ContainerPlan, PodPlan};

pub(super) async fn an_outage_yields_the_difference(fixture: &CriFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let pods = driver.run_pods(["stays", "goes", "restarts"].map(PodPlan::named)).await?;
    let [stays, goes, restarts] = &pods[..] else { unreachable!("three were asked for") };
    driver.run(stays, &ContainerPlan::named("stays")).await?;
    driver.run(goes, &ContainerPlan::named("goes")).await?;
    let ends = driver.run(stays, &ContainerPlan::named("ends")).await?;
    let first = driver.run(restarts, &ContainerPlan::named("restarts")).await?;
    let proxy = Proxy::builder().upstream(fixture.endpoint()).start()?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?.that_is_cut();
    watched.ready().await?;
    check(fixture, &watched).await?;
    let reported = Reader::new(watched.recorder());

    let refusal = proxy.inject(Fault::refuse(Refusal::Closed))?;
    proxy.cut_all();
    timeout(LIMIT, proxy.until_open(0)).await.context("connections stay open")?;
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
    check(fixture, &watched).await?;
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
    check(fixture, &watched).await?;
    let reported = Reader::new(watched.recorder());
    let truth = Truth::ask(&driver).await?;
    let pid =
        |id: &String| truth.alive.get(id).with_context(|| format!("{id} is not alive")).map(|one| one.pid);
    let ending = [pid(&containers[2])?, pid(&pods[2].id)?];

    fixture.kill_engine()?;
    watched.recorder().until_reported(1, "disconnected").await?;
    ensure!(watched.watching.portfolio().total() == 7, "what was last known is gone during the outage");
    for pid in ending {
        kill(i32::try_from(pid)?)?;
    }
    fixture.start_engine()?;
    watched.in_sync_again(1).await?;
    check(fixture, &watched).await?;
    is_reported(&reported.rest(), &[("goes", &["exited"]), (&pods[2].id, &["exited"])], watched.recorder())?;

    // It goes on as before.
    let driver = fixture.driver().await?;
    driver.run(&pods[0], &ContainerPlan::named("comes")).await?;
    watched.recorder().until_reported(8, "started").await?;
    driver.remove_pod(&pods[1].id).await?;
    watched.recorder().until_reported(4, "exited").await?;
    check(fixture, &watched).await
}

pub(super) async fn containerd_killed_repeatedly_during_churn(fixture: &CriFixture) -> Result<()> {
    let watched = fixture.watch().await?.that_is_cut();
    for round in 0..2 {
        let driver = fixture.driver().await?;
        let over = AtomicBool::new(false);
        let churn = |name: &'static str| {
            let (driver, over) = (&driver, &over);
            async move {
                // What is under way when containerd is killed fails, and is left as it is.
                for number in (0..).take_while(|_| !over.load(Ordering::Relaxed)) {
                    let passes = async {
                        let pod = driver.run_pod(&PodPlan::named(format!("{name}-{round}-{number}"))).await?;
                        let container = driver.run(&pod, &ContainerPlan::named(name)).await?;
                        match number % 3 {
                            0 => Ok(()),
                            1 => driver.stop(&container).await,
                            _ => driver.remove_pod(&pod.id).await,
                        }
                    };
                    let passed = passes.await;
                    ensure!(passed.is_ok() || over.load(Ordering::Relaxed), "{name}: {passed:?}");
                }
                Ok(())
            }
        };
        let exits = watched.recorder().record().count("exited");
        let synced = watched.recorder().record().synced();
        let outage = async {
            watched.recorder().until_reported(exits + 4, "exited").await?;
            over.store(true, Ordering::Relaxed);
            fixture.kill_engine()?;
            fixture.start_engine()
        };
        let (churned, outage) = tokio::join!(try_join_all(["a", "b"].map(churn)), outage);
        churned?;
        outage?;
        watched.recorder().until("it is in sync again", |record| record.synced() > synced).await?;
        check(fixture, &watched).await?;
    }
    fixture.figure(format!("{} lives reported, and 2 outages", watched.recorder().record().count("started")));
    Ok(())
}
