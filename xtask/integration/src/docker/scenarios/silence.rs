//! Connections that are dead without saying so, and engines that only have nothing to say.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, timeout};
use whalewatcher_core::EventKind;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_testkit::proxy::{Fault, Proxy};

use super::outage::{is_reported, kill};
use crate::docker::check::check;
use crate::docker::fixture::{DockerFixture, pid_of};
use crate::fixture::{Fixture as _, settings};
use crate::recorder::{LIMIT, Reader};
use crate::watched::Watched;
use whalewatcher_drivers::docker::Plan;

/// A process that does nothing until this is dropped, and whose sockets stay open.
pub(crate) struct Stopped(Pid);

impl Stopped {
    pub(crate) fn new(pid: Option<u32>) -> Result<Stopped> {
        let pid = pid.and_then(|pid| Pid::from_raw(pid.try_into().ok()?)).context("it does not run")?;
        kill_process(pid, Signal::STOP).context("cannot stop the engine")?;
        Ok(Stopped(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // If it has ended meanwhile, there is nothing to be done.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// Waits until the watcher has noticed that its connection is dead, even if it has another one by now, and returns how
/// that was.
pub(crate) async fn until_noticed<C: EngineClient>(watched: &Watched<C>) -> Result<String> {
    let began = Instant::now();
    watched.recorder().until_reported(1, "disconnected").await?;
    let record = watched.recorder().record();
    let noticed = record.events.iter().find(|event| matches!(event.kind, EventKind::Disconnected { .. }));
    let noticed = noticed.context("no disconnected event")?;
    Ok(format!("after {:.1} s: {noticed}", began.elapsed().as_secs_f32()))
}

pub(super) async fn stopped_engine_is_detected_and_yields_the_difference(
    fixture: &DockerFixture,
) -> Result<()> {
    let docker = fixture.driver().await?;
    docker.run_all(["stays", "rests", "goes"].map(Plan::named)).await?;
    docker.pause("rests").await?;
    let watched = fixture.watch().await?.that_is_cut();
    check(fixture, &watched).await?;
    let reported = Reader::new(watched.recorder());
    let ending = pid_of(&docker, "goes").await?;

    let stopped = Stopped::new(fixture.engine().dockerd_pid())?;
    kill(ending)?;
    fixture.figure(until_noticed(&watched).await?);
    let portfolio = watched.watching.portfolio();
    ensure!(portfolio.by_name("goes").is_some(), "no event can have reported the exit yet");
    ensure!(reported.rest().is_empty(), "reported although the engine says nothing: {:?}", reported.rest());

    drop(stopped);
    watched.in_sync_again(1).await?;
    check(fixture, &watched).await?;
    is_reported(&reported.rest(), &[("goes", &["exited"])], watched.recorder())
}

pub(super) async fn stalled_event_stream_is_detected_while_requests_work(
    fixture: &DockerFixture,
) -> Result<()> {
    let docker = fixture.driver().await?;
    docker.run_all(["stays", "pauses", "restarts", "goes"].map(Plan::named)).await?;
    let upstream = fixture.engine().docker_host();
    let proxy = Proxy::builder().upstream(upstream).listen_unix(fixture.socket("silent.sock")).start()?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?.that_is_cut();
    watched.ready().await?;
    check(fixture, &watched).await?;
    let reported = Reader::new(watched.recorder());

    let fault = proxy.inject(Fault::stall().on_requests("/events").times(1))?;
    docker.kill("goes", "KILL").await?;
    docker.pause("pauses").await?;
    docker.restart("restarts", 0).await?;
    docker.run(Plan::named("comes")).await?;
    fixture.figure(until_noticed(&watched).await?);
    watched.in_sync_again(1).await?;
    check(fixture, &watched).await?;
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
    let upstream = fixture.engine().docker_host();
    let proxy = Proxy::builder().upstream(upstream).listen_unix(fixture.socket("quiet.sock")).start()?;
    let settings = settings().with_probes(Duration::from_millis(100), LIMIT);
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings)?;
    watched.ready().await?;
    for round in 0..3 {
        // Each time with other events before the silence, the newest of which is what checks ask from.
        docker.run_all((0..3).map(|number| Plan::named(format!("quiet-{round}-{number}")))).await?;
        docker.kill(&format!("quiet-{round}-1"), "KILL").await?;
        docker.pause(&format!("quiet-{round}-2")).await?;
        check(fixture, &watched).await?;
        let reported = watched.recorder().len();
        let checks = proxy.stats().requests_of("/events") + 10;
        timeout(LIMIT, proxy.until_requests("/events", checks)).await.context("there are no probes")?;
        ensure!(watched.recorder().len() == reported, "there was something\n{}", watched.recorder().tail());
        let counters = watched.watching.status().counters;
        ensure!((counters.connects, counters.resyncs) == (1, 1), "a false alarm: {counters:?}");
    }
    check(fixture, &watched).await
}
