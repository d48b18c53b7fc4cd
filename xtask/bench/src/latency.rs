//! How long it takes from an engine's event on the wire to the change in the portfolio and in a subscriber's hands.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio::runtime::{Builder, Runtime};
use whalewatcher_bench::floor::{Change, Kind};
use whalewatcher_bench::sample::{Sample, quantile};
use whalewatcher_bench::served::Served;
use whalewatcher_drivers::docker::Driver;

use crate::bench::Effort;
use crate::figure::{Aim, Figure, Unit};
use crate::observer::{Observer, Seen};
use crate::real;
use crate::rounds::of_pairs;
use crate::tap::Arrivals;

const DOCKER: &str = "latency-docker";

/// How many containers the engine has.
const CONTAINERS: usize = 20;
/// How many of them change at rest, one after the other.
const CHANGING: usize = 5;
/// Transitions a second.
const RATE: u32 = 200;
/// How many containers the engine has that manages these.
const MANY: usize = 100;
/// For how many seconds there are transitions in each round.
const SECONDS: u32 = 2;

/// The changes of a round, in milliseconds.
#[derive(Default)]
struct Latencies {
    /// Those that take an inspection.
    starts: Steps,
    /// Those that take none.
    others: Steps,
}

#[derive(Default)]
struct Steps {
    to_portfolio: Vec<f64>,
    to_hands: Vec<f64>,
}

impl Latencies {
    /// Of changes none of which was told a second time before it was seen.
    fn of(seen: &[Seen], arrivals: &Arrivals) -> Result<Self> {
        let mut latencies = Self::default();
        for Seen { change, in_portfolio, in_hands } in seen {
            let before = arrivals.get(change).into_iter().flatten().filter(|at| *at <= in_portfolio);
            let arrived = before.max().with_context(|| format!("the engine did not report of {change:?}"))?;
            let steps = match change.kind {
                Kind::Started => &mut latencies.starts,
                _ => &mut latencies.others,
            };
            let since = |at: &Instant| at.duration_since(*arrived).as_secs_f64() * 1e3;
            steps.to_portfolio.push(since(in_portfolio));
            steps.to_hands.push(since(in_hands));
        }
        Ok(latencies)
    }
}

/// All rounds: of the subscriber, and of the minimal reader.
type Rounds = Vec<(Latencies, Latencies)>;

pub(crate) fn docker(effort: &Effort) -> Result<Vec<Figure>> {
    // What is measured has threads of its own, as many as it likes.
    let workers = Runtime::new().context("no runtime")?;
    let conductor = Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let engine = real::docker()?;
    let at_rest = conductor.block_on(async {
        let driver = Driver::connect(&engine.docker_socket()).await?;
        let ids = driver.run_all((0..CONTAINERS).map(real::docker_plan)).await?;
        let changing = &ids[..CHANGING];
        let happening = async |observer: &mut Observer| one_by_one(&driver, changing, observer).await;
        rounds(effort, &workers, &engine.docker_socket(), happening).await
    })?;
    drop(engine);
    let busy = conductor.block_on(async {
        let program = env::current_exe().context("cannot report where this program is")?;
        let mut engine = Served::start(&program.with_file_name("whalewatcher-bench-scale"), MANY).await?;
        let socket = PathBuf::from(&engine.socket);
        let happening = async |observer: &mut Observer| churn(&mut engine, observer).await;
        rounds(effort, &workers, &socket, happening).await
    })?;
    let mut figures = figures(DOCKER, "at rest", &at_rest);
    figures.extend(self::figures(DOCKER, &format!("{RATE} transitions/s"), &busy));
    Ok(figures)
}

/// Lets it happen in turn before a subscriber and before a minimal reader.
async fn rounds(
    effort: &Effort,
    workers: &Runtime,
    socket: &Path,
    mut happening: impl AsyncFnMut(&mut Observer) -> Result<Vec<Seen>>,
) -> Result<Rounds> {
    let mut rounds = Vec::new();
    for round in 0..=effort.rounds {
        let mut observed = async |minimal: bool| {
            let socket = socket.to_owned();
            let beginning = workers.spawn(async move {
                match minimal {
                    true => Observer::minimal(&socket).await,
                    false => Observer::subscriber(&socket).await,
                }
            });
            let mut observer = beginning.await.context("the observer panicked")??;
            let seen = happening(&mut observer).await?;
            Latencies::of(&seen, &observer.arrivals())
        };
        let pair = match round % 2 {
            0 => (observed(false).await?, observed(true).await?),
            _ => {
                let floor = observed(true).await?;
                (observed(false).await?, floor)
            }
        };
        rounds.push(pair);
    }
    // In the first round all is cold.
    rounds.remove(0);
    Ok(rounds)
}

