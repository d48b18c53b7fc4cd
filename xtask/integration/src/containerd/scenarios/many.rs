//! Large numbers.

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;

use super::super::fixture::ContainerdFixture;
use crate::fixture::Fixture as _;
use whalewatcher_drivers::containerd::{AT_ONCE, Plan};

const SHORT_LIVED: usize = 50;
/// More than fit into one message of 16 MiB.
const MANY: usize = 2_000;
/// More than are requested by their IDs: all containers are listed instead.
const ALIVE: usize = 66;

pub(super) async fn many_short_lived_tasks_are_reported_and_leave_nothing(
    fixture: &ContainerdFixture,
) -> Result<()> {
    let driver = fixture.driver().await?;
    driver.run(&Plan::of("stays")).await?;
    let watched = fixture.watch().await?;
    let brief = (0..SHORT_LIVED).map(|number| Plan::of(format!("brief/b{number}")).running("exit 7"));
    let began = Instant::now();
    driver.run_all(brief).await?;
    watched.recorder().until_reported(SHORT_LIVED, "exited").await?;
    fixture.figure(format!("{SHORT_LIVED} lives in {:.1} s", began.elapsed().as_secs_f32()));
    fixture.check(&watched).await?;
    let record = watched.recorder().record().clone();
    let (started, exited) = (record.count("started"), record.count("exited"));
    // The one that stays was started before.
    ensure!(
        (started, exited) == (SHORT_LIVED + 1, SHORT_LIVED),
        "{started} started and {exited} exited\n{}",
        watched.recorder().tail()
    );
    let codes = record.reported_since(0).iter().filter(|words| words.ends_with(" 7")).count();
    ensure!(codes == SHORT_LIVED, "{codes} of {SHORT_LIVED} exits were reported with their code");
    ensure!(watched.watching.portfolio().total() == 1, "something is left");
    Ok(())
}

pub(super) async fn many_large_containers_are_listed_completely(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let began = Instant::now();
    let keys = [0, MANY / 2, MANY - 1].map(|number| format!("many/c{number:04}"));
    let creating = (0..MANY).map(|number| {
        let driver = &driver;
        async move { driver.create(&Plan::of(format!("many/c{number:04}"))).await }
    });
    stream::iter(creating).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let created = began.elapsed();
    for key in &keys {
        driver.start(key).await?;
    }
    let began = Instant::now();
    let watched = fixture.watch().await?;
    fixture.figure(format!(
        "{MANY} containers made in {:.1} s, listed in {:.2} s",
        created.as_secs_f32(),
        began.elapsed().as_secs_f32()
    ));
    fixture.check(&watched).await?;
    let starting = (1..=ALIVE - 3).map(|number| {
        let driver = &driver;
        async move { driver.start(&format!("many/c{number:04}")).await }
    });
    stream::iter(starting).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
    watched.recorder().until_reported(ALIVE, "started").await?;
    let began = Instant::now();
    let later = fixture.watch().await?;
    fixture.figure(format!("{ALIVE} of them alive, listed in {:.2} s", began.elapsed().as_secs_f32()));
    fixture.check(&later).await?;
    driver.remove(&keys[1]).await?;
    watched.recorder().until_reported(1, "exited").await?;
    for watched in [&watched, &later] {
        fixture.check(watched).await?;
        let total = watched.watching.portfolio().total();
        ensure!(total == ALIVE - 1, "{total} are alive");
    }
    Ok(())
}
