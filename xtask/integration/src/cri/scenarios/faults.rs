//! What goes wrong between a watcher and CRI.

use anyhow::Result;
use std::time::SystemTime;

use super::super::churn::churn;
use super::super::stage::Stage;
use crate::churn::seed;
use crate::hindered::{self, Extent};

const EXTENT: Extent = Extent { rounds: 2, faults: 14, transitions_per_fault: 5 };

pub(super) async fn whatever_goes_wrong_on_the_way_nothing_wrong_is_reported_and_the_picture_is_right_after(
    stage: &Stage,
) -> Result<()> {
    let seed = seed(|text| stage.figure(text))?;
    let churn = churn(stage.driver().await?, seed);
    let start = SystemTime::now();
    let fence = stage.fence_pod().await?;
    churn.lives().began(&fence.id, 0, start, false);
    let watch = |endpoint: &str, settings| stage.begin_watch_at(endpoint, settings);
    for figure in hindered::play(stage, watch, &stage.endpoint(), &churn, (EXTENT, seed)).await? {
        stage.figure(figure);
    }
    Ok(())
}
