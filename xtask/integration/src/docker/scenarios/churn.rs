//! Audits amid churn.

use std::time::Duration;

use anyhow::{Result, ensure};
use whalewatcher_core::Counters;

use crate::docker::fixture::DockerFixture;
use crate::fixture::{Fixture as _, settings};

/// On a busy machine an audit may repair what an event is about to report: the grace period is a second. So
/// the count of repairs is only printed; that nothing else is counted is a property of the explorer.
pub(super) async fn audits_of_a_busy_engine_cause_no_false_event(fixture: &DockerFixture) -> Result<()> {
    let settings = settings().with_audits(Duration::from_millis(20));
    let watched = fixture.begin_watch(settings)?.that_is_hindered();
    watched.ready().await?;
    let churn = fixture.churn(fastrand::u64(..)).await?;
    let enough = async {
        while watched.watching.status().counters.audits < 20 {
            churn.until_transitions(churn.transitions() + 1).await;
        }
        churn.until_transitions(40).await;
    };
    churn.during(3, enough).await;
    churn.settle().await?;
    fixture.check(&watched).await?;
    let Counters { audits, drifted, resyncs, .. } = watched.watching.status().counters;
    fixture.figure(format!("{audits} audits during {} transitions, {drifted} repaired", churn.transitions()));
    ensure!(resyncs == 1, "the connection did not last: {resyncs} resyncs");
    Ok(())
}
