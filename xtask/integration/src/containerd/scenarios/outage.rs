//! containerd goes away and comes back, while shims and tasks live on.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use tokio::time::timeout;
use whalewatcher_testkit::proxy::{Fault, Proxy, Refusal};

use super::super::check::check;
use super::super::fixture::ContainerdFixture;
use crate::docker::scenarios::outage::{is_reported, kill};
use crate::fixture::{Fixture as _, settings};
use crate::recorder::{LIMIT, Reader};
use whalewatcher_drivers::containerd::Plan;

pub(super) async fn killed_containerd_yields_the_difference(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?.that_is_cut();
    driver.run_all((0..4).map(|number| Plan::of(format!("staying/s{number}")))).await?;
    let ending = driver.run_all([Plan::of("goes"), Plan::of("other/goes")]).await?;
    driver.pause("staying/s3").await?;
    watched.recorder().until_reported(6, "started").await?;
    check(fixture, &watched).await?;
    let reported = Reader::new(watched.recorder());

    fixture.kill_engine()?;
    watched.recorder().until_reported(1, "disconnected").await?;
    ensure!(watched.watching.portfolio().total() == 6, "what was last known is gone during the outage");
    for pid in ending {
        kill(i32::try_from(pid)?)?;
    }
    fixture.start_engine()?;
    watched.in_sync_again(1).await?;
    check(fixture, &watched).await?;
    is_reported(&reported.rest(), &[("goes", &["exited"]), ("other/goes", &["exited"])], watched.recorder())?;

    // It goes on as before.
    let driver = fixture.driver().await?;
    driver.resume("staying/s3").await?;
    driver.run(&Plan::of("comes")).await?;
    watched.recorder().until_reported(7, "started").await?;
    check(fixture, &watched).await
}

pub(super) async fn exits_during_an_outage_have_their_codes(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let proxy = Proxy::builder().upstream(fixture.endpoint()).start()?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?.that_is_cut();
    watched.ready().await?;
    let ending = driver.run_all([Plan::of("goes"), Plan::of("other/goes")]).await?;
    watched.recorder().until_reported(2, "started").await?;
    check(fixture, &watched).await?;
    let reported = Reader::new(watched.recorder());

    let refusal = proxy.inject(Fault::refuse(Refusal::Closed))?;
    proxy.cut_all();
    timeout(LIMIT, proxy.until_open(0)).await.context("connections stay open")?;
    watched.recorder().until_reported(1, "disconnected").await?;
    for pid in ending {
        kill(i32::try_from(pid)?)?;
    }
    driver.run(&Plan::of("comes")).await?;
    proxy.lift(refusal)?;
    watched.in_sync_again(1).await?;
    check(fixture, &watched).await?;
    let rest = reported.rest();
    let expected: [(&str, &[&str]); 3] =
        [("goes", &["exited"]), ("other/goes", &["exited"]), ("comes", &["started"])];
    is_reported(&rest, &expected, watched.recorder())?;
    let codes = rest.iter().filter(|words| words.ends_with(" 137")).count();
    ensure!(codes == 2, "their tasks show how they ended: {rest:?}");
    Ok(())
}

pub(super) async fn containerd_killed_repeatedly_during_churn(fixture: &ContainerdFixture) -> Result<()> {
    let watched = fixture.watch().await?.that_is_cut();
    for round in 0..2 {
        let driver = fixture.driver().await?;
        let over = AtomicBool::new(false);
        let churn = |name: &'static str| {
            let (driver, over) = (&driver, &over);
            async move {
                // What is under way when containerd is killed fails, and is left as it is.
                for number in (0..).take_while(|_| !over.load(Ordering::Relaxed)) {
                    let key = format!("churn/{name}-{round}-{number}");
                    let mut done = driver.run(&Plan::of(&key)).await.map(drop);
                    if done.is_ok() && number % 3 > 0 {
                        done = driver.remove(&key).await;
                    }
                    ensure!(done.is_ok() || over.load(Ordering::Relaxed), "{key}: {done:?}");
                }
                Ok(())
            }
        };
        let exits = watched.recorder().record().count("exited");
        let synced = watched.recorder().record().synced();
        let outage = async {
            watched.recorder().until_reported(exits + 6, "exited").await?;
            over.store(true, Ordering::Relaxed);
            fixture.kill_engine()?;
            fixture.start_engine()
        };
        let (churned, outage) = tokio::join!(try_join_all(["a", "b", "c"].map(churn)), outage);
        churned?;
        outage?;
        watched.recorder().until("it is in sync again", |record| record.synced() > synced).await?;
        check(fixture, &watched).await?;
    }
    fixture.figure(format!("{} lives reported, and 2 outages", watched.recorder().record().count("started")));
    Ok(())
}
