//! What goes wrong between a watcher and containerd.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use whalewatcher_core::Backoff;
use whalewatcher_testkit::proxy::Proxy;

use super::super::check::check;
use super::super::churn::Churn;
use super::super::stage::{Stage, Watched};
use crate::check::with_events;
use crate::churn::seed;
use crate::recorder::Recorder;
use crate::stage::settings;
use crate::storm::{Protocol, Storm};

/// After each of which everything is checked.
const ROUNDS: u64 = 2;
/// In each round.
const FAULTS: usize = 20;
/// After how many things done to containers the next fault comes, at the soonest.
const TRANSITIONS_PER_FAULT: usize = 8;
/// How many things are done to containers at once.
const AT_ONCE: u64 = 4;
/// How long the slow subscriber rests after each event.
const REST: Duration = Duration::from_millis(400);

pub(super) async fn whatever_goes_wrong_on_the_way_nothing_wrong_is_told_and_the_picture_is_right_after(
    stage: &Stage,
) -> Result<()> {
    let seed = seed(|text| stage.figure(text))?;
    let proxy = Proxy::builder().upstream(format!("unix://{}", stage.engine().socket().display())).start()?;
    let limit = Duration::from_secs(1);
    // Without audits: no event vanishes from a connection that lasts.
    let settings = settings()
        .with_backoff(Backoff::default().with_delays(Duration::from_millis(1), Duration::from_millis(50)))
        .with_limits(limit, limit, limit)
        .with_checks(Duration::from_millis(200), limit)
        .with_subscriber_queue(8);
    let mut watched = stage.begin_watch_at(&proxy.endpoint(), settings)?.that_is_hindered();
    watched.recorders.push(Recorder::start("slow", watched.watching.subscribe(), REST));
    watched.ready().await?;
    let churn = Churn::new(stage.driver()?, seed);
    let mut storm = Storm::new(seed, Protocol::Http2)?;
    for round in 0..ROUNDS {
        watched.recorders[1].rest_for(REST);
        play(round, &proxy, &watched, &churn, &mut storm).await?;
        proxy.heal()?;
        churn.settle().await?;
        let checked = is_right(stage, &watched, &churn).await;
        checked.with_context(|| format!("after these faults:{}\n", storm.script()))?;
    }
    let (transitions, hits) = (churn.transitions(), storm.hits());
    let counters = watched.watching.status().counters;
    let record = watched.recorder().record().clone();
    stage.figure(format!(
        "{transitions} transitions, {} lives, {} starts and {} exits told; {} faults, of which {hits} had an effect",
        churn.lives().len(),
        record.count("started"),
        record.count("exited"),
        storm.gusts(),
    ));
    stage.figure(format!(
        "{} resyncs, {} retries, {} garbled, lagged {} times; {} alive in the end",
        counters.resyncs,
        counters.retries,
        counters.garbled,
        counters.lagged,
        watched.watching.portfolio().total(),
    ));
    ensure!(hits * 2 >= storm.gusts(), "only {hits} faults had an effect");
    ensure!(counters.lagged > 0, "the slow subscriber was not slow enough");
    Ok(())
}

/// Lets so many faults and eight times as many transitions happen.
async fn play(round: u64, proxy: &Proxy, watched: &Watched, churn: &Churn, storm: &mut Storm) -> Result<()> {
    let is_over = Cell::new(false);
    let blowing = async {
        let mut outcome = Ok(());
        for _ in 0..FAULTS {
            let transitions = churn.transitions();
            outcome = storm.blow(proxy, watched).await;
            if outcome.is_err() {
                break;
            }
            churn.until_transitions(transitions + TRANSITIONS_PER_FAULT).await;
        }
        is_over.set(true);
        outcome
    };
    let churning = join_all((0..AT_ONCE).map(|who| churn.run(round * AT_ONCE + who, || is_over.get())));
    tokio::join!(blowing, churning).0
}

/// Checks that the picture is right, that all subscribers have it, and that all that they were told really happened.
async fn is_right(stage: &Stage, watched: &Watched, churn: &Churn) -> Result<()> {
    check(stage, watched).await?;
    for recorder in &watched.recorders {
        with_events(churn.lives().bears_out(&recorder.record()), recorder)?;
    }
    Ok(())
}
