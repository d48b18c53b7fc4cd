//! How long it takes a watcher to become ready with all containers of a real engine.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::runtime::Runtime;
use whalewatcher_bench::floor::ask_about_all;
use whalewatcher_bench::sample::Sample;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{EngineError, watch};
use whalewatcher_drivers::cri::PodPlan;
use whalewatcher_drivers::{containerd, cri, docker};
use whalewatcher_testkit::proxy::Proxy;

use crate::bench::Effort;
use crate::figure::{Aim, Figure, Unit};
use crate::real;
use crate::rounds::{each_in_turn, of_columns};

const DOCKER: &str = "ready-docker";
const CONTAINERD: &str = "ready-containerd";
const CRI: &str = "ready-cri";

/// The numbers of containers; the last one only with `--large`.
const SIZES: [usize; 4] = [20, 100, 200, 400];

/// How many containers a pod has, besides its sandbox.
const IN_POD: usize = 4;

fn sizes(effort: &Effort) -> impl Iterator<Item = usize> {
    SIZES.into_iter().take(if effort.large { 4 } else { 3 })
}

/// Measures dockerd, next to a minimal client that sends the same list and inspections and discards the answers.
pub(crate) fn docker(effort: &Effort) -> Result<Vec<Figure>> {
    let engine = real::docker()?;
    runtime()?.block_on(async {
        let driver = docker::Driver::connect(&engine.docker_socket()).await?;
        let (endpoint, socket) = (&engine.docker_host(), &engine.docker_socket().display().to_string());
        let mut ids = Vec::new();
        let mut figures = Vec::new();
        for size in sizes(effort) {
            ids.extend(driver.run_all((ids.len()..size).map(real::docker_plan)).await?);
            let ids = &ids;
            let [watcher, floor] = each_in_turn(
                effort.rounds,
                [
                    Box::new(move || Box::pin(until_ready(whalewatcher_moby::Client::new(endpoint), size))),
                    Box::new(move || {
                        Box::pin(async move {
                            let begin = Instant::now();
                            ask_about_all(socket, ids).await?;
                            Ok(milliseconds_since(begin))
                        })
                    }),
                ],
            )
            .await?;
            let pair = of_columns(&watcher, &floor);
            figures.push(
                Figure::new(DOCKER, format!("{size} containers"), Unit::Milliseconds, pair.measured)
                    .over(pair.floor, pair.ratio)
                    .aiming_at(Aim::TimesFloor(1.3)),
            );
            figures.extend(requests(endpoint, size).await?);
        }
        Ok(figures)
    })
}

/// Measures containerd.
pub(crate) fn containerd(effort: &Effort) -> Result<Vec<Figure>> {
    let engine = real::containerd()?;
    runtime()?.block_on(async {
        let driver = containerd::Driver::new(&engine)?;
        let endpoint = &real::endpoint(&engine.socket());
        let mut running = 0;
        let mut figures = Vec::new();
        for size in sizes(effort) {
            driver.run_all((running..size).map(real::containerd_plan)).await?;
            running = size;
            let client = || whalewatcher_containerd::Client::new(endpoint);
            figures.push(measured(CONTAINERD, format!("{size} containers"), effort, client, size).await?);
        }
        Ok(figures)
    })
}

/// Measures CRI on containerd: sandboxes count as containers.
pub(crate) fn cri(effort: &Effort) -> Result<Vec<Figure>> {
    let engine = real::cri()?;
    runtime()?.block_on(async {
        let driver = cri::Driver::new(&engine)?;
        driver.ready().await?;
        let endpoint = &real::endpoint(&engine.socket());
        let mut pods = 0;
        let mut figures = Vec::new();
        for size in sizes(effort) {
            let wanted = size / (IN_POD + 1);
            run_pods(&driver, pods, wanted).await?;
            pods = wanted;
            let what = format!("{} containers in {pods} pods", pods * IN_POD);
            let client = || whalewatcher_cri::Client::new(endpoint);
            figures.push(measured(CRI, what, effort, client, size).await?);
        }
        Ok(figures)
    })
}

/// Runs the pods of these numbers, each with its containers.
async fn run_pods(driver: &cri::Driver, first: usize, end: usize) -> Result<()> {
    let plans = (first..end).map(|pod| PodPlan::named(format!("pod-{pod}")).of_a_kubelet());
    let pods = driver.run_pods(plans).await?;
    for (number, pod) in (first..).zip(&pods) {
        let plans = (0..IN_POD).map(|container| real::cri_plan(number * IN_POD + container));
        let running = stream::iter(plans).map(|plan| async move { driver.run(pod, &plan).await });
        running.buffered(IN_POD).try_collect::<Vec<_>>().await?;
    }
    Ok(())
}

/// Measures without a floor. A first round, in which all is cold, does not count.
async fn measured<C: EngineClient + 'static>(
    bench: &'static str,
    what: String,
    effort: &Effort,
    client: impl Fn() -> Result<C, EngineError>,
    containers: usize,
) -> Result<Figure> {
    let mut all = Vec::new();
    for round in 0..=effort.rounds {
        let took = until_ready(client(), containers).await?;
        all.extend((round > 0).then_some(took));
    }
    Ok(Figure::new(bench, what, Unit::Milliseconds, Sample::of(all)))
}

/// Counts with a proxy what dockerd is asked until the watcher is ready.
async fn requests(endpoint: &str, containers: usize) -> Result<[Figure; 2]> {
    let proxy = Proxy::builder().upstream(endpoint).start()?;
    let watching = watch(whalewatcher_moby::Client::new(proxy.endpoint())?);
    watching.ready().await?;
    let stats = proxy.stats();
    watching.close().await;
    let asked = stats.requests_of("/containers/");
    let figure = |what: &str, requests: u64| {
        let what = format!("{containers} containers: {what}");
        Figure::new(DOCKER, what, Unit::Count, Sample::once(requests as f64))
    };
    let least = containers as f64 + 1.0;
    Ok([
        figure("lists and inspections", asked)
            .over(Sample::once(least), Sample::once(asked as f64 / least))
            .aiming_at(Aim::TimesFloor(1.0)),
        figure("other requests", stats.requests - asked),
    ])
}

/// Watches until ready, and returns the milliseconds that this took.
async fn until_ready<C: EngineClient + 'static>(
    client: Result<C, EngineError>,
    containers: usize,
) -> Result<f64> {
    let begin = Instant::now();
    let watching = watch(client?);
    watching.ready().await?;
    let took = milliseconds_since(begin);
    let known = watching.portfolio().total();
    watching.close().await;
    ensure!(known == containers, "of {containers} containers {known} are known");
    Ok(took)
}

fn milliseconds_since(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}

fn runtime() -> Result<Runtime> {
    Runtime::new().context("no runtime")
}
