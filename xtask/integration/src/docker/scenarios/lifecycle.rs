//! What containers go through while the engine runs and the connection stands.

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use whalewatcher_moby::PRIVILEGED_LABEL;

use crate::docker::fixture::{DockerFixture, GRACE, handles_sigterm};
use crate::fixture::{Fixture, settings};
use crate::recorder::Reader;
use whalewatcher_drivers::docker::{AT_ONCE, Driver, Plan};

/// What the paths of requests about containers contain, and those of lists.
pub(crate) const CONTAINERS: &str = "/containers/";
pub(crate) const LISTS: &str = "/containers/json";

/// How many containers start at once: more than are inspected at once.
const CONCURRENT: usize = 30;

pub(crate) async fn each_transition_is_reported_once<F: Fixture<Driver = Driver>>(fixture: &F) -> Result<()> {
    let docker = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    let id = docker.create(Plan::named("web").in_project("shop")).await?;
    docker.start(&id).await?;
    reported.expect("started web").await?;
    docker.pause(&id).await?;
    reported.expect("paused web").await?;
    docker.unpause(&id).await?;
    reported.expect("unpaused web").await?;
    docker.rename(&id, "www").await?;
    reported.expect("updated www").await?;
    handles_sigterm(&docker, &id).await?;
    docker.restart(&id, GRACE).await?;
    reported.expect("exited www 0").await?;
    reported.expect("started www").await?;
    fixture.check(&watched).await?;
    handles_sigterm(&docker, &id).await?;
    docker.stop(&id, GRACE).await?;
    reported.expect("exited www 0").await?;
    docker.rename(&id, "web").await?;
    docker.start(&id).await?;
    reported.expect("started web").await?;
    docker.kill(&id, "KILL").await?;
    reported.expect("exited web 137").await?;
    docker.start(&id).await?;
    reported.expect("started web").await?;
    docker.remove(&id).await?;
    reported.expect("exited web 137").await?;
    fixture.check(&watched).await?;
    ensure!(reported.rest().is_empty(), "and then there was {:?}", reported.rest());
    Ok(())
}

pub(crate) async fn short_lives_are_started_and_exited<F: Fixture<Driver = Driver>>(
    fixture: &F,
) -> Result<()> {
    let docker = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let plans: Vec<Plan> = (0..12)
        .map(|number| {
            let plan = Plan::named(format!("brief-{number}")).in_project("brief").running("exit 7");
            if number % 2 == 0 { plan } else { plan.removed_at_its_end() }
        })
        .collect();
    docker.run_all(plans).await?;
    watched.recorder().until_reported(12, "exited").await?;
    fixture.check(&watched).await?;
    let reported = watched.recorder().record().reported_since(0);
    for number in 0..12 {
        let name = format!("brief-{number}");
        let of_it: Vec<&String> =
            reported.iter().filter(|words| words.split(' ').nth(1) == Some(&name)).collect();
        ensure!(of_it == [&format!("started {name}"), &format!("exited {name} 7")], "{of_it:?}");
    }
    ensure!(reported.len() == 24, "there was more than that: {reported:?}");
    Ok(())
}

pub(super) async fn each_of_many_concurrent_lives_costs_one_inspection(
    fixture: &DockerFixture,
) -> Result<()> {
    let docker = fixture.driver().await?;
    let proxy = fixture.proxy()?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?;
    watched.ready().await?;
    let ids = docker.create_all((0..CONCURRENT).map(|number| Plan::named(format!("many-{number}")))).await?;
    try_join_all(ids.iter().map(|id| docker.start(id))).await?;
    watched.recorder().until_reported(CONCURRENT, "started").await?;
    fixture.check(&watched).await?;
    let first = ids.iter().map(|id| proxy.stats().requests_of(id)).collect::<Vec<_>>();
    ensure!(first.iter().all(|count| *count == 1), "{first:?} inspections of containers that have started");
    let kills = || try_join_all(ids.iter().map(|id| docker.kill(id, "KILL")));
    kills().await?;
    watched.recorder().until_reported(CONCURRENT, "exited").await?;
    try_join_all(ids.iter().map(|id| docker.start(id))).await?;
    watched.recorder().until_reported(2 * CONCURRENT, "started").await?;
    fixture.check(&watched).await?;
    kills().await?;
    watched.recorder().until_reported(2 * CONCURRENT, "exited").await?;
    fixture.check(&watched).await?;
    let stats = proxy.stats();
    let lists = stats.requests_of(LISTS);
    let inspections = stats.requests_of(CONTAINERS) - lists;
    let most = ids.iter().map(|id| stats.requests_of(id)).max();
    fixture.figure(format!(
        "{} lives of {CONCURRENT} containers: {inspections} inspections, at most {} of one container, {} list, {} connections",
        2 * CONCURRENT,
        most.unwrap_or(0),
        lists,
        stats.accepted
    ));
    ensure!(lists == 1, "{lists} lists");
    // One for each life. dockerd disconnects the networks before it reports an exit. If it is so busy that
    // half a second lies in between, that costs one as well (seen with six of sixty exits).
    ensure!(
        most.is_none_or(|most| most <= 4),
        "{most:?} inspections of a container that had two lives and exits"
    );
    let reported = watched.recorder().record().reported_since(0);
    let expected = |what: &str| reported.iter().filter(|words| words.starts_with(what)).count();
    ensure!(
        (expected("started"), expected("exited"), reported.len())
            == (2 * CONCURRENT, 2 * CONCURRENT, 4 * CONCURRENT),
        "{reported:?}"
    );
    Ok(())
}

