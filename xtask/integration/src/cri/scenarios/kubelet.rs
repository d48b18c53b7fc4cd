//! Other clients of CRI's events do not notice a watcher.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::super::fixture::CriFixture;
use super::super::kubelet::{Kubelet, LIFE};
use crate::fixture::Fixture as _;
use crate::recorder::LIMIT;
use whalewatcher_drivers::cri::Driver;
use whalewatcher_drivers::cri::{ContainerPlan, PodPlan};

/// How many pods live and go in a phase that is measured.
const PODS: usize = 12;

/// Of how many of them at once.
const AT_ONCE: usize = 2;

/// How many watchers come and go.
const PASSING: u64 = 8;

pub(super) async fn another_client_of_cri_events_receives_all_of_them(fixture: &CriFixture) -> Result<()> {
    let driver = fixture.driver().await?;
    let subscribed = || fixture.requests("GetContainerEvents");
    let before = subscribed()?;
    let watched = fixture.watch().await?;
    let kubelet = Kubelet::listen(&driver).await?;
    let mut lived = lives(&driver, "first").await?;
    // It loses none when watchers come and go either.
    let coming_and_going = async {
        for _ in 0..PASSING {
            fixture.watch().await?.watching.close().await;
        }
        anyhow::Ok(())
    };
    let (more, passed) = tokio::join!(lives(&driver, "second"), coming_and_going);
    lived.extend(more?);
    passed?;
    kubelet.receives_whole_lives(&lived).await?;
    fixture.check(&watched).await?;
    let ours = subscribed()? - before - 1;
    let expected = if fixture.is_containerd_1() { 0 } else { 1 + PASSING };
    ensure!(ours == expected, "{ours} of ours subscribed to the kubelet's events");
    let record = watched.recorder().record().clone();
    let reported = |kind: &str| -> Vec<&str> {
        let events = record.events.iter().filter(|event| event.kind.name() == kind);
        events.filter_map(|event| event.container()).map(|container| &**container.id()).collect()
    };
    let (started, exited) = (reported("started"), reported("exited"));
    for id in &lived {
        let of_it = |ids: &[&str]| ids.iter().filter(|other| *other == id).count();
        ensure!((of_it(&started), of_it(&exited)) == (1, 1), "{id} was reported otherwise");
    }
    fixture.figure(format!("all {} events of {} lives were received", lived.len() * 4, lived.len()));
    Ok(())
}

pub(super) async fn two_clients_of_cri_events_share_them_on_containerd_1_only(
    fixture: &CriFixture,
) -> Result<()> {
    let driver = fixture.driver().await?;
    let first = Kubelet::listen(&driver).await?;
    let second = Kubelet::begin(&driver);
    let mut probes = Vec::new();
    while second.received_of(&probes) == 0 {
        ensure!(probes.len() < 20 * 2 * PODS, "a second client receives nothing");
        probes.extend(lives(&driver, &format!("probe-{}", probes.len())).await?);
    }
    let lived = lives(&driver, "shared").await?;
    let all = lived.len() * LIFE.len();
    if fixture.is_containerd_1() {
        let deadline = Instant::now() + LIMIT;
        while first.received_of(&lived) + second.received_of(&lived) < all && Instant::now() < deadline {
            first.next_within(Duration::from_millis(50)).await;
        }
        let received = (first.received_of(&lived), second.received_of(&lived));
        fixture.figure(format!(
            "of {all} events one client received {} and the other {}",
            received.0, received.1
        ));
        ensure!(
            received.0 + received.1 == all && received.0 > 0 && received.1 > 0,
            "of {all} events the clients received {received:?}"
        );
    } else {
        first.receives_whole_lives(&lived).await?;
        second.receives_whole_lives(&lived).await?;
    }
    Ok(())
}

/// Has pods with a container each live and go, and returns the IDs of all.
async fn lives(driver: &Driver, name: &str) -> Result<Vec<String>> {
    let living = |first: usize| async move {
        let mut ids = Vec::new();
        for number in (first..PODS).step_by(AT_ONCE) {
            let pod = driver.run_pod(&PodPlan::named(format!("{name}-{number}"))).await?;
            let container = driver.run(&pod, &ContainerPlan::named("main")).await?;
            driver.stop(&container).await?;
            driver.remove(&container).await?;
            driver.remove_pod(&pod.id).await?;
            ids.extend([pod.id, container]);
        }
        anyhow::Ok(ids)
    };
    Ok(try_join_all((0..AT_ONCE).map(living)).await?.concat())
}
