//! What a watcher finds when it comes.

use anyhow::{Result, ensure};
use whalewatcher_core::EventKind;

use crate::docker::fixture::DockerFixture;
use crate::docker::scenarios::lifecycle::{CONTAINERS, LISTS};
use crate::fixture::{Fixture as _, settings};
use whalewatcher_drivers::docker::Plan;

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
    let truth = fixture.truth().await?;
    let alive = truth.alive.len();

    let proxy = fixture.proxy()?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?;
    watched.watching.ready().await?;
    let differences = truth.differences(&watched.watching.portfolio());
    ensure!(differences.is_empty(), "ready, but not right:\n    {}", differences.join("\n    "));
    let names: Vec<String> = watched.watching.portfolio().names().map(str::to_owned).collect();
    ensure!(names == ["blog", "shop", "wiki"], "the projects are {names:?}");
    let stats = proxy.stats();
    let lists = stats.requests_of(LISTS);
    let inspections = stats.requests_of(CONTAINERS) - lists;
    fixture.figure(format!(
        "{alive} of {} containers alive: {} list, {inspections} inspections, {} connections",
        truth.lives.len(),
        lists,
        stats.accepted
    ));
    ensure!(lists == 1, "{lists} lists");
    let each_once = truth.alive.keys().all(|id| stats.requests_of(id) == 1);
    ensure!(each_once && inspections == alive as u64, "{inspections} inspections: {:?}", stats.lines);

    watched
        .recorder()
        .until("synced", |record| !record.events.is_empty() && record.fold.total() == alive)
        .await?;
    fixture.check(&watched).await?;
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
