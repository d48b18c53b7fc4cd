//! How long it takes from an event of a real dockerd to a subscriber, next to a minimal reader of the event stream.
//!
//! Both are measured from the engine's own time of the event; both clocks are this machine's.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use tokio::time::timeout;
use whalewatcher_bench::figure::{Figure, Unit};
use whalewatcher_bench::floor::{Events, milliseconds};
use whalewatcher_bench::sample::{Sample, quantile};
use whalewatcher_core::{EventKind, Subscription, watch};
use whalewatcher_drivers::docker::Driver;
use whalewatcher_moby::Client;

use crate::bench::Effort;
use crate::real::{self, Driver as _};

const DOCKER: &str = "latency-docker";

/// How many containers the engine has.
const CONTAINERS: usize = 20;
/// How many of them change in each round, one after the other.
const CHANGING: usize = 5;
/// How long to wait for an event.
const EVENT_LIMIT: Duration = Duration::from_secs(10);

/// Milliseconds from each event to its arrival.
#[derive(Default)]
struct Lags {
    /// Starts, which take an inspection.
    starts: Vec<f64>,
    /// Pauses, their ends and exits, which take none.
    others: Vec<f64>,
    /// All events, as a minimal reader receives them.
    floor: Vec<f64>,
}

pub(crate) fn docker(_: &str, effort: &Effort) -> Result<Vec<Figure>> {
    real::measured(async |engine, driver: &Driver| {
        let ids = driver.populate(0..CONTAINERS).await?;
        let watching = watch(Client::new(engine.endpoint())?);
        watching.ready().await?;
        let (_, mut changes) = watching.subscribe();
        let mut events = Events::new(&engine.socket().display().to_string()).await?;
        let mut lags = Lags::default();
        for round in 0..=effort.rounds {
            if round == 1 {
                // In the first round all is cold.
                lags = Lags::default();
            }
            let mut happening = pin!(change_all(driver, &ids[..CHANGING]));
            let mut pending = CHANGING * 4;
            let mut is_over = false;
            while pending > 0 || !is_over {
                tokio::select! {
                    happened = &mut happening, if !is_over => { happened?; is_over = true; }
                    read = events.next(&mut lags.floor) => read?,
                    read = timeout(EVENT_LIMIT, next_change(&mut changes)), if pending > 0 => {
                        let (is_start, lag) = read.context("a change is not reported")??;
                        if is_start { lags.starts.push(lag) } else { lags.others.push(lag) }
                        pending -= 1;
                    }
                }
            }
        }
        watching.close().await;
        Ok(figures(lags))
    })
}

/// Lets each container change four times, each change after the former.
async fn change_all(driver: &Driver, ids: &[String]) -> Result<()> {
    for id in ids {
        driver.pause(id).await?;
        driver.unpause(id).await?;
        driver.kill(id, "KILL").await?;
        driver.until_ended(id).await?;
        driver.start(id).await?;
    }
    Ok(())
}

/// Waits for a change, and returns whether it is a start, and the milliseconds since the event.
async fn next_change(changes: &mut Subscription) -> Result<(bool, f64)> {
    loop {
        let event = changes.next().await.context("the subscription ended")?;
        let lag = milliseconds(event.time, SystemTime::now());
        match event.kind {
            EventKind::Started(_) => return Ok((true, lag)),
            EventKind::Exited { .. } | EventKind::Paused(_) | EventKind::Unpaused(_) => {
                return Ok((false, lag));
            }
            _ => {}
        }
    }
}

fn figures(lags: Lags) -> Vec<Figure> {
    let groups = [
        ("starts, to a subscriber", lags.starts),
        ("pauses and exits, to a subscriber", lags.others),
        ("all events, to a minimal reader", lags.floor),
    ];
    let of_group = |(what, mut all): (&str, Vec<f64>)| {
        all.sort_by(f64::total_cmp);
        let p99 = quantile(&all, 0.99);
        [
            Figure::new(DOCKER, format!("{what}: median"), Unit::Milliseconds, Sample::of(all)),
            Figure::new(DOCKER, format!("{what}: 99 of 100"), Unit::Milliseconds, Sample::once(p99)),
        ]
    };
    groups.into_iter().flat_map(of_group).collect()
}
