//! Connections that are dead without saying so, and engines that only have nothing to say.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::timeout;
use whalewatcher_testkit::proxy::Fault;

use crate::docker::fixture::DockerFixture;
use crate::fixture::{Fixture as _, settings};
use crate::recorder::{LIMIT, Reader};
use crate::scenarios::{is_reported, until_noticed};
use whalewatcher_drivers::docker::Plan;

pub(super) async fn stalled_event_stream_is_detected_while_requests_work(
    fixture: &DockerFixture,
) -> Result<()> {
    let docker = fixture.driver().await?;
    docker.run_all(["stays", "pauses", "restarts", "goes"].map(Plan::named)).await?;
    let proxy = fixture.proxy()?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?.that_is_cut();
    watched.ready().await?;
    fixture.check(&watched).await?;
    let reported = Reader::new(watched.recorder());

    let fault = proxy.inject(Fault::stall().on_requests("/events").times(1))?;
    docker.kill("goes", "KILL").await?;
    docker.pause("pauses").await?;
    docker.restart("restarts", 0).await?;
    docker.run(Plan::named("comes")).await?;
    fixture.figure(until_noticed(&watched).await?);
    watched.in_sync_again(1).await?;
    fixture.check(&watched).await?;
    ensure!(proxy.stats().hits_of(fault) == 1, "the stream was not silent");
    let expected: [(&str, &[&str]); 4] = [
        ("goes", &["exited"]),
        ("pauses", &["paused"]),
        ("restarts", &["exited", "started"]),
        ("comes", &["started"]),
    ];
    is_reported(&reported.rest(), &expected, watched.recorder())
}

pub(super) async fn idle_engine_is_not_considered_dead(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let proxy = fixture.proxy()?;
    let settings = settings().with_probes(Duration::from_millis(100), LIMIT);
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings)?;
    watched.ready().await?;
    for round in 0..3 {
        // Each time with other events before the silence, the newest of which is what checks ask from.
        docker.run_all((0..3).map(|number| Plan::named(format!("quiet-{round}-{number}")))).await?;
        docker.kill(&format!("quiet-{round}-1"), "KILL").await?;
        docker.pause(&format!("quiet-{round}-2")).await?;
        fixture.check(&watched).await?;
        let reported = watched.recorder().len();
        let checks = proxy.stats().requests_of("/events") + 10;
        timeout(LIMIT, proxy.until_requests("/events", checks)).await.context("there are no probes")?;
        ensure!(watched.recorder().len() == reported, "there was something\n{}", watched.recorder().tail());
        let counters = watched.watching.status().counters;
        ensure!((counters.connects, counters.resyncs) == (1, 1), "a false alarm: {counters:?}");
    }
    fixture.check(&watched).await
}