pub(super) async fn an_exec_changes_nothing(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let ids = docker.run_all([Plan::named("one"), Plan::named("two").in_project("shop")]).await?;
    let proxy = fixture.proxy()?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?;
    watched.ready().await?;
    let reported = Reader::new(watched.recorder());
    let scripts = ["true", "exit 3", "kill -9 $$", "echo hello"];
    let execs = (0..40).map(|number| (&ids[number % 2], scripts[number % 4]));
    let execs = stream::iter(execs).map(|(id, script)| docker.exec(id, script));
    execs.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    fixture.check(&watched).await?;
    ensure!(reported.rest().is_empty(), "40 execs, and reported was {:?}", reported.rest());
    let inspections: u64 = ids.iter().map(|id| proxy.stats().requests_of(id)).sum();
    fixture.figure(format!("40 execs in 2 containers: {inspections} inspections, which were the first ones"));
    ensure!(inspections == 2, "{inspections} inspections");
    Ok(())
}

pub(super) async fn a_privileged_container_is_labelled(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let mut watched = fixture.watch().await?;
    docker.run(Plan::named("meek")).await?;
    let plan = Plan::named("mighty").labelled("a", "b");
    match docker.run(plan.clone().privileged()).await {
        Err(error) if format!("{error:#}").contains("unable to apply caps") => {
            fixture.figure(
                "20.10 cannot give what this host lacks: a running container is made privileged".to_owned(),
            );
            docker.remove("mighty").await?;
            watched = watched.that_is_cut();
            let id = docker.run(plan).await?;
            make_privileged(fixture, &id)?;
            watched.recorder().until("it is in sync again", |record| record.synced() > 1).await?;
        }
        outcome => drop(outcome?),
    }
    watched.recorder().until_reported(2, "started").await?;
    fixture.check(&watched).await?;
    let portfolio = watched.watching.portfolio();
    let labelled = portfolio.containers().filter(|container| container.labels().contains(PRIVILEGED_LABEL));
    let labelled: Vec<&str> = labelled.map(|container| container.name()).collect();
    ensure!(labelled == ["mighty"], "privileged are {labelled:?}");
    Ok(())
}

/// dockerd learns that it is from its own files.
fn make_privileged(fixture: &DockerFixture, id: &str) -> Result<()> {
    fixture.kill_engine()?;
    let path = fixture.engine().folder().join("data/containers").join(id).join("hostconfig.json");
    let config = std::fs::read_to_string(&path)?;
    std::fs::write(&path, config.replace("\"Privileged\":false", "\"Privileged\":true"))?;
    fixture.start_engine_with(true)
}

pub(super) async fn a_restart_loop_collapses(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let proxy = fixture.proxy()?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?;
    watched.ready().await?;
    let id = docker.run(Plan::named("loop").running("exit 5").always_restarted()).await?;
    docker.await_events("die", 6, ("container", &id)).await?;
    docker.stop(&id, 0).await?;
    fixture.check(&watched).await?;
    let lives = docker.count_events("start", ("container", &id)).await?;
    let (started, inspections) =
        (watched.recorder().record().count("started"), proxy.stats().requests_of(&id));
    fixture.figure(format!("{lives} lives: {started} were reported, with {inspections} inspections"));
    ensure!(started <= lives, "{started} starts were reported of {lives} lives");
    // Stopping is one more reason to ask.
    ensure!(inspections <= lives as u64 + 1, "{inspections} inspections for {lives} lives");
    Ok(())
}
