//! Health, networks, OOM kills and restart counts. Every other scenario compares them too, in the end.

use std::pin::pin;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::StreamExt as _;
use tokio::time::timeout;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{Container, EventKind, Health};
use whalewatcher_drivers::docker::{Driver, Plan};

use crate::docker::fixture::DockerFixture;
use crate::fixture::{Fixture, settings};
use crate::recorder::{LIMIT, Reader};
use crate::watched::Watched;

/// How many lives may end before the engine reports why.
const LIVES: usize = 5;

/// Waits until a container of this name is as wanted.
pub(crate) async fn until<C: EngineClient>(
    watched: &Watched<C>,
    name: &str,
    what: &str,
    wanted: impl Fn(&Container) -> bool,
) -> Result<()> {
    let what = format!("{name} is {what}");
    watched
        .recorder()
        .until(&what, |record| record.fold.by_name(name).is_some_and(|known| wanted(known)))
        .await
}

pub(super) async fn health_is_followed_without_inspections(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let proxy = fixture.proxy()?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?;
    watched.ready().await?;
    let id = docker.run(Plan::named("patient").with_health_check("[ ! -e /dev/ill ]")).await?;
    let is = |health| move |known: &Container| known.health() == Some(health);
    until(&watched, "patient", "healthy", is(Health::Healthy)).await?;
    let first = proxy.stats().requests_of(&id);
    for _ in 0..3 {
        docker.exec(&id, ": > /dev/ill").await?;
        until(&watched, "patient", "unhealthy", is(Health::Unhealthy)).await?;
        docker.exec(&id, "rm /dev/ill").await?;
        until(&watched, "patient", "healthy again", is(Health::Healthy)).await?;
    }
    docker.await_events("exec_die", 30, ("container", &id)).await?;
    let rest = proxy.stats().requests_of(&id) - first;
    fixture
        .figure(format!("30 probes, and 6 changes of health: {first} inspections before, and then {rest}"));
    ensure!(rest == 0, "{rest} inspections");
    fixture.check(&watched).await?;

    // dockerd ends the health check, and calls the container unhealthy, without an event.
    docker.pause(&id).await?;
    until(&watched, "patient", "unhealthy while it is paused", |known| {
        known.paused() && known.health() == Some(Health::Unhealthy)
    })
    .await?;
    fixture.check(&watched).await?;
    docker.unpause(&id).await?;
    until(&watched, "patient", "healthy after its pause", is(Health::Healthy)).await?;
    fixture.check(&watched).await
}

pub(super) async fn networks_are_followed(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let proxy = fixture.proxy()?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?;
    watched.ready().await?;
    let mut reported = Reader::new(watched.recorder());
    let id = docker.run(Plan::named("hermit")).await?;
    reported.expect("started hermit").await?;
    // That needs no network of the host.
    docker.disconnect_from(&id, "none").await?;
    reported.expect("updated hermit").await?;
    until(&watched, "hermit", "in no network", |known| known.networks().is_empty()).await?;
    docker.connect_to(&id, "none").await?;
    reported.expect("updated hermit").await?;
    until(&watched, "hermit", "in one network", |known| known.networks().len() == 1).await?;
    fixture.check(&watched).await?;
    let inspections = proxy.stats().requests_of(&id);
    docker.kill(&id, "KILL").await?;
    reported.expect("exited hermit 137").await?;
    fixture.check(&watched).await?;
    let rest = proxy.stats().requests_of(&id) - inspections;
    fixture
        .figure(format!("a life, a disconnect and a connect: {inspections} inspections; its exit: {rest}"));
    ensure!(inspections == 3, "{inspections} inspections");
    ensure!(reported.rest().is_empty(), "and then there was {:?}", reported.rest());
    Ok(())
}

pub(super) async fn an_oom_kill_is_marked(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let grow = "until [ -e /dev/go ]; do :; done; a=x; while :; do a=$a$a; done";
    let plan = Plan::named("glutton").with_memory(20_000_000).running(grow);
    let mut engine = pin!(docker.follow());
    let id = docker.run(plan).await?;
    for life in 1..=LIVES {
        watched.recorder().until_reported(life, "started").await?;
        until(&watched, "glutton", "not marked in its next life", |known| !known.oom_killed()).await?;
        docker.exec(&id, ": > /dev/go").await?;
        watched.recorder().until_reported(life, "exited").await?;
        let record = watched.recorder().record().clone();
        let exit = record.events.iter().rfind(|event| matches!(event.kind, EventKind::Exited { .. }));
        let exited = exit.and_then(|event| event.container()).context("no exit")?;
        // On a busy machine, containerd may notice the end of a container before the reason.
        let mut is_reported = false;
        loop {
            let event = timeout(LIMIT, engine.next()).await?.context("the engine's events end")??;
            if event.actor.and_then(|actor| actor.id).as_ref() != Some(&id) {
                continue;
            }
            match event.action.as_deref() {
                Some("oom") => is_reported = true,
                Some("die") => break,
                _ => {}
            }
        }
        ensure!(exited.oom_killed() == is_reported, "{exited:?}: the engine reported a kill: {is_reported}");
        docker.start(&id).await?;
        if is_reported {
            watched.recorder().until_reported(life + 1, "started").await?;
            fixture.check(&watched).await?;
            return until(&watched, "glutton", "not marked in its next life", |known| !known.oom_killed())
                .await;
        }
        fixture.figure(format!("life {life} ended before the engine reported the kill"));
    }
    bail!("the engine reported no kill before the end of {LIVES} lives")
}

pub(crate) async fn restarts_by_the_engine_are_counted<F: Fixture<Driver = Driver>>(
    fixture: &F,
) -> Result<()> {
    let docker = fixture.driver().await?;
    let watched = fixture.watch().await?;
    // The file system outlives the life.
    let script = "[ -e /second ] && : > /third; [ -e /third ] && sleep 1000000; : > /second; exit 3";
    docker.run(Plan::named("phoenix").running(script).always_restarted()).await?;
    until(&watched, "phoenix", "restarted", |known| known.restart_count() == Some(1)).await?;
    fixture.check(&watched).await
}
