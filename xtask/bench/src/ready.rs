//! How long it takes a watcher to become ready with all containers of a real engine.

use std::time::Instant;

use anyhow::{Result, ensure};
use whalewatcher_bench::figure::{Aim, Figure, Unit};
use whalewatcher_bench::floor::ask_about_all;
use whalewatcher_bench::rounds::{each_in_turn, of_pairs};
use whalewatcher_bench::sample::Sample;
use whalewatcher_core::watch;
use whalewatcher_drivers::docker;
use whalewatcher_testkit::proxy::Proxy;

use crate::bench::Effort;
use crate::real::{self, Driver};

const DOCKER: &str = "ready-docker";

/// The numbers of containers; the last one only with `--large`.
const SIZES: [usize; 4] = [20, 100, 200, 400];

fn sizes(effort: &Effort) -> impl Iterator<Item = usize> {
    SIZES.into_iter().take(if effort.large { 4 } else { 3 })
}

/// Measures dockerd, next to a minimal client that sends the same list and inspections and discards the answers.
pub(crate) fn docker(_: &str, effort: &Effort) -> Result<Vec<Figure>> {
    real::measured(async |engine, driver: &docker::Driver| {
        let (endpoint, socket) = (&engine.endpoint(), &engine.socket().display().to_string());
        let mut ids = Vec::new();
        let mut figures = Vec::new();
        for size in sizes(effort) {
            ids.extend(driver.populate(ids.len()..size).await?);
            let watcher = async || until_ready::<docker::Driver>(endpoint, size).await;
            let floor = async || {
                let begin = Instant::now();
                ask_about_all(socket, &ids).await?;
                Ok(milliseconds_since(begin))
            };
            let pair = of_pairs(&each_in_turn(effort.rounds, watcher, floor).await?);
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

/// Measures an engine without a floor; of CRI, sandboxes count as containers.
pub(crate) fn without_floor<D: Driver>(bench: &str, effort: &Effort) -> Result<Vec<Figure>> {
    real::measured(async |engine, driver: &D| {
        let mut running = 0;
        let mut figures = Vec::new();
        for size in sizes(effort) {
            driver.populate(running..size).await?;
            running = size;
            let mut all = Vec::new();
            for round in 0..=effort.rounds {
                let took = until_ready::<D>(&engine.endpoint(), size).await?;
                // In the first round all is cold.
                all.extend((round > 0).then_some(took));
            }
            figures.push(Figure::new(
                bench,
                format!("{size} containers"),
                Unit::Milliseconds,
                Sample::of(all),
            ));
        }
        Ok(figures)
    })
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
async fn until_ready<D: Driver>(endpoint: &str, containers: usize) -> Result<f64> {
    let begin = Instant::now();
    let watching = watch(D::client(endpoint)?);
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
