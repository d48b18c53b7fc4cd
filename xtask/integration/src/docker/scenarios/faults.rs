//! What goes wrong between a watcher and its engine.

use anyhow::{Context as _, Result, ensure};
use xtask::engines::Release;

use crate::docker::fixture::DockerFixture;
use crate::docker::trial::Trial;
use crate::fixture::Fixture as _;
use crate::random_steps::seed;

const CONTAINERS: usize = 14;
/// After each of which everything is checked: the second one is of a watcher that has recovered.
const ROUNDS: usize = 2;
/// In each round, with ten transitions each.
const FAULTS: usize = 20;

pub(super) async fn random_faults_cause_no_false_event(fixture: &DockerFixture) -> Result<()> {
    let seed = seed(fixture)?;
    // Most of them on one engine: each takes a while, and what differs between releases shows in few.
    let faults = match fixture.engine().engine().release {
        Release::Trixie => FAULTS,
        _ => FAULTS / 2,
    };
    let mut trial = Trial::begin(fixture, CONTAINERS, seed).await?;
    for round in 1..=ROUNDS {
        trial.round(faults).await.with_context(|| format!("in round {round}"))?;
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
    ensure!(transitions >= ROUNDS * faults * 10, "only {transitions} transitions");
    ensure!(hits > 0, "no fault had an effect");
    ensure!(counters.lagged > 0, "the slow subscriber was not slow enough");
    trial.end().await
}
