//! What a watcher finds when it comes.

use anyhow::{Result, ensure};
use whalewatcher_core::EventKind;

use crate::docker::check::check;
use crate::docker::churn::Churn;
use crate::docker::counting_proxy::CountingProxy;
use crate::docker::fixture::DockerFixture;
use crate::docker::truth::Truth;
use crate::fixture::{Fixture as _, settings};
use whalewatcher_drivers::docker::Plan;

/// How many come amid a churn.
const WATCHERS: usize = 20;

pub(super) async fn thirty_containers_are_there_at_the_start(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let plans = (0..30).map(|number| {
        let plan = Plan::named(format!("start-{number}")).labelled("of", "start");
        let plan = match number % 4 {
            0 => plan,
            project => plan.in_project(["shop", "blog", "wiki"][project - 1]),
        };
        if number % 5 == 4 { plan.running("exit 3") } else { plan }
    });
    let ids = docker.run_all(plans).await?;
    for id in ids.iter().step_by(5) {
        docker.pause(id).await?;
    }
    docker.await_events("die", 6, ("label", "of=start")).await?;
    let truth = Truth::ask(&docker).await?;
    let alive = truth.alive().count();

    let proxy = CountingProxy::start(fixture.socket("start.sock"), &fixture.engine().docker_socket())?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?;
    watched.watching.ready().await?;
    let differences = truth.differences(&watched.watching.portfolio());
    ensure!(differences.is_empty(), "ready, but not right:\n    {}", differences.join("\n    "));
    let names: Vec<String> = watched.watching.portfolio().names().map(str::to_owned).collect();
    ensure!(names == ["blog", "shop", "wiki"], "the projects are {names:?}");
    let requests = proxy.requests();
    let inspections: usize = requests.inspections.values().sum();
    fixture.figure(format!(
        "{alive} of {} containers alive: {} list, {inspections} inspections, {} connections",
        truth.containers.len(),
        requests.lists,
        requests.connections
    ));
    ensure!(requests.lists == 1, "{} lists", requests.lists);
    ensure!(
        requests.inspections.len() == alive && inspections == alive,
        "{inspections} inspections of {} containers",
        requests.inspections.len()
    );

    watched
        .recorder()
        .until("synced", |record| !record.events.is_empty() && record.fold.total() == alive)
        .await?;
    check(fixture, &watched).await?;
    let record = watched.recorder().record().clone();
    let reported = record.count("started");
    ensure!(
        matches!(record.events[alive].kind, EventKind::Synced { containers, .. } if containers == alive),
        "the event after {alive} starts is {}",
        record.events[alive]
    );
    ensure!(reported <= alive, "{reported} starts were reported");
    Ok(())
}

pub(super) async fn watchers_that_join_during_churn_miss_nothing(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let churn = Churn::prepare(&docker, "amid", 8, fastrand::u64(..)).await?;
    for watched in churn.join(fixture, (WATCHERS, 1)).await? {
        check(fixture, &watched).await?;
    }
    Ok(())
}
