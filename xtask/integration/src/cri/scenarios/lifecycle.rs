//! What happens to single pods and containers.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;

use super::super::fixture::CriFixture;
use crate::fixture::Fixture as _;
use crate::recorder::{Reader, Record};
use crate::scenarios::is_reported;
use whalewatcher_core::EventKind;
use whalewatcher_drivers::cri::{ContainerPlan, PodPlan};

/// How many containers end at once.
const BRIEF: u32 = 30;

/// What runs until it is asked to end, and then ends with this code.
fn ending_with(code: i32) -> String {
    format!("trap 'exit {code}' TERM; sleep 1000000 & : > /ready; wait")
}

/// Before its trap is set, the first process of a namespace gets no signal.
const UNTIL_READY: &str = "until [ -e /ready ]; do :; done";

pub(super) async fn a_container_restarted_within_its_pod_is_another_one(fixture: &CriFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    let pod = driver.run_pod(&PodPlan::named("web").within("shop")).await?;
    reported.expect(&format!("started {}", pod.id)).await?;
    let mut before: Option<String> = None;
    for attempt in 0..3 {
        let plan = ContainerPlan::named("server").attempt(attempt).running(&ending_with(3));
        let id = driver.create(&pod, &plan).await?;
        ensure!(reported.rest().is_empty(), "reported before it was started: {:?}", reported.rest());
        driver.start(&id).await?;
        reported.expect("started server").await?;
        let seen = watched.watching.portfolio().by_name("server").map(|container| container.id().to_string());
        ensure!(seen.as_ref() == Some(&id), "attempt {attempt} is {id}, but seen is {seen:?}");
        fixture.check(&watched).await?;
        driver.exec(&id, UNTIL_READY).await?;
        driver.stop_within(&id, 20).await?;
        reported.expect("exited server 3").await?;
        fixture.check(&watched).await?;
        // Its remains go only when the next but one is there, as a kubelet has it.
        if let Some(before) = before.replace(id) {
            driver.remove(&before).await?;
        }
    }
    let sandbox = watched.watching.portfolio().total();
    ensure!(sandbox == 1, "{sandbox} are alive instead of the sandbox alone");
    driver.remove_pod(&pod.id).await?;
    watched.recorder().until_reported(4, "exited").await?;
    fixture.check(&watched).await?;
    let rest = reported.rest();
    ensure!(rest.len() == 1 && rest[0].starts_with(&format!("exited {}", pod.id)), "reported was {rest:?}");
    Ok(())
}

pub(super) async fn an_oom_kill_marks_the_exit(fixture: &CriFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let mut reported = Reader::new(watched.recorder());
    let pod = driver.run_pod(&PodPlan::named("web").with_addresses()).await?;
    reported.expect(&format!("started {}", pod.id)).await?;
    let script = "trap 'x=x; while :; do x=$x$x; done' TERM; sleep 1000000 & : > /ready; wait";
    let plan = ContainerPlan::named("hungry").with_memory(16 << 20).running(script);
    let id = driver.run(&pod, &plan).await?;
    reported.expect("started hungry").await?;
    driver.exec(&id, UNTIL_READY).await?;
    driver.exec(&id, "kill -TERM 1").await?;
    let exited = |record: &Record| {
        let mut events = record.events.iter().rev();
        events.find_map(|event| match &event.kind {
            EventKind::Exited { container, code } => Some((container.clone(), *code)),
            _ => None,
        })
    };
    watched.recorder().until("it has exited", |record| exited(record).is_some()).await?;
    let (exit, code) = exited(&watched.recorder().record()).context("it has not exited")?;
    ensure!(exit.oom_killed() && code == Some(137), "not marked, or another code: {exit:?} {code:?}");
    fixture.check(&watched).await
}

pub(super) async fn stopping_a_pod_exits_its_containers(fixture: &CriFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let watched = fixture.watch().await?;
    let pods = driver.run_pods(["goes", "stays"].map(PodPlan::named)).await?;
    for (pod, names) in pods.iter().zip([["goes-0", "goes-1"], ["stays-0", "stays-1"]]) {
        for name in names {
            driver.run(pod, &ContainerPlan::named(name)).await?;
        }
    }
    watched.recorder().until_reported(6, "started").await?;
    fixture.check(&watched).await?;
    let reported = Reader::new(watched.recorder());
    driver.stop_pod(&pods[0].id).await?;
    watched.recorder().until_reported(3, "exited").await?;
    fixture.check(&watched).await?;
    driver.remove_pod(&pods[0].id).await?;
    fixture.check(&watched).await?;
    let exited: &[&str] = &["exited"];
    is_reported(
        &reported.rest(),
        &[("goes-0", exited), ("goes-1", exited), (&pods[0].id, exited)],
        watched.recorder(),
    )?;
    ensure!(watched.watching.portfolio().pods().pod("default/goes").is_none(), "the pod is still there");
    Ok(())
}

pub(super) async fn lives_of_a_tenth_of_a_second_are_started_and_exited(fixture: &CriFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let pods = driver.run_pods((0..3).map(|number| PodPlan::named(format!("host-{number}")))).await?;
    let watched = fixture.watch().await?;
    let reported = Reader::new(watched.recorder());
    let runs = pods.iter().map(|pod| {
        let driver = &driver;
        async move {
            for number in 0..BRIEF / 3 {
                let script = if number % 2 == 0 { "exit 7" } else { "sleep 0.05; exit 7" };
                driver.run(pod, &ContainerPlan::named("brief").attempt(number).running(script)).await?;
            }
            // And one whose pod goes with it.
            let name = format!("{}-brief", pod.config.metadata.as_ref().context("no name")?.name);
            let pod = driver.run_pod(&PodPlan::named(name)).await?;
            driver.run(&pod, &ContainerPlan::named("brief").running("exit 7")).await?;
            driver.remove_pod(&pod.id).await
        }
    });
    try_join_all(runs).await?;
    let lives = usize::try_from(BRIEF)? + 2 * pods.len();
    watched.recorder().until_reported(lives, "exited").await?;
    fixture.check(&watched).await?;
    let record = watched.recorder().record().clone();
    let (started, exited) = (record.count("started"), record.count("exited"));
    ensure!(
        (started, exited) == (lives + pods.len(), lives),
        "{started} started and {exited} exited\n{}",
        watched.recorder().tail()
    );
    let codes = reported.rest().iter().filter(|words| *words == "exited brief 7").count();
    fixture.figure(format!(
        "{codes} of {BRIEF} exits and those of {} brief pods were reported with code 7",
        pods.len()
    ));
    ensure!(
        codes >= usize::try_from(BRIEF)?,
        "{codes} exits were reported with their code: {:?}",
        reported.rest()
    );
    let total = watched.watching.portfolio().total();
    ensure!(total == pods.len(), "{total} are left");
    Ok(())
}
