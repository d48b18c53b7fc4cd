//! dockerd, whose list tells neither PIDs nor start times, so that each container is inspected.

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::runtime::Runtime;
use whalewatcher_bench::floor::{ask_about_all, ask_one_by_one, greet_and_ask_about_all};
use whalewatcher_bench::sample::Sample;
use whalewatcher_core::watch;
use whalewatcher_drivers::docker::{AT_ONCE, Driver};
use whalewatcher_moby::Client;
use whalewatcher_testkit::proxy::Proxy;

use super::{Compared, figures, sizes, timed, until_ready};
use crate::bench::Effort;
use crate::figure::{Aim, Figure, Unit};
use crate::real;

const NAME: &str = "ready-docker";

pub(crate) fn run(effort: &Effort) -> Result<Vec<Figure>> {
    let engine = real::docker()?;
    let runtime = Runtime::new().context("no runtime")?;
    runtime.block_on(async {
        let driver = Driver::connect(&engine.docker_socket()).await?;
        let (endpoint, socket) = (&engine.docker_host(), &engine.docker_socket().display().to_string());
        let mut ids = Vec::new();
        let mut all = Vec::new();
        for size in sizes(effort) {
            let more = stream::iter(ids.len()..size).map(|number| driver.run(real::docker_plan(number)));
            ids.extend(more.buffered(AT_ONCE).try_collect::<Vec<_>>().await?);
            let ids = &ids;
            let compared = Compared {
                watcher: Box::new(move || Box::pin(until_ready(Client::new(endpoint), size))),
                floor: Box::new(move || Box::pin(timed(ask_about_all(socket, ids)))),
                greeting: Box::new(move || Box::pin(timed(greet_and_ask_about_all(socket, ids)))),
                one_by_one: Box::new(move || Box::pin(timed(ask_one_by_one(socket, ids)))),
            };
            all.extend(figures(NAME, &format!("{size} containers"), effort, compared).await?);
            all.extend(requests(endpoint, size).await?);
        }
        Ok(all)
    })
}

/// What is asked until it is ready, as a proxy counts it.
async fn requests(endpoint: &str, containers: usize) -> Result<[Figure; 2]> {
    let proxy = Proxy::builder().upstream(endpoint).start()?;
    let watching = watch(Client::new(proxy.endpoint())?);
    watching.ready().await?;
    let stats = proxy.stats();
    watching.close().await;
    let asked = stats.requests_of("/containers/");
    let figure = |what: &str, requests: u64| {
        let what = format!("{containers} containers: {what}");
        Figure::new(NAME, what, Unit::Count, Sample::once(requests as f64))
    };
    let least = containers as f64 + 1.0;
    Ok([
        figure("lists and inspections", asked)
            .over(Sample::once(least), Sample::once(asked as f64 / least))
            .aiming_at(Aim::TimesFloor(1.0)),
        figure("other requests", stats.requests - asked),
    ])
}
