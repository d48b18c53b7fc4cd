//! What a watcher finds when it comes, and what containers go through while podman runs.

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use whalewatcher_drivers::docker::{AT_ONCE, Plan};

use super::super::PodmanFixture;
use crate::docker::churn::Churn;
use crate::docker::counting_proxy::CountingProxy;
use crate::docker::fixture::{GRACE, Watched, handles_sigterm, pid_of};
use crate::fixture::{Fixture as _, settings};
use crate::recorder::Reader;

/// How many come amid a churn.
const WATCHERS: usize = 8;

pub(super) async fn all_containers_are_there_at_the_start(fixture: &PodmanFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let plans = (0..9).map(|number| {
        let plan = Plan::named(format!("start-{number}")).labelled("of", "start");
        let plan = if number % 3 == 0 { plan } else { plan.in_project(["shop", "blog"][number % 3 - 1]) };
        if number == 8 { plan.running("exit 3") } else { plan }
    });
    let ids = docker.run_all(plans).await?;
    docker.pause(&ids[1]).await?;
    docker.until_ended(&ids[8]).await?;

    let proxy = CountingProxy::start(fixture.socket("start.sock"), &fixture.engine_socket())?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?;
    watched.ready().await?;
    let portfolio = watched.watching.portfolio();
    let names: Vec<&str> = portfolio.names().collect();
    ensure!(names == ["blog", "shop"], "the projects are {names:?}");
    ensure!(portfolio.total() == 8, "{} are alive", portfolio.total());
    ensure!(portfolio.by_name("start-1").is_some_and(|container| container.paused()), "it is not paused");
    let requests = proxy.requests();
    let inspections: usize = requests.inspections.values().sum();
    fixture.figure(format!(
        "8 of 9 containers alive: {} list, {inspections} inspections, {} connections",
        requests.lists, requests.connections
    ));
    ensure!((requests.lists, inspections) == (1, 8), "{} lists, {inspections} inspections", requests.lists);
    fixture.check(&watched).await?;

    // podman returns another engine ID with each answer.
    let again = fixture.watch().await?;
    let identity = |watched: &Watched| watched.watching.identity().context("there is no engine");
    let (first, second) = (identity(&watched)?, identity(&again)?);
    ensure!(first.engine_type == "podman.io", "its type is {}", first.engine_type);
    ensure!(!first.id.is_empty() && first.id == second.id, "its ID is {}, then {}", first.id, second.id);
    Ok(())
}

pub(super) async fn each_transition_is_reported_once(fixture: &PodmanFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    let id = docker.run(Plan::named("web").in_project("shop")).await?;
    reported.expect("started web").await?;
    docker.pause(&id).await?;
    reported.expect("paused web").await?;
    docker.unpause(&id).await?;
    reported.expect("unpaused web").await?;
    docker.rename(&id, "www").await?;
    reported.expect("updated www").await?;
    let pid = pid_of(&docker, &id).await?;
    handles_sigterm(&docker, &id).await?;
    docker.restart(&id, GRACE).await?;
    reported.expect("exited www 0").await?;
    reported.expect("started www").await?;
    ensure!(pid_of(&docker, &id).await? != pid, "it is the same life after a restart");
    fixture.check(&watched).await?;
    handles_sigterm(&docker, &id).await?;
    docker.stop(&id, GRACE).await?;
    reported.expect("exited www 0").await?;
    docker.start(&id).await?;
    reported.expect("started www").await?;
    docker.remove(&id).await?;
    reported.expect("exited www 137").await?;
    fixture.check(&watched).await?;
    ensure!(reported.rest().is_empty(), "and then there was {:?}", reported.rest());
    Ok(())
}

pub(super) async fn short_lives_are_started_and_exited(fixture: &PodmanFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let plans = (0..12).map(|number| {
        let plan = Plan::named(format!("brief-{number}")).running("exit 7");
        if number % 2 == 0 { plan } else { plan.removed_at_its_end() }
    });
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
    Ok(())
}

pub(super) async fn an_exec_changes_nothing(fixture: &PodmanFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let id = docker.run(Plan::named("one")).await?;
    let watched = fixture.watch().await?;
    let reported = Reader::new(watched.recorder());
    let execs = ["true", "exit 3", "kill -9 $$", "echo hello"].repeat(3);
    let execs = stream::iter(execs).map(|script| docker.exec(&id, script));
    execs.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    fixture.check(&watched).await?;
    let reported: Vec<_> =
        reported.rest().into_iter().filter(|words| !words.contains(crate::fixture::FENCE)).collect();
    ensure!(reported.is_empty(), "12 execs, and reported was {reported:?}");
    Ok(())
}

pub(super) async fn watchers_that_join_during_churn_miss_nothing(fixture: &PodmanFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let churn = Churn::prepare(&docker, "amid", 8, fastrand::u64(..)).await?;
    for watched in churn.join(fixture, (WATCHERS, 3)).await? {
        fixture.check(&watched).await?;
    }
    Ok(())
}
