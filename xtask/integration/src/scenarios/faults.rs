//! What goes wrong between a watcher and its engine.

use anyhow::{Context as _, Result, ensure};
use xtask::engines::Release;

use crate::churn::seed;
use crate::stage::Stage;
use crate::trial::Trial;

const CONTAINERS: usize = 14;
/// In each round, with ten transitions each.
const FAULTS: usize = 20;

pub(super) async fn whatever_goes_wrong_on_the_way_nothing_wrong_is_reported_and_the_picture_is_right_after(
    stage: &Stage,
) -> Result<()> {
    let seed = seed(|text| stage.figure(text))?;
    // All of it takes a while, and is worth it on one engine.
    let rounds = match stage.engine().engine().release {
        Release::Trixie => 3,
        _ => 2,
    };
    let mut trial = Trial::begin(stage, CONTAINERS, seed).await?;
    for round in 1..=rounds {
        trial.round(FAULTS).await.with_context(|| format!("in round {round}"))?;
    }
    let (transitions, hits) = (trial.churn.transitions(), trial.storm.hits());
    let (counters, dropped) = (trial.watched.watching.status().counters, trial.proxy.stats().dropped);
    stage.figure(format!(
        "{transitions} transitions, {} changes; {} faults, of which {hits} had an effect",
        trial.changes(),
        trial.storm.gusts(),
    ));
    stage.figure(format!(
        "{} resyncs, {} retries, {} malformed, {dropped} events dropped, {} audits, {} drifted, lagged {} times",
        counters.resyncs,
        counters.retries,
        counters.malformed,
        counters.audits,
        counters.drifted,
        counters.lagged,
    ));
    ensure!(transitions >= rounds * FAULTS * 10, "only {transitions} transitions");
    ensure!(hits > 0, "no fault had an effect");
    ensure!(counters.lagged > 0, "the slow subscriber was not slow enough");
    trial.end().await
}
