//! The engine's process: the test kit's Docker engine, full of containers, and its orders on the input, a line each.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::time::{MissedTickBehavior, interval};
use whalewatcher_bench::population;
use whalewatcher_bench::report::Requests;
use whalewatcher_bench::served::{Order, Reply};
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
        let spec = ContainerSpec::new(population::name(number))
            .image("registry.example.org/shop/service:1.42.0")
            .labels(population::labels(number));
        ids.push(docker.run(spec)?);
    }
    reply(&Reply::Serving { socket: docker.socket().display().to_string(), ids: ids.clone() })?;
    let mut orders = BufReader::new(stdin()).lines();
    let mut turn = 0;
    while let Some(line) = orders.next_line().await? {
        reply(&match serde_json::from_str(&line).context("that is no order")? {
            Order::Count => {
                let requests = docker.stats().requests;
                let requests = Requests {
                    lists: requests.list,
                    inspections: requests.inspect,
                    streams: requests.events,
                    others: requests.total() - requests.list - requests.inspect - requests.events,
                };
                Reply::Counted { requests, skipped: docker.skipped() }
            }
            Order::Churn { rate, seconds } => churn(&docker, &ids, &mut turn, rate, seconds).await?,
        })?;
    }
    Ok(())
}

fn reply(reply: &Reply) -> Result<()> {
    println!("{}", serde_json::to_string(reply)?);
    Ok(())
}

/// Lets all planned transitions happen, each when it is due or, on a busy machine, later.
async fn churn(docker: &Server, ids: &[String], turn: &mut usize, rate: u32, seconds: u32) -> Result<Reply> {
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
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Reply::Churned { transitions: planned as u64, starts: planned as u64 / 4, seconds })
}
