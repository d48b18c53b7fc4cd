//! A watcher behind a proxy that breaks whatever concerns a connection as a whole, of an engine to whose containers
//! things are done at random; and what has to hold each time that all has come to rest.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use whalewatcher_core::Backoff;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_testkit::proxy::Proxy;

use crate::comparison;
use crate::comparison::with_events;
use crate::fault_injector::{FaultInjector, Protocol};
use crate::fixture::Fixture;
use crate::fixture::settings;
use crate::random_steps::{RandomSteps, Steps};
use crate::recorder::{LIMIT, Recorder};
use crate::watched::Watched;

/// How many things are done to containers at once.
const AT_ONCE: u64 = 4;

/// How long the slow subscriber rests after each event: for good, until it is to hurry.
const REST: Duration = LIMIT;

/// How much goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// After each of which everything is checked: those after the first are of a watcher that has recovered.
    pub(crate) rounds: u64,
    /// In each round.
    pub(crate) faults: usize,
    /// After how many things done to containers the next fault comes, at the soonest.
    pub(crate) transitions_per_fault: usize,
}

/// Plays it on an engine behind a proxy, and returns what is to be printed.
pub(crate) async fn run<F: Fixture, S: Steps>(
    fixture: &F,
    churn: &RandomSteps<S>,
    (extent, seed): (Extent, u64),
) -> Result<[String; 2]> {
    let proxy = Proxy::builder().upstream(fixture.endpoint()).start()?;
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
    let mut injector = FaultInjector::new(seed, Protocol::Http2)?;
    for round in 0..extent.rounds {
        watched.recorders[1].rest_for(REST);
        play_round(round, extent, &proxy, &watched, churn, &mut injector).await?;
        proxy.heal()?;
        churn.settle().await?;
        let checked = is_right(fixture, &watched, churn).await;
        checked.with_context(|| format!("after these faults:{}\n", injector.script()))?;
    }
    let hits = injector.hits();
    let counters = watched.watching.status().counters;
    let record = watched.recorder().record().clone();
    ensure!(hits > 0, "no fault had an effect");
    ensure!(counters.lagged > 0, "the slow subscriber was not slow enough");
    Ok([
        format!(
            "{} transitions, {} lives, {} starts and {} exits reported; {} faults, of which {hits} had an effect",
            churn.transitions(),
            churn.lives().len(),
            record.count("started"),
            record.count("exited"),
            injector.gusts(),
        ),
        format!(
            "{} resyncs, {} retries, {} malformed, lagged {} times; {} alive in the end",
            counters.resyncs,
            counters.retries,
            counters.malformed,
            counters.lagged,
            watched.watching.portfolio().total(),
        ),
    ])
}

/// Lets so many faults and several times as many transitions happen.
async fn play_round<C: EngineClient, S: Steps>(
    round: u64,
    extent: Extent,
    proxy: &Proxy,
    watched: &Watched<C>,
    churn: &RandomSteps<S>,
    injector: &mut FaultInjector,
) -> Result<()> {
    let is_over = Cell::new(false);
    let blowing = async {
        let mut outcome = Ok(());
        for _ in 0..extent.faults {
            let transitions = churn.transitions();
            outcome = injector.blow(proxy, watched).await;
            if outcome.is_err() {
                break;
            }
            churn.until_transitions(transitions + extent.transitions_per_fault).await;
        }
        is_over.set(true);
        outcome
    };
    let churning = join_all((0..AT_ONCE).map(|who| churn.run(round * AT_ONCE + who, || is_over.get())));
    tokio::join!(blowing, churning).0
}

/// Checks that the portfolio is right, that all subscribers agree, and that all events they received really happened.
async fn is_right<F: Fixture, S: Steps>(
    fixture: &F,
    watched: &Watched<F::Client>,
    churn: &RandomSteps<S>,
) -> Result<()> {
    comparison::check(fixture, watched).await?;
    for recorder in &watched.recorders {
        let record = recorder.record().clone();
        with_events(churn.lives().bears_out(&record), recorder)?;
    }
    Ok(())
}
