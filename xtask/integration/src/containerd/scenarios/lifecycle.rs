//! What happens to single containers.

use anyhow::{Result, ensure};

use super::super::fixture::ContainerdFixture;
use super::super::truth::tasks;
use crate::fixture::Fixture as _;
use crate::recorder::Reader;
use whalewatcher_core::EventKind;
use whalewatcher_drivers::containerd::Plan;

const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;

pub(super) async fn each_transition_is_reported_once(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    let key = "shop/0815";
    driver.create(&Plan::of(key).named("web").in_project("shop")).await?;
    driver.create_task(key).await?;
    let pid = driver.start_task(key).await?;
    reported.expect("started shop/web").await?;
    let container = watched.watching.portfolio().by_name("shop/web").cloned();
    ensure!(container.is_some_and(|container| container.pid() == pid), "its PID is not {pid}");
    driver.pause(key).await?;
    reported.expect("paused shop/web").await?;
    driver.resume(key).await?;
    reported.expect("unpaused shop/web").await?;
    driver.label(key, "tier", "front").await?;
    reported.expect("updated shop/web").await?;
    driver.label(key, "nerdctl/name", "front").await?;
    reported.expect("updated shop/front").await?;
    fixture.check(&watched).await?;
    driver.kill(key, SIGKILL).await?;
    reported.expect("exited shop/front 137").await?;
    driver.ended(key).await?;
    let stopped = tasks(fixture.engine(), "shop").await?;
    ensure!(stopped.len() == 1 && stopped[0].status == "STOPPED", "the task is gone: {stopped:?}");
    fixture.check(&watched).await?;
    driver.delete_task(key).await?;
    // The same container, another life.
    driver.start(key).await?;
    reported.expect("started shop/front").await?;
    driver.remove(key).await?;
    reported.expect("exited shop/front 137").await?;
    fixture.check(&watched).await?;
    ensure!(reported.rest().is_empty(), "there was more: {:?}", reported.rest());
    Ok(())
}

pub(super) async fn containers_of_ctr_are_reported(fixture: &ContainerdFixture) -> Result<()> {
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    for (namespace, name) in [("default", "by-ctr"), ("tools", "tools/by-ctr")] {
        let arguments = fixture.engine().ctr_run_arguments(namespace, "by-ctr");
        let mut run = vec!["run", "--detach", "--label", "com.docker.compose.project=made-by-hand"];
        run.extend(arguments.iter().map(String::as_str));
        run.extend(["by-ctr", "/bin/sleep", "1000000"]);
        fixture.ctr(namespace, &run).await?;
        reported.expect(&format!("started {name}")).await?;
        fixture.ctr(namespace, &["tasks", "pause", "by-ctr"]).await?;
        reported.expect(&format!("paused {name}")).await?;
        fixture.check(&watched).await?;
        fixture.ctr(namespace, &["tasks", "resume", "by-ctr"]).await?;
        reported.expect(&format!("unpaused {name}")).await?;
        fixture.ctr(namespace, &["tasks", "exec", "--exec-id", "probe", "by-ctr", "/bin/true"]).await?;
        fixture.ctr(namespace, &["containers", "label", "by-ctr", "tier=front"]).await?;
        reported.expect(&format!("updated {name}")).await?;
    }
    let project =
        watched.watching.portfolio().project("made-by-hand").map(|project| project.containers().count());
    ensure!(project == Some(2), "the project has {project:?} containers");
    fixture.ctr("default", &["tasks", "kill", "--signal", "SIGKILL", "by-ctr"]).await?;
    reported.expect("exited by-ctr 137").await?;
    fixture.ctr("tools", &["tasks", "delete", "--force", "by-ctr"]).await?;
    reported.expect("exited tools/by-ctr 137").await?;
    fixture.check(&watched).await?;
    ensure!(reported.rest().is_empty(), "there was more: {:?}", reported.rest());
    Ok(())
}

pub(super) async fn an_oom_kill_marks_the_exit(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    let eats = "x=x; while :; do x=$x$x; done";
    let script = format!("trap '{eats}' TERM; sleep 1000000 & : > /dev/ready; wait");
    // The initial process is killed, or one beside it: then the life goes on.
    for (key, is_initial) in [("shop/hungry", true), ("shop/hungry-guest", false)] {
        let plan = Plan::of(key).made_of("localhost/hungry:1").with_memory(16 << 20).running(&script);
        driver.run(&plan).await?;
        reported.expect(&format!("started {key}")).await?;
        driver.exec(key, "until-ready", "until [ -e /dev/ready ]; do :; done").await?;
        if is_initial {
            driver.kill(key, SIGTERM).await?;
        } else {
            let code = driver.exec(key, "eats", eats).await?;
            ensure!(code == 137, "it was not killed: {code}");
            fixture.check(&watched).await?;
            driver.kill(key, SIGKILL).await?;
        }
        reported.expect(&format!("exited {key} 137")).await?;
        let record = watched.recorder().record().clone();
        let exit = record.events.iter().rev().find_map(|event| match &event.kind {
            EventKind::Exited { container, .. } => Some(container.clone()),
            _ => None,
        });
        ensure!(exit.as_ref().is_some_and(|exit| exit.oom_killed()), "not marked: {exit:?}");
    }
    fixture.check(&watched).await
}

pub(super) async fn a_reused_id_is_exited_and_started(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    for round in 0..8 {
        let plan = Plan::of("jobs/same").labelled("round", &round.to_string());
        let pid = driver.run(&plan).await?;
        // Every other one goes before anybody may have seen it.
        if round % 2 == 0 {
            reported.expect("started jobs/same").await?;
            let portfolio = watched.watching.portfolio();
            let seen = portfolio
                .by_name("jobs/same")
                .map(|container| (container.pid(), container.labels().get("round").map(str::to_owned)));
            ensure!(seen == Some((pid, Some(round.to_string()))), "round {round} is seen as {seen:?}");
            driver.remove("jobs/same").await?;
            reported.expect("exited jobs/same 137").await?;
        } else {
            driver.remove("jobs/same").await?;
            reported.expect("started jobs/same").await?;
            reported.expect("exited jobs/same 137").await?;
        }
    }
    driver.run(&Plan::of("jobs/same").labelled("round", "last")).await?;
    reported.expect("started jobs/same").await?;
    fixture.check(&watched).await
}

pub(super) async fn a_task_without_its_container_counts_as_exited(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    driver.run(&Plan::of("robbed/one")).await?;
    reported.expect("started robbed/one").await?;
    driver.delete("robbed/one").await?;
    reported.expect("exited robbed/one").await?;
    let left = tasks(fixture.engine(), "robbed").await?;
    ensure!(left.len() == 1 && left[0].status == "RUNNING", "it is really over: {left:?}");
    fixture.check(&watched).await?;
    // A later watcher does not see it either.
    let later = fixture.watch().await?;
    fixture.check(&later).await
}
