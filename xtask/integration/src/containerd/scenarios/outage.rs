//! containerd goes away and comes back, while shims and tasks live on.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use tokio::time::timeout;
use whalewatcher_testkit::proxy::{Fault, Proxy, Refusal};

use super::super::check::check;
use super::super::stage::Stage;
use crate::recorder::{LIMIT, Reader};
use crate::scenarios::outage::{is_reported, kill};
use crate::stage::settings;
use whalewatcher_drivers::containerd::Plan;

pub(super) async fn of_a_killed_containerd_the_difference_is_reported(stage: &Stage) -> Result<()> {
    let driver = stage.driver()?;
    let watched = stage.watch().await?.that_is_cut();
    driver.run_all((0..4).map(|number| Plan::of(format!("staying/s{number}")))).await?;
    let ending = driver.run_all([Plan::of("goes"), Plan::of("other/goes")]).await?;
    driver.pause("staying/s3").await?;
    watched.recorder().until_reported(6, "started").await?;
    check(stage, &watched).await?;
    let reported = Reader::new(watched.recorder());

    stage.kill_engine()?;
    watched.recorder().until_reported(1, "disconnected").await?;
    ensure!(watched.watching.portfolio().total() == 6, "what was last known is gone during the outage");
    for pid in ending {
        kill(i32::try_from(pid)?)?;
    }
    stage.start_engine()?;
    watched.in_sync_again(1).await?;
    check(stage, &watched).await?;
    is_reported(&reported.rest(), &[("goes", &["exited"]), ("other/goes", &["exited"])], watched.recorder())?;

    // It goes on as before.
    let driver = stage.driver()?;
    driver.resume("staying/s3").await?;
    driver.run(&Plan::of("comes")).await?;
    watched.recorder().until_reported(7, "started").await?;
    check(stage, &watched).await
}

pub(super) async fn how_a_life_ended_while_the_watcher_was_cut_off_is_reported(stage: &Stage) -> Result<()> {
    let driver = stage.driver()?;
    let proxy = Proxy::builder().upstream(format!("unix://{}", stage.engine().socket().display())).start()?;
    let watched = stage.begin_watch_at(&proxy.endpoint(), settings())?.that_is_cut();
    watched.ready().await?;
    let ending = driver.run_all([Plan::of("goes"), Plan::of("other/goes")]).await?;
    watched.recorder().until_reported(2, "started").await?;
    check(stage, &watched).await?;
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
    check(stage, &watched).await?;
    let rest = reported.rest();
    let expected: [(&str, &[&str]); 3] =
        [("goes", &["exited"]), ("other/goes", &["exited"]), ("comes", &["started"])];
    is_reported(&rest, &expected, watched.recorder())?;
    let codes = rest.iter().filter(|words| words.ends_with(" 137")).count();
    ensure!(codes == 2, "their tasks show how they ended: {rest:?}");
    Ok(())
}

pub(super) async fn containerd_is_killed_again_and_again_while_containers_come_and_go(
    stage: &Stage,
) -> Result<()> {
    let watched = stage.watch().await?.that_is_cut();
    for round in 0..3 {
        let driver = stage.driver()?;
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
            stage.kill_engine()?;
            stage.start_engine()
        };
        let (churned, outage) = tokio::join!(try_join_all(["a", "b", "c"].map(churn)), outage);
        churned?;
        outage?;
        watched.recorder().until("it is in sync again", |record| record.synced() > synced).await?;
        check(stage, &watched).await?;
    }
    stage.figure(format!("{} lives reported, and 3 outages", watched.recorder().record().count("started")));
    Ok(())
}
