//! A watcher behind a proxy that breaks whatever concerns a connection as a whole, of an engine to whose containers
//! things are done at random; and what has to hold each time that all has come to rest.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use whalewatcher_core::Backoff;

use crate::comparison::{self, with_events};
use crate::fault_injector::FaultInjector;
use crate::fixture::{Fixture, settings};
use crate::random_steps::{RandomSteps, seed};
use crate::recorder::{LIMIT, Recorder};
use crate::watched::Watched;

/// How many things are done to containers at once.
const AT_ONCE: usize = 4;

/// How long the slow subscriber rests after each event: for good, until it is to hurry.
const REST: Duration = LIMIT;

/// How much goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// After each of which everything is checked: those after the first are of a watcher that has recovered.
    pub(crate) rounds: usize,
    /// In each round.
    pub(crate) faults: usize,
    /// After how many things done to containers the next fault comes, at the soonest.
    pub(crate) transitions_per_fault: usize,
}

pub(crate) async fn random_faults_cause_no_false_event<F: Fixture>(fixture: &F) -> Result<()> {
    let seed = seed(fixture)?;
    let churn = fixture.churn(seed).await?;
    let proxy = fixture.proxy()?;
    let limit = Duration::from_secs(1);
    // Without audits: no event vanishes from a connection that lasts.
    let settings = settings()
        .with_backoff(Backoff::default().with_delays(Duration::from_millis(1), Duration::from_millis(50)))
        .with_limits(limit, limit, limit)
        .with_probes(Duration::from_millis(200), limit)
        .with_subscriber_queue(8);
    let mut watched = fixture.begin_watch_at(&proxy.endpoint(), settings)?.that_is_hindered();
    watched.recorders.push(Recorder::start("slow", watched.watching.subscribe(), REST));
    watched.ready().await?;
    let mut injector = FaultInjector::new(seed, F::PROTOCOL)?;
    let Extent { rounds, faults, transitions_per_fault } = F::EXTENT;
    for _ in 0..rounds {
        watched.recorders[1].rest_for(REST);
        let playing = injector.play(&proxy, &watched, &churn, (faults, transitions_per_fault), |_| {});
        churn.during(AT_ONCE, playing).await?;
        proxy.heal()?;
        churn.settle().await?;
        let checked = is_right(fixture, &watched, &churn).await;
        checked.with_context(|| format!("after these faults:{}\n", injector.script()))?;
    }
    let hits = injector.hits();
    let counters = watched.watching.status().counters;
    let record = watched.recorder().record().clone();
    ensure!(hits > 0, "no fault had an effect");
    ensure!(counters.lagged > 0, "the slow subscriber was not slow enough");
    fixture.figure(format!(
        "{} transitions, {} lives, {} starts and {} exits reported; {} faults, of which {hits} had an effect",
        churn.transitions(),
        churn.lives().len(),
        record.count("started"),
        record.count("exited"),
        injector.gusts(),
    ));
    fixture.figure(format!(
        "{} resyncs, {} retries, {} malformed, lagged {} times; {} alive in the end",
        counters.resyncs,
        counters.retries,
        counters.malformed,
        counters.lagged,
        watched.watching.portfolio().total(),
    ));
    Ok(())
}

/// Checks that the portfolio is right, that all subscribers agree, and that all events they received really happened.
async fn is_right<F: Fixture>(
    fixture: &F,
    watched: &Watched<F::Client>,
    churn: &RandomSteps<F::Steps>,
) -> Result<()> {
    comparison::check(fixture, watched).await?;
    // What is done to Docker's containers and podman's is not recorded.
    for recorder in watched.recorders.iter().filter(|_| churn.lives().len() > 0) {
        let record = recorder.record().clone();
        with_events(churn.lives().bears_out(&record), recorder)?;
    }
    Ok(())
}
