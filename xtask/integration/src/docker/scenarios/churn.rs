//! Everything at once, at random.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use whalewatcher_core::Counters;

use crate::docker::check::check;
use crate::docker::churn::{Churn, seed};
use crate::docker::counting_proxy::CountingProxy;
use crate::docker::fixture::DockerFixture;
use crate::fixture::{Fixture as _, settings};
use crate::recorder::Recorder;

const TRANSITIONS: usize = 150;

pub(super) async fn random_churn_with_three_subscribers(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let seed = seed(|text| fixture.figure(text))?;
    let proxy = CountingProxy::start(fixture.socket("churn.sock"), &fixture.engine().docker_socket())?;
    let settings = settings().with_subscriber_queue(16);
    let mut watched = fixture.begin_watch_at(&proxy.endpoint(), settings)?;
    for (name, rest) in [("slow", 20), ("slowest", 400)] {
        let subscription = watched.watching.subscribe();
        watched.recorders.push(Recorder::start(name, subscription, Duration::from_millis(rest)));
    }
    watched.ready().await?;
    let churn = Churn::prepare(&docker, "churned", 12, seed).await?;
    join_all((0..4).map(|who| churn.run(&docker, who, || churn.transitions() >= TRANSITIONS))).await;
    churn.until_quiet(&docker).await?;
    check(fixture, &watched).await?;
    let lagged: Vec<usize> =
        watched.recorders.iter().map(|recorder| recorder.record().count("lagged")).collect();
    let lives = docker.count_events("start", ("label", "com.docker.compose.project=churn")).await?;
    let reported = watched.recorder().record().count("started");
    let requests = proxy.requests();
    let inspections: usize = requests.inspections.values().sum();
    fixture.figure(format!(
        "{} transitions, {} refused; {reported} lives reported of at least {lives}; {inspections} inspections, {} list; \
         subscribers lagged {lagged:?} times",
        churn.transitions(),
        churn.refused(),
        requests.lists
    ));
    ensure!(requests.lists == 1, "{} lists", requests.lists);
    Ok(())
}

/// On a busy machine an audit may repair what an event is about to report: the grace period is a second. So the count of
/// repairs is only printed; that nothing else is counted is a property of the explorer.
pub(super) async fn audits_of_a_busy_engine_cause_no_false_event(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let settings = settings().with_audits(Duration::from_millis(20));
    let watched = fixture.begin_watch_at(&fixture.engine().docker_host(), settings)?.that_is_hindered();
    watched.ready().await?;
    let churn = Churn::prepare(&docker, "audited", 6, fastrand::u64(..)).await?;
    let audits = || watched.watching.status().counters.audits;
    let is_over = || churn.transitions() >= 40 && audits() >= 20;
    join_all((0..3).map(|who| churn.run(&docker, who, is_over))).await;
    churn.until_quiet(&docker).await?;
    check(fixture, &watched).await?;
    let Counters { audits, drifted, resyncs, .. } = watched.watching.status().counters;
    fixture.figure(format!("{audits} audits during {} transitions, {drifted} repaired", churn.transitions()));
    ensure!(resyncs == 1, "the connection did not last: {resyncs} resyncs");
    Ok(())
}
