//! How long it takes until all containers of a real engine are known.

mod containerd;
mod cri;
mod docker;

use std::future::Future;
use std::time::Instant;

use anyhow::{Result, ensure};
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{EngineError, watch};

use crate::bench::Effort;
use crate::figure::{Aim, Figure, Unit};
use crate::rounds::{Measure, each_in_turn, of_columns};

pub(crate) use self::containerd::run as containerd;
pub(crate) use self::cri::run as cri;
pub(crate) use self::docker::run as docker;

/// How many containers; the last only if all is to be large.
const SIZES: [usize; 4] = [20, 100, 200, 400];

/// How many requests of a kind are under way at once: as many as the watcher has inspections.
const AT_ONCE: usize = 16;

/// What is compared, each a connection's whole life.
struct Compared<'a> {
    /// The watcher, until it is ready.
    watcher: Measure<'a>,
    /// A minimal client that asks the same of what is alive, and throws the answers away.
    floor: Measure<'a>,
    /// The same, after getting acquainted and subscribing.
    greeting: Measure<'a>,
    /// A client that asks one thing after the other.
    one_by_one: Measure<'a>,
}

fn sizes(effort: &Effort) -> impl Iterator<Item = usize> {
    SIZES.into_iter().take(if effort.large { 4 } else { 3 })
}

async fn figures(
    bench: &'static str,
    of: &str,
    effort: &Effort,
    compared: Compared<'_>,
) -> Result<Vec<Figure>> {
    let Compared { watcher, floor, greeting, one_by_one } = compared;
    let measured = each_in_turn(effort.rounds, [watcher, floor, greeting, one_by_one]).await?;
    let [watcher, floor, greeting, one_by_one] = measured;
    let over = |what: &str, floor: &[f64]| {
        let pair = of_columns(&watcher, floor);
        Figure::new(bench, format!("{of}{what}"), Unit::Milliseconds, pair.measured)
            .over(pair.floor, pair.ratio)
    };
    Ok(vec![
        over("", &floor).aiming_at(Aim::TimesFloor(1.3)),
        over("; floor: getting acquainted too", &greeting).aiming_at(Aim::TimesFloor(1.3)),
        over("; floor: one after another", &one_by_one),
    ])
}

/// How many milliseconds it takes a watcher to know so many.
async fn until_ready<C: EngineClient + 'static>(
    client: Result<C, EngineError>,
    containers: usize,
) -> Result<f64> {
    let begin = Instant::now();
    let watching = watch(client?);
    watching.ready().await?;
    let took = milliseconds(begin);
    let known = watching.portfolio().total();
    watching.close().await;
    ensure!(known == containers, "of {containers} containers {known} are known");
    Ok(took)
}

/// How many milliseconds that takes.
async fn timed(work: impl Future<Output = Result<()>>) -> Result<f64> {
    let begin = Instant::now();
    work.await?;
    Ok(milliseconds(begin))
}

fn milliseconds(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}
