//! What a watcher finds when it comes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use super::super::fixture::CriFixture;
use crate::fixture::{Fixture as _, settings};
use whalewatcher_drivers::cri::{ContainerPlan, PodPlan};
use xtask::engines::{POD_ADDRESSES, TEST_IMAGE};

/// What a list consists of.
const METHODS: [&str; 4] = ["ListContainers", "ListPodSandbox", "ContainerStatus", "PodSandboxStatus"];

/// After what time there is another one.
const ANOTHER_LIST: Duration = Duration::from_secs(2);

pub(super) async fn pods_with_one_and_three_containers_are_there_at_the_start(
    fixture: &CriFixture,
) -> Result<()> {
    let driver = fixture.driver().await?;
    let plan = PodPlan::named("web")
        .within("shop")
        .with_addresses()
        .of_a_kubelet()
        .labelled("tier", "front")
        .annotated("why", "to sell");
    let web = driver.run_pod(&plan).await?;
    let plan = ContainerPlan::named("server").labelled("tier", "front").annotated("why", "to serve");
    let server = driver.run(&web, &plan).await?;
    let database = driver.run_pod(&PodPlan::named("database").within("shop")).await?;
    for name in ["primary", "replica", "backup"] {
        driver.run(&database, &ContainerPlan::named(name)).await?;
    }
    let bare = driver.run_pod(&PodPlan::named("bare")).await?;
    // None of these is alive.
    driver.create(&web, &ContainerPlan::named("never-started")).await?;
    let over = driver.run(&database, &ContainerPlan::named("over").running("exit 3")).await?;
    driver.ended(&over).await?;
    let stopped = driver.run_pod(&PodPlan::named("stopped")).await?;
    driver.run(&stopped, &ContainerPlan::named("stopped-too")).await?;
    driver.stop_pod(&stopped.id).await?;
    let truth = fixture.truth().await?;
    ensure!(truth.alive.len() == 7, "{} are alive", truth.alive.len());

    let asked = || METHODS.iter().map(|method| fixture.requests(method)).collect::<Result<Vec<u64>>>();
    let (before, began) = (asked()?, Instant::now());
    let watched = fixture.begin_watch(settings())?;
    watched.ready().await?;
    let asked: Vec<u64> = asked()?.iter().zip(&before).map(|(after, before)| after - before).collect();
    // Later another list shows what happened before the subscription surely stood.
    ensure!(asked == [1, 1, 4, 3] || began.elapsed() >= ANOTHER_LIST, "of {METHODS:?} there were {asked:?}");
    let portfolio = watched.watching.portfolio();
    let differences = truth.differences(&portfolio);
    ensure!(differences.is_empty(), "ready, but not right:\n    {}", differences.join("\n    "));
    let mut names: Vec<&str> = portfolio.containers().map(|container| container.name()).collect();
    names.sort_unstable();
    let mut expected = vec!["server", "primary", "replica", "backup", &web.id, &database.id, &bare.id];
    expected.sort_unstable();
    ensure!(names == expected, "the names are {names:?}");
    let one = portfolio.by_id(&server).context("the server is missing")?;
    let labels: BTreeMap<&str, &str> = one.labels().iter().collect();
    let expected = BTreeMap::from([
        ("tier", "front"),
        ("io.kubernetes.annotation/why", "to serve"),
        ("io.kubernetes.container.name", "server"),
        ("io.kubernetes.pod.name", "web"),
        ("io.kubernetes.pod.namespace", "shop"),
        ("io.kubernetes.pod.uid", "uid-of-shop-web"),
    ]);
    ensure!(labels == expected, "the server's labels are {labels:?}");
    let sandbox = portfolio.by_id(&web.id).context("its sandbox is missing")?;
    let labels: BTreeMap<&str, &str> = sandbox.labels().iter().collect();
    let expected = BTreeMap::from([
        ("tier", "front"),
        ("io.kubernetes.annotation/why", "to sell"),
        ("io.kubernetes.sandbox", ""),
        ("io.kubernetes.pod.name", "web"),
        ("io.kubernetes.pod.namespace", "shop"),
        ("io.kubernetes.pod.uid", "uid-of-shop-web"),
    ]);
    ensure!(labels == expected, "its sandbox's labels are {labels:?}");
    for container in [one, sandbox] {
        let networks: Vec<_> =
            container.networks().iter().map(|network| (network.ipv4(), network.ipv6())).collect();
        let [ipv4, ipv6] = POD_ADDRESSES;
        ensure!(networks == [(ipv4.parse().ok(), ipv6.parse().ok())], "its networks are {networks:?}");
    }
    let image = one.image().context("the server has no image")?;
    ensure!(image.name().ends_with(TEST_IMAGE) && image.id().is_some(), "its image is {image:?}");
    // Both names are of one image, and containerd reports either of the sandbox.
    ensure!(sandbox.image().is_some(), "its sandbox has no image");
    let pods = portfolio.pods();
    for (name, count) in [("shop/web", 1), ("shop/database", 3), ("default/bare", 0)] {
        let pod = pods.pod(name).with_context(|| format!("there is no pod {name}"))?;
        ensure!(pod.containers().count() == count, "{name} has {} containers", pod.containers().count());
    }
    ensure!(pods.pod("default/stopped").is_none(), "a pod that was stopped is there");
    fixture.check(&watched).await
}
