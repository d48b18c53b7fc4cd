//! What goes wrong between a watcher and containerd.

use anyhow::Result;

use super::super::churn::churn;
use super::super::fixture::ContainerdFixture;
use crate::docker::churn::seed;
use crate::faulty::{self, Extent};
use crate::fixture::Fixture as _;

const EXTENT: Extent = Extent { rounds: 2, faults: 12, transitions_per_fault: 8 };

pub(super) async fn random_faults_cause_no_false_event(fixture: &ContainerdFixture) -> Result<()> {
    let seed = seed(|text| fixture.figure(text))?;
    let churn = churn(fixture.driver().await?, seed);
    for figure in faulty::run(fixture, &churn, (EXTENT, seed)).await? {
        fixture.figure(figure);
    }
    Ok(())
}
