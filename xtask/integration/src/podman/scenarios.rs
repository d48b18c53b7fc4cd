//! The scenarios on podman. They are fewer than Docker's: those in which podman has ways of its own.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::sleep;
use whalewatcher_core::{Container, Health};
use whalewatcher_drivers::docker::Plan;
use whalewatcher_podman::{Client, PODMAN_POD_NAME_LABEL};
use xtask::engines::TEST_IMAGE;

use super::{PodmanFixture, activation, rootless};
use crate::docker::scenarios::details;
use crate::docker::scenarios::lifecycle::{self, CONTAINERS, LISTS};
use crate::faulty;
use crate::fixture::{Fixture as _, settings};
use crate::scenario::{Scenario, scenarios};
use crate::scenarios as shared;
use crate::watched::Watched;

pub(super) const SCENARIOS: &[Scenario<PodmanFixture>] = scenarios![
    all_containers_are_there_at_the_start,
    lifecycle::each_transition_is_reported_once,
    details::restarts_by_the_engine_are_counted,
    health_is_followed,
    containers_have_the_name_of_their_pod,
    activation::a_service_that_ends_when_idle_is_no_exit_and_is_started_only_if_that_is_allowed,
    rootless::a_rootless_podman_is_watched_and_what_it_failed_to_pause_is_not_paused,
    lifecycle::short_lives_are_started_and_exited,
    shared::lifecycle::execs_change_nothing_during_churn,
    shared::churn::watchers_that_join_during_churn_miss_nothing,
    shared::outage::killed_engine_yields_the_difference,
    shared::churn::engine_killed_repeatedly_during_churn,
    shared::churn::watches_dropped_at_random_during_churn_leave_nothing,
    faulty::random_faults_cause_no_false_event,
];

async fn health_is_followed(fixture: &PodmanFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let watched = fixture.watch().await?;
    for (name, script, health) in [("well", "true", Health::Healthy), ("ill", "false", Health::Unhealthy)] {
        let id = docker.run(Plan::named(name).with_health_check(script)).await?;
        let starting = |known: &Container| known.health() == Some(Health::Starting);
        details::until(&watched, name, "starting", starting).await?;
        // Without systemd podman runs no probes by itself. The container fails one more than it may.
        for _ in 0..4 {
            let path = format!("/v4.0.0/libpod/containers/{id}/healthcheck");
            let response = block_in_place(|| fixture.engine().request("GET", &path))?;
            ensure!(response.status == 200, "no probe: status {}", response.status);
        }
        let is = |known: &Container| known.health() == Some(health);
        details::until(&watched, name, health.as_str(), is).await?;
    }
    fixture.check(&watched).await
}

async fn containers_have_the_name_of_their_pod(fixture: &PodmanFixture) -> Result<()> {
    let (docker, cgroup) = (fixture.driver().await?, fixture.engine().cgroup());
    let post = |path: &str, body: Value| {
        let answer = block_in_place(|| fixture.engine().post(&format!("/v4.0.0/libpod{path}"), &body))?;
        ensure!(answer.status < 300, "{path}: status {}: {}", answer.status, answer.text());
        anyhow::Ok(())
    };
    // Its infra container would need another image.
    post("/pods/create", json!({ "name": "crew", "no_infra": true, "cgroup_parent": cgroup }))?;
    let run = async |name: &str| {
        let container = json!({
            "name": name, "image": TEST_IMAGE, "command": ["sh", "-c", "while :; do sleep 3600; done"],
            "pod": "crew", "netns": { "nsmode": "none" }, "cgroup_parent": cgroup,
        });
        post("/containers/create", container)?;
        docker.start(name).await
    };
    run("listed").await?;
    docker.run(Plan::named("alone")).await?;
    let watched = fixture.watch().await?;
    run("started").await?;
    let pod = |known: &Container| known.labels().get(PODMAN_POD_NAME_LABEL) == Some("crew");
    for name in ["listed", "started"] {
        details::until(&watched, name, "in its pod", pod).await?;
    }
    let portfolio = watched.watching.portfolio();
    ensure!(portfolio.by_name("alone").is_some_and(|alone| !pod(alone)), "it is in no pod");
    for name in ["listed", "started"] {
        docker.kill(name, "KILL").await?;
    }
    watched.recorder().until_reported(2, "exited").await?;
    let removed =
        block_in_place(|| fixture.engine().request("DELETE", "/v4.0.0/libpod/pods/crew?force=true"))?;
    ensure!(removed.status < 300, "the pod stays: status {}", removed.status);
    Ok(())
}

async fn all_containers_are_there_at_the_start(fixture: &PodmanFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let plans = (0..9).map(|number| {
        let plan = Plan::named(format!("start-{number}")).labelled("of", "start");
        let plan = if number % 3 == 0 { plan } else { plan.in_project(["shop", "blog"][number % 3 - 1]) };
        if number == 8 { plan.running("exit 3") } else { plan }
    });
    let ids = docker.run_all(plans).await?;
    docker.pause(&ids[1]).await?;
    docker.until_ended(&ids[8]).await?;
    // podman's list dates starts to the second, so what began in the present one would be inspected.
    sleep(Duration::from_secs(1)).await;

    let proxy = fixture.proxy()?;
    let watched = fixture.begin_watch_at(&proxy.endpoint(), settings())?;
    watched.ready().await?;
    let portfolio = watched.watching.portfolio();
    let names: Vec<&str> = portfolio.names().collect();
    ensure!(names == ["blog", "shop"], "the projects are {names:?}");
    ensure!(portfolio.total() == 8, "{} are alive", portfolio.total());
    ensure!(portfolio.by_name("start-1").is_some_and(|container| container.paused()), "it is not paused");
    let stats = proxy.stats();
    let lists = stats.requests_of(LISTS);
    let inspections = stats.requests_of(CONTAINERS) - lists;
    fixture.figure(format!(
        "8 of 9 containers alive: {lists} list, {inspections} inspections, {} connections",
        stats.accepted
    ));
    // The first list is one of a single container, by which the client sees that podman's own API answers.
    ensure!((lists, inspections) == (2, 0), "{lists} lists, {inspections} inspections");
    fixture.check(&watched).await?;

    // podman returns another engine ID with each answer.
    let again = fixture.watch().await?;
    fixture.check(&again).await?;
    let identity = |watched: &Watched<Client>| watched.watching.identity().context("there is no engine");
    let (first, second) = (identity(&watched)?, identity(&again)?);
    ensure!(first.engine_type == "podman.io", "its type is {}", first.engine_type);
    ensure!(!first.id.is_empty() && first.id == second.id, "its ID is {}, then {}", first.id, second.id);
    Ok(())
}
