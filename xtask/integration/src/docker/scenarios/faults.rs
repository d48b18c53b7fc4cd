//! What goes wrong between a watcher and its engine.

use anyhow::{Context as _, Result, ensure};
use xtask::engines::Release;

use crate::docker::churn::seed;
use crate::docker::fixture::DockerFixture;
use crate::docker::trial::Trial;
use crate::fixture::Fixture as _;

const CONTAINERS: usize = 14;
/// In each round, with ten transitions each.
const FAULTS: usize = 20;

pub(super) async fn random_faults_cause_no_false_event(fixture: &DockerFixture) -> Result<()> {
    let seed = seed(|text| fixture.figure(text))?;
    // Two rounds on one engine: a round takes a while, and what differs between releases shows in each.
    let rounds = match fixture.engine().engine().release {
        Release::Trixie => 2,
        _ => 1,
    };
    let mut trial = Trial::begin(fixture, CONTAINERS, seed).await?;
    for round in 1..=rounds {
        trial.round(FAULTS).await.with_context(|| format!("in round {round}"))?;
    }
    let (transitions, hits) = (trial.churn.transitions(), trial.injector.hits());
    let (counters, dropped) = (trial.watched.watching.status().counters, trial.proxy.stats().dropped);
    fixture.figure(format!(
        "{transitions} transitions, {} changes; {} faults, of which {hits} had an effect",
        trial.changes(),
        trial.injector.gusts(),
    ));
    fixture.figure(format!(
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
