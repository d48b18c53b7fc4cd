//! How long it takes until all containers of a real engine are known.

use std::time::Instant;

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::runtime::Runtime;
use whalewatcher_bench::floor::ask_about_all;
use whalewatcher_core::watch;
use whalewatcher_drivers::docker::{AT_ONCE, Driver};
use whalewatcher_moby::Client;

use crate::bench::Effort;
use crate::figure::{Aim, Figure, Unit};
use crate::real;
use crate::rounds::of_pairs;

const DOCKER: &str = "ready-docker";

/// How many containers; the last only if all is to be large.
const SIZES: [usize; 4] = [20, 100, 200, 400];

pub(crate) fn docker(effort: &Effort) -> Result<Vec<Figure>> {
    let engine = real::docker()?;
    let runtime = Runtime::new().context("no runtime")?;
    runtime.block_on(async {
        let driver = Driver::connect(&engine.docker_socket()).await?;
        let endpoint = engine.docker_host();
        let socket = engine.docker_socket().display().to_string();
        let mut ids = Vec::new();
        let mut figures = Vec::new();
        for size in SIZES.into_iter().take(if effort.large { 4 } else { 3 }) {
            let more = stream::iter(ids.len()..size).map(|number| driver.run(real::docker_plan(number)));
            ids.extend(more.buffered(AT_ONCE).try_collect::<Vec<_>>().await?);
            let mut pairs = Vec::new();
            for round in 0..=effort.rounds {
                let measured = async || {
                    let begin = Instant::now();
                    let watching = watch(Client::new(&endpoint)?);
                    watching.ready().await?;
                    anyhow::Ok(begin.elapsed().as_secs_f64() * 1e3)
                };
                let floor = async || {
                    let begin = Instant::now();
                    ask_about_all(&socket, &ids).await?;
                    anyhow::Ok(begin.elapsed().as_secs_f64() * 1e3)
                };
                let pair = match round % 2 {
                    0 => (measured().await?, floor().await?),
                    _ => {
                        let floor = floor().await?;
                        (measured().await?, floor)
                    }
                };
                pairs.push(pair);
            }
            let pair = of_pairs(&pairs[1..]);
            figures.push(
                Figure::new(DOCKER, format!("{size} containers"), Unit::Milliseconds, pair.measured)
                    .over(pair.floor, pair.ratio)
                    .aiming_at(Aim::TimesFloor(1.3)),
            );
        }
        Ok(figures)
    })
}
