//! The engine's process: the test kit's Docker engine, full of containers, and its orders on the input, a
//! line of JSON each.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::time::{MissedTickBehavior, interval};
use whalewatcher_bench::population;
use whalewatcher_bench::requests::Requests;
use whalewatcher_testkit::docker::{ContainerSpec, Server};

/// How many containers change in the same way, one after the other, before they change in the next way. So none changes
/// again before its last change could be inspected.
const WINDOW: usize = 500;
/// How often it is looked how many transitions are due.
const TICK: Duration = Duration::from_millis(1);

pub(crate) async fn serve(containers: usize) -> Result<()> {
    let docker = Server::builder().start()?;
    let mut ids = Vec::with_capacity(containers);
    for number in 0..containers {
        let (network, address) = population::network(number);
        let (private, public) = population::port(number);
        let spec = ContainerSpec::new(population::name(number))
            .image(population::image(number))
            .labels(population::labels(number))
            .network(network, address)
            .port(private, public);
        ids.push(docker.run(spec)?);
    }
    println!("{}", serde_json::to_string(&(docker.socket().display().to_string(), &ids))?);
    let mut orders = BufReader::new(stdin()).lines();
    let mut turn = 0;
    while let Some(line) = orders.next_line().await? {
        let (rate, seconds) = serde_json::from_str(&line).context("that is no order")?;
        let (transitions, seconds) = churn(&docker, &ids, &mut turn, rate, seconds).await?;
        let requests = docker.stats().requests;
        let others = requests.total() - requests.list - requests.inspect - requests.events;
        let (lists, inspections, streams) = (requests.list, requests.inspect, requests.events);
        let requests = Requests { lists, inspections, streams, others };
        let reply = Reply { transitions, seconds, requests, skipped: docker.skipped() };
        println!("{}", serde_json::to_string(&reply)?);
    }
    Ok(())
}

/// The reply to an order: so many transitions a second, for so many seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// All transitions of this order, of which every fourth began a life.
    pub(crate) transitions: u64,
    /// How long they took.
    pub(crate) seconds: f64,
    /// All requests so far.
    pub(crate) requests: Requests,
    /// Events so far that were not delivered, for their stream was not read soon enough.
    pub(crate) skipped: u64,
}

/// Lets all planned transitions happen, each when it is due or, on a busy machine, later.
async fn churn(
    docker: &Server,
    ids: &[String],
    turn: &mut usize,
    rate: u32,
    seconds: u32,
) -> Result<(u64, f64)> {
    let window = WINDOW.min(ids.len());
    // Whole windows of four changes: at the end no container is paused or gone.
    let cycle = 4 * window;
    let planned = (rate as usize * seconds as usize).div_ceil(cycle) * cycle;
    let begin = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut done = 0;
    while done < planned {
        ticks.tick().await;
        let due = (begin.elapsed().as_secs_f64() * f64::from(rate)) as usize;
        while done < due.min(planned) {
            let id = &ids[(*turn * window + done % window) % ids.len()];
            match done % cycle / window {
                0 => docker.pause(id)?,
                1 => docker.unpause(id)?,
                2 => docker.exit(id, 0)?,
                _ => docker.start(id)?,
            }
            done += 1;
            if done % cycle == 0 {
                *turn += 1;
            }
        }
    }
    Ok((planned as u64, begin.elapsed().as_secs_f64()))
}
