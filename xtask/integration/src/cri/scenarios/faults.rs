//! What goes wrong between a watcher and CRI.

use anyhow::Result;
use std::time::SystemTime;

use super::super::churn::churn;
use super::super::fixture::CriFixture;
use crate::docker::churn::seed;
use crate::faulty::{self, Extent};
use crate::fixture::Fixture as _;

const EXTENT: Extent = Extent { rounds: 2, faults: 10, transitions_per_fault: 5 };

pub(super) async fn random_faults_cause_no_false_event(fixture: &CriFixture) -> Result<()> {
    let seed = seed(|text| fixture.figure(text))?;
    let churn = churn(fixture.driver().await?, seed);
    let start = SystemTime::now();
    let fence = fixture.fence_pod().await?;
    churn.lives().began(&fence.id, 0, start, false);
    for figure in faulty::run(fixture, &churn, (EXTENT, seed)).await? {
        fixture.figure(figure);
    }
    Ok(())
}
