//! What goes wrong between a watcher and containerd.

use anyhow::Result;

use super::super::churn::churn;
use super::super::stage::Stage;
use crate::churn::seed;
use crate::hindered::{self, Extent};

const EXTENT: Extent = Extent { rounds: 2, faults: 20, transitions_per_fault: 8 };

pub(super) async fn whatever_goes_wrong_on_the_way_nothing_wrong_is_reported_and_the_picture_is_right_after(
    stage: &Stage,
) -> Result<()> {
    let seed = seed(|text| stage.figure(text))?;
    let upstream = format!("unix://{}", stage.engine().socket().display());
    let churn = churn(stage.driver()?, seed);
    let watch = |endpoint: &str, settings| stage.begin_watch_at(endpoint, settings);
    for figure in hindered::play(stage, watch, &upstream, &churn, (EXTENT, seed)).await? {
        stage.figure(figure);
    }
    Ok(())
}