/// One transition, then the next when the last one is done and was seen.
async fn one_by_one(driver: &Driver, ids: &[String], observer: &mut Observer) -> Result<Vec<Seen>> {
    let mut all = Vec::new();
    for id in ids {
        for kind in [Kind::Paused, Kind::Unpaused, Kind::Exited, Kind::Started] {
            match kind {
                Kind::Paused => driver.pause(id).await?,
                Kind::Unpaused => driver.unpause(id).await?,
                Kind::Exited => driver.kill(id, "KILL").await?,
                Kind::Started => driver.start(id).await?,
            }
            let expected = Change { id: id.clone(), kind };
            // A busy dockerd can hear late from containerd of a pause that is over: it tells of one more, and of its end.
            let seen = loop {
                let seen = observer.next().await?;
                if seen.change == expected {
                    break seen;
                }
            };
            all.push(seen);
        }
    }
    Ok(all)
}

/// As many transitions as there are to be.
async fn churn(engine: &mut Served, observer: &mut Observer) -> Result<Vec<Seen>> {
    let happened = engine.churn(RATE, SECONDS).await?;
    let mut all = Vec::new();
    while (all.len() as u64) < happened.transitions {
        all.push(observer.next().await?);
    }
    Ok(all)
}

type Field<Of, What> = fn(&Of) -> &What;

fn figures(bench: &'static str, when: &str, rounds: &Rounds) -> Vec<Figure> {
    let groups: [(&str, Field<Latencies, Steps>); 2] =
        [("starts", |latencies| &latencies.starts), ("pauses and ends", |latencies| &latencies.others)];
    let places: [(&str, Field<Steps, Vec<f64>>); 2] =
        [("the portfolio", |steps| &steps.to_portfolio), ("a subscriber's hands", |steps| &steps.to_hands)];
    let mut figures = Vec::new();
    for (group, steps) in groups {
        for (place, taken) in places {
            let both = rounds.iter().map(|(measured, floor)| [taken(steps(measured)), taken(steps(floor))]);
            let both: Vec<_> = both.collect();
            let what = |part: &str| format!("{when}: {group}, to {place}, {part}");
            let halves: Vec<_> = both
                .iter()
                .map(|[measured, floor]| (quantile_of(measured, 0.5), quantile_of(floor, 0.5)))
                .collect();
            let half = of_pairs(&halves);
            // A round has too few for its own.
            let [measured, floor] = [0, 1].map(|which| {
                let all: Vec<_> = both.iter().flat_map(|pair| pair[which]).copied().collect();
                quantile_of(&all, 0.99)
            });
            figures.extend([
                Figure::new(bench, what("half of them"), Unit::Milliseconds, half.measured)
                    .over(half.floor, half.ratio)
                    .aiming_at(Aim::TimesFloor(1.2)),
                Figure::new(bench, what("99 of 100"), Unit::Milliseconds, Sample::once(measured))
                    .over(Sample::once(floor), Sample::once(measured / floor))
                    .aiming_at(Aim::TimesFloor(2.0)),
            ]);
        }
    }
    figures
}

fn quantile_of(all: &[f64], part: f64) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, part)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_change_counts_from_its_own_arrival() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let change = |kind| Change { id: "a".to_owned(), kind };
        let arrivals = Arrivals::from([
            (change(Kind::Started), vec![at(0), at(100)]),
            (change(Kind::Exited), vec![at(50)]),
        ]);
        let seen = |kind, in_portfolio, in_hands| Seen {
            change: change(kind),
            in_portfolio: at(in_portfolio),
            in_hands: at(in_hands),
        };
        let mut all =
            vec![seen(Kind::Started, 1, 2), seen(Kind::Exited, 53, 54), seen(Kind::Started, 105, 106)];
        let latencies = Latencies::of(&all, &arrivals).unwrap();
        assert_eq!(latencies.starts.to_portfolio, [1.0, 5.0]);
        assert_eq!(latencies.starts.to_hands, [2.0, 6.0]);
        assert_eq!(latencies.others.to_portfolio, [3.0]);
        assert_eq!(latencies.others.to_hands, [4.0]);

        all.push(seen(Kind::Paused, 107, 108));
        assert!(Latencies::of(&all, &arrivals).is_err(), "one was not reported");
        all.pop();
        all.push(seen(Kind::Exited, 49, 60));
        assert!(Latencies::of(&all, &arrivals).is_err(), "one was seen before it was reported");
    }
}
