//! Everything at once, at random.

use std::time::Duration;

use anyhow::{Result, ensure};
use fastrand::Rng;
use futures_util::future::try_join_all;
use tokio::time::{Instant, sleep};
use whalewatcher_core::watch;

use crate::fixture::{Fixture, settings};
use crate::leaks::{Apart, descriptors, no_more_descriptors_than};
use crate::random_steps::seed;
use crate::recorder::Recorder;

/// How many watchers come during churn.
const WATCHERS: usize = 12;

const TRANSITIONS: usize = 150;

/// How many watches are dropped at random moments.
const WATCHES: usize = 60;

/// Of how many others is measured how long it takes until they are live.
const MEASURED: usize = 5;

pub(crate) async fn watchers_that_join_during_churn_miss_nothing<F: Fixture>(fixture: &F) -> Result<()> {
    let churn = fixture.churn(seed(fixture)?).await?;
    let joining = async {
        let mut all = Vec::new();
        for number in 0..WATCHERS {
            // While another transition is in flight.
            churn.until_transitions(number * F::APART).await;
            all.push(fixture.begin_watch(settings())?);
        }
        try_join_all(all.iter().map(|watched| watched.ready())).await?;
        anyhow::Ok(all)
    };
    let all = churn.during(2, joining).await?;
    churn.settle().await?;
    fixture.figure(format!("{WATCHERS} watchers came during {} transitions", churn.transitions()));
    for watched in all {
        fixture.check(&watched).await?;
    }
    Ok(())
}

pub(crate) async fn random_churn_with_three_subscribers<F: Fixture>(fixture: &F) -> Result<()> {
    let seed = seed(fixture)?;
    let mut watched = fixture.begin_watch(settings().with_subscriber_queue(16))?;
    for (name, rest) in [("slow", 20), ("slowest", 400)] {
        let subscription = watched.watching.subscribe();
        watched.recorders.push(Recorder::start(name, subscription, Duration::from_millis(rest)));
    }
    watched.ready().await?;
    let churn = fixture.churn(seed).await?;
    churn.during(4, churn.until_transitions(TRANSITIONS)).await;
    churn.settle().await?;
    fixture.check(&watched).await?;
    for recorder in watched.recorders.iter().filter(|_| churn.lives().len() > 0) {
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

/// dockerd ends its containers when it is started the second time: without `live_restore`.
pub(crate) async fn engine_killed_repeatedly_during_churn<F: Fixture>(fixture: &F) -> Result<()> {
    let churn = fixture.churn(seed(fixture)?).await?;
    let watched = fixture.watch().await?.that_is_cut();
    for live_restore in [true, false] {
        let synced = watched.recorder().record().synced();
        let before = churn.transitions();
        let outage = async {
            churn.until_transitions(before + 12).await;
            fixture.kill_engine()?;
            fixture.start_engine_with(live_restore)
        };
        churn.during(2, outage).await?;
        watched.recorder().until("it is in sync again", |record| record.synced() > synced).await?;
        // What was under way when the engine was killed has failed, and is left as it is.
        fixture.driver().await?;
        churn.settle().await?;
        fixture.check(&watched).await?;
    }
    fixture.figure(format!("{} transitions, and 2 outages", churn.transitions()));
    Ok(())
}

pub(crate) async fn watches_dropped_at_random_during_churn_leave_nothing<F: Fixture>(
    fixture: &F,
) -> Result<()> {
    fixture.release_driver();
    let apart = Apart::build()?;
    let before = descriptors()?;
    let churn = fixture.churn(fastrand::u64(..)).await?;
    let live = churn.during(2, dropped_at_random_moments(fixture, &apart)).await?;
    fixture.figure(format!(
        "{WATCHES} watches dropped, {live} of them when they were live already; {} transitions meanwhile",
        churn.transitions()
    ));
    churn.settle().await?;
    drop(churn);
    fixture.release_driver();
    no_more_descriptors_than(&before).await?;
    let watched = fixture.watch().await?;
    fixture.check(&watched).await
}

/// Drops or closes watches at random moments from before they connect to after they are live, and every tenth
/// surely when it is, and checks each time that no task is left. Returns how many of them were live already.
async fn dropped_at_random_moments<F: Fixture>(fixture: &F, apart: &Apart) -> Result<usize> {
    let endpoint = fixture.endpoint();
    let (mut random, mut live) = (Rng::new(), 0);
    let mut longest = Duration::ZERO;
    for _ in 0..MEASURED {
        let (began, client) = (Instant::now(), F::client(&endpoint)?);
        apart.handle()?.spawn(async move { watch(client).ready().await }).await??;
        longest = longest.max(began.elapsed());
    }
    let moments = 0..u64::try_from(longest.as_micros())? * 3 / 2;
    for number in 0..WATCHES {
        let client = F::client(&endpoint)?;
        let watching = apart.handle()?.spawn(async move { watch(client) }).await?;
        match number % 10 {
            0 => drop(watching.ready().await?),
            // The moment is the point: there is nothing to wait for.
            _ => sleep(Duration::from_micros(random.u64(moments.clone()))).await,
        }
        live += usize::from(watching.status().is_live());
        match random.u8(0..3) {
            0 => watching.close().await,
            _ => drop(watching),
        }
        apart.is_empty().await?;
    }
    Ok(live)
}
