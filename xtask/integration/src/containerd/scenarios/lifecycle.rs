//! What happens to single containers.

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;

use super::super::check::check;
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
    check(fixture, &watched).await?;
    driver.kill(key, SIGKILL).await?;
    reported.expect("exited shop/front 137").await?;
    driver.ended(key).await?;
    let stopped = tasks(fixture, "shop").await?;
    ensure!(stopped.len() == 1 && stopped[0].status == "STOPPED", "the task is gone: {stopped:?}");
    check(fixture, &watched).await?;
    driver.delete_task(key).await?;
    // The same container, another life.
    driver.start(key).await?;
    reported.expect("started shop/front").await?;
    driver.remove(key).await?;
    reported.expect("exited shop/front 137").await?;
    check(fixture, &watched).await?;
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
        check(fixture, &watched).await?;
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
    check(fixture, &watched).await?;
    ensure!(reported.rest().is_empty(), "there was more: {:?}", reported.rest());
    Ok(())
}

pub(super) async fn exits_have_their_codes(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    for code in [0, 1, 42, 255] {
        let key = format!("ends-{code}");
        // It lives until it receives a signal, so that its start is seen before its end.
        let script = format!("trap 'exit {code}' TERM; sleep 1000000 & : > /dev/ready; wait");
        driver.run(&Plan::of(&key).running(&script)).await?;
        reported.expect(&format!("started {key}")).await?;
        // Before its trap is set, the first process of a namespace gets no signal.
        driver.exec(&key, "until-ready", "until [ -e /dev/ready ]; do :; done").await?;
        driver.kill(&key, SIGTERM).await?;
        reported.expect(&format!("exited {key} {code}")).await?;
    }
    check(fixture, &watched).await
}

pub(super) async fn execs_change_nothing_during_churn(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let hosts = ["host-0", "host-1", "shop/host-2"];
    driver.run_all(hosts.map(Plan::of)).await?;
    watched.recorder().until_reported(3, "started").await?;
    let reported = Reader::new(watched.recorder());
    let execs = |host: &'static str| {
        let driver = &driver;
        async move {
            for number in 0..12 {
                let code = driver.exec(host, &format!("exec-{number}"), &format!("exit {number}")).await?;
                ensure!(code == number, "an exec ended with {code}");
            }
            Ok(())
        }
    };
    let coming_and_going = async {
        for number in 0..8 {
            let key = format!("passer-by-{number}");
            driver.run(&Plan::of(&key)).await?;
            driver.remove(&key).await?;
        }
        anyhow::Ok(())
    };
    let (execs, others) = tokio::join!(try_join_all(hosts.map(execs)), coming_and_going);
    execs?;
    others?;
    check(fixture, &watched).await?;
    let of_hosts: Vec<String> = reported.rest().into_iter().filter(|words| words.contains("host")).collect();
    ensure!(of_hosts.is_empty(), "execs changed something: {of_hosts:?}");
    let passers = reported.rest().iter().filter(|words| words.starts_with("exited passer-by")).count();
    ensure!(passers == 8, "{passers} of 8 passers-by were reported to have exited");
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
            check(fixture, &watched).await?;
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
    check(fixture, &watched).await
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
    check(fixture, &watched).await
}

pub(super) async fn one_id_in_two_namespaces_is_two_containers(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    for key in ["same", "blue/same", "green/same"] {
        driver.run(&Plan::of(key)).await?;
        reported.expect(&format!("started {key}")).await?;
    }
    driver.pause("green/same").await?;
    reported.expect("paused green/same").await?;
    driver.remove("blue/same").await?;
    reported.expect("exited blue/same 137").await?;
    check(fixture, &watched).await?;
    let total = watched.watching.portfolio().total();
    ensure!(total == 2, "{total} are left");
    Ok(())
}

pub(super) async fn a_task_without_its_container_counts_as_exited(fixture: &ContainerdFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    driver.run(&Plan::of("robbed/one")).await?;
    reported.expect("started robbed/one").await?;
    driver.delete("robbed/one").await?;
    reported.expect("exited robbed/one").await?;
    let left = tasks(fixture, "robbed").await?;
    ensure!(left.len() == 1 && left[0].status == "RUNNING", "it is really over: {left:?}");
    check(fixture, &watched).await?;
    // A later watcher does not see it either.
    let later = fixture.watch().await?;
    check(fixture, &later).await
}
