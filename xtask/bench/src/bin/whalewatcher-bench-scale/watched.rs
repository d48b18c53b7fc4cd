//! Watches the engine, and measures what that takes.

use std::env;
use std::pin::pin;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use whalewatcher_bench::figure::{Aim, Figure, Unit};
use whalewatcher_bench::floor::{Events, ask_about_all, milliseconds};
use whalewatcher_bench::rounds::{each_in_turn, of_pairs};
use whalewatcher_bench::sample::{Sample, quantile};
use whalewatcher_core::{Subscription, WatchHandle, watch as start_watching};
use whalewatcher_moby::Client;

use crate::allocated;
use crate::server::Reply;

const NAME: &str = "scale";
/// Transitions a second.
const RATE: u32 = 2000;
/// How long to wait for the next change.
const CHANGE_LIMIT: Duration = Duration::from_secs(10);
/// For how many seconds there are transitions that do not count.
const WARM_UP: u32 = 4;

/// An engine in a process of its own, which ends with this.
struct Served {
    socket: String,
    ids: Vec<String>,
    orders: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Served {
    async fn start(containers: usize) -> Result<Self> {
        let mut command = Command::new(env::current_exe().context("cannot report where this program is")?);
        command.args(["serve", &containers.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("cannot start the engine")?;
        let orders = process.stdin.take().context("it has an input")?;
        let output = process.stdout.take().context("it has an output")?;
        let mut replies = BufReader::new(output).lines();
        let first = replies.next_line().await?.context("the engine has ended")?;
        let (socket, ids) = serde_json::from_str(&first).context("the engine does not say where it is")?;
        Ok(Self { socket, ids, orders, replies, _process: process })
    }

    /// Lets transitions happen for so many seconds, and returns when they have.
    async fn churn(&mut self, seconds: u32) -> Result<Reply> {
        let order = format!("[{RATE},{seconds}]\n");
        self.orders.write_all(order.as_bytes()).await.context("the engine has ended")?;
        let reply = self.replies.next_line().await?.context("the engine has ended")?;
        serde_json::from_str(&reply).context("the engine's reply cannot be understood")
    }

    /// What was counted so far.
    async fn count(&mut self) -> Result<Reply> {
        self.churn(0).await
    }

    async fn watch_until_ready(&self) -> Result<WatchHandle<Client>> {
        let client = Client::builder().endpoint(format!("unix://{}", self.socket)).build()?;
        let watching = start_watching(client);
        watching.ready().await?;
        Ok(watching)
    }
}

pub(crate) async fn watch(containers: usize, rounds: usize, seconds: u32) -> Result<Vec<Figure>> {
    let mut engine = Served::start(containers).await?;
    let until_ready = async || {
        let begin = Instant::now();
        let watching = engine.watch_until_ready().await?;
        let measured = begin.elapsed().as_secs_f64();
        watching.close().await;
        Ok(measured)
    };
    // What a minimal client takes for the same requests.
    let floor = async || {
        let begin = Instant::now();
        ask_about_all(&engine.socket, &engine.ids).await?;
        Ok(begin.elapsed().as_secs_f64())
    };
    let ready = of_pairs(&each_in_turn(rounds, until_ready, floor).await?);
    let (floor_median, floor_p99) = lag(read_events(&mut engine, seconds.div_ceil(2)).await?)?;

    // Whatever is needed to measure, before memory is.
    let mut lags = Vec::with_capacity(RATE as usize * seconds.max(WARM_UP) as usize * 2);
    let before = allocated();
    let requests = engine.count().await?.requests;
    let watching = engine.watch_until_ready().await?;
    let bytes = allocated() - before;
    let requests = engine.count().await?.requests.since(&requests);
    // What is remembered of lives that are over is bounded, and there from the beginning on then.
    churn(&mut engine, &watching, WARM_UP, &mut lags).await?;
    lags.clear();
    let bytes_before = allocated() - before;
    let start = engine.count().await?;
    let happened = churn(&mut engine, &watching, seconds, &mut lags).await?;
    let end = engine.count().await?;
    let counters = watching.status().counters;
    let growth = (allocated() - before) / bytes_before;
    watching.close().await;

    let number = containers as f64;
    let figure = |what: &str, unit, measured| {
        Figure::new(NAME, format!("{containers} containers: {what}"), unit, measured)
    };
    let once = |what: &str, unit, value| figure(what, unit, Sample::once(value));
    let count = |what: &str, count: u64| once(what, Unit::Count, count as f64);
    let over = |figure: Figure, measured: f64, floor: f64| {
        figure.over(Sample::once(floor), Sample::once(measured / floor))
    };
    let asked = requests.lists + requests.inspections;
    let mut figures = vec![
        figure("time to ready", Unit::Seconds, ready.measured).over(ready.floor, ready.ratio),
        over(count("lists and inspections until then", asked), asked as f64, number + 1.0)
            .aiming_at(Aim::TimesFloor(1.0)),
        count("other requests until then", requests.streams + requests.others),
        once("allocated, a container", Unit::Bytes, bytes / number).aiming_at(Aim::AtMost(2000.0)),
    ];
    let after = format!("{containers} containers, {RATE} transitions/s for {:.0} s", happened.seconds);
    let figure = |what: &str, unit, measured| Figure::new(NAME, format!("{after}: {what}"), unit, measured);
    let once = |what: &str, unit, value| figure(what, unit, Sample::once(value));
    let count = |what: &str, count: u64| once(what, Unit::Count, count as f64);
    let transitions = happened.transitions as f64;
    let requests = end.requests.since(&start.requests);
    let (inspections, lives) = (requests.inspections, happened.transitions / 4);
    let reported = lags.len() as f64;
    let (median, p99) = lag(lags)?;
    figures.extend([
        once("transitions that the engine managed", Unit::PerSecond, transitions / happened.seconds),
        once("changes reported by transitions", Unit::Count, reported / transitions),
        over(figure("lag, half of them", Unit::Milliseconds, median), median.median, floor_median.median),
        over(once("lag, 99 of 100", Unit::Milliseconds, p99), p99, floor_p99),
        over(count("inspections", inspections), inspections as f64, lives as f64)
            .aiming_at(Aim::TimesFloor(1.0)),
        count("other requests", requests.lists + requests.streams + requests.others),
        count("times that a subscriber lagged", counters.lagged).aiming_at(Aim::AtMost(0.0)),
        count("events that the engine did not deliver", end.skipped - start.skipped)
            .aiming_at(Aim::AtMost(0.0)),
        once("allocated at the end by allocated at the beginning", Unit::Count, growth)
            .aiming_at(Aim::AtMost(1.01)),
    ]);
    Ok(figures)
}

/// Lets transitions happen, and notes how long it took from each to the subscriber's hands.
async fn churn(
    engine: &mut Served,
    watching: &WatchHandle<Client>,
    seconds: u32,
    lags: &mut Vec<f64>,
) -> Result<Reply> {
    let (_, mut changes) = watching.subscribe();
    let happened = {
        let mut happening = pin!(engine.churn(seconds));
        loop {
            tokio::select! {
                happened = &mut happening => break happened?,
                read = read_change(&mut changes, lags) => read?,
            }
        }
    };
    // Changes that do not arrive in time show in the figures as missing.
    while (lags.len() as u64) < happened.transitions {
        match timeout(CHANGE_LIMIT, read_change(&mut changes, lags)).await {
            Ok(read) => read?,
            Err(_) => break,
        }
    }
    Ok(happened)
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
async fn read_events(engine: &mut Served, seconds: u32) -> Result<Vec<f64>> {
    let mut events = Events::new(&engine.socket).await?;
    let mut lags = Vec::new();
    let mut happening = pin!(engine.churn(seconds));
    loop {
        tokio::select! {
            happened = &mut happening => break happened.map(drop)?,
            read = events.next(&mut lags) => read?,
        }
    }
    Ok(lags)
}

/// What half of them are below, with the quartiles, and what 99 of 100 are below.
fn lag(mut lags: Vec<f64>) -> Result<(Sample, f64)> {
    ensure!(!lags.is_empty(), "nothing was reported");
    lags.sort_by(f64::total_cmp);
    let p99 = quantile(&lags, 0.99);
    Ok((Sample::of(lags), p99))
}
