//! Watches the engine, and measures what that takes.

use std::env;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use tokio::time::timeout;
use whalewatcher_bench::report::{Churn, Lag, Report, Requests};
use whalewatcher_bench::sample::{Sample, quantile};
use whalewatcher_bench::served::{Happened, Served};
use whalewatcher_core::{Subscription, WatchHandle, watch as start_watching};
use whalewatcher_moby::Client;

use crate::allocated;
use whalewatcher_bench::floor::{Events, ask_about_all, milliseconds};

/// How long to wait for the next change.
const CHANGE_LIMIT: Duration = Duration::from_secs(10);
/// For how many seconds there are transitions that do not count.
const WARM_UP: u32 = 4;

pub(crate) async fn watch(containers: usize, rounds: usize, rate: u32, seconds: u32) -> Result<Report> {
    let program = env::current_exe().context("cannot report where this program is")?;
    let mut engine = Served::start(&program, containers).await?;
    let mut ready = Vec::new();
    // In the first round all is cold; which of the two comes first changes each time.
    for round in 0..=rounds {
        let pair = if round % 2 == 0 {
            let measured = seconds_until_ready(&engine).await?;
            (measured, seconds_of_floor(&engine).await?)
        } else {
            let floor = seconds_of_floor(&engine).await?;
            (seconds_until_ready(&engine).await?, floor)
        };
        if round > 0 {
            ready.push(pair);
        }
    }
    let lag_floor = read_events(&mut engine, rate, seconds.div_ceil(2)).await?;

    // Whatever is needed to measure, before memory is.
    let mut lags = Vec::with_capacity(rate as usize * seconds.max(WARM_UP) as usize * 2);
    let before = allocated();
    let requests = engine.count().await?.requests;
    let watching = watch_until_ready(&engine.socket).await?;
    let bytes = allocated() - before;
    let requests = engine.count().await?.requests.since(&requests);
    // What is remembered of lives that are over is bounded, and there from the beginning on then.
    churn(&mut engine, &watching, rate, WARM_UP, &mut lags).await?;
    lags.clear();
    let bytes_before = allocated() - before;
    let (happened, since, skipped) = churn(&mut engine, &watching, rate, seconds, &mut lags).await?;
    let counters = watching.status().counters;
    let churn = Churn {
        transitions: happened.transitions,
        seconds: happened.seconds,
        starts: happened.starts,
        reported: lags.len() as u64,
        lag_floor,
        bytes: (bytes_before, allocated() - before),
        requests: since,
        lagged: counters.lagged,
        drifted: counters.drifted,
        skipped,
        lag: lag(lags)?,
    };
    watching.close().await;
    Ok(Report { containers, ready, bytes, requests, churn })
}

async fn seconds_until_ready(engine: &Served) -> Result<f64> {
    let begin = Instant::now();
    let watching = watch_until_ready(&engine.socket).await?;
    let measured = begin.elapsed().as_secs_f64();
    watching.close().await;
    Ok(measured)
}

/// What a minimal client takes for the same requests.
async fn seconds_of_floor(engine: &Served) -> Result<f64> {
    let begin = Instant::now();
    ask_about_all(&engine.socket, &engine.ids).await?;
    Ok(begin.elapsed().as_secs_f64())
}

async fn watch_until_ready(socket: &str) -> Result<WatchHandle<Client>> {
    let client = Client::builder().endpoint(format!("unix://{socket}")).build()?;
    let watching = start_watching(client);
    watching.ready().await?;
    Ok(watching)
}

async fn churn(
    engine: &mut Served,
    watching: &WatchHandle<Client>,
    rate: u32,
    seconds: u32,
    lags: &mut Vec<f64>,
) -> Result<(Happened, Requests, u64)> {
    let before = engine.count().await?;
    let (_, mut changes) = watching.subscribe();
    let happened = {
        let mut happening = pin!(engine.churn(rate, seconds));
        loop {
            tokio::select! {
                happened = &mut happening => break happened?,
                read = read_change(&mut changes, lags) => read?,
            }
        }
    };
    // Changes that do not arrive in time show in the report as missing.
    while (lags.len() as u64) < happened.transitions {
        match timeout(CHANGE_LIMIT, read_change(&mut changes, lags)).await {
            Ok(read) => read?,
            Err(_) => break,
        }
    }
    let after = engine.count().await?;
    Ok((happened, after.requests.since(&before.requests), after.skipped - before.skipped))
}

/// Waits for a change of a container, and notes how long ago it happened.
async fn read_change(changes: &mut Subscription, lags: &mut Vec<f64>) -> Result<()> {
    let event = changes.next().await.context("the subscription ended")?;
    if event.container().is_some() {
        lags.push(milliseconds(event.time, SystemTime::now()));
    }
    Ok(())
}

/// Measures the lag of a reader of the event stream that does nothing else.
async fn read_events(engine: &mut Served, rate: u32, seconds: u32) -> Result<Lag> {
    let mut events = Events::new(&engine.socket).await?;
    let mut lags = Vec::new();
    let mut happening = pin!(engine.churn(rate, seconds));
    loop {
        tokio::select! {
            happened = &mut happening => break happened.map(drop)?,
            read = events.next(&mut lags) => read?,
        }
    }
    lag(lags)
}

fn lag(mut lags: Vec<f64>) -> Result<Lag> {
    ensure!(!lags.is_empty(), "nothing was reported");
    lags.sort_by(f64::total_cmp);
    let p99 = quantile(&lags, 0.99);
    Ok(Lag { middle: Sample::of(lags), p99 })
}
