//! What reading costs: lookups in a snapshot, taking a snapshot and iterating, next to the same in a
//! `HashMap` that is not shared; then for two threads while the portfolio changes, next to the same while it
//! does not.
//!
//! Measured is the CPU time of the threads, so that other processes do not count. Changes by a third thread
//! show all the same, through the caches.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use whalewatcher_bench::cost::nanoseconds_each;
use whalewatcher_bench::figure::{Aim, Figure, Unit};
use whalewatcher_bench::population;
use whalewatcher_bench::rounds::{Pair, in_turn};
use whalewatcher_core::{Container, Portfolio, Watcher};

use crate::bench::Effort;
use crate::engine::World;

const NAME: &str = "reading";
const SIZES: [usize; 3] = [100, 10_000, 100_000];
/// How many lookups are one measurement.
const LOOKUPS: usize = 200_000;
/// How many containers are walked through in one measurement, at least.
const WALKED: usize = 500_000;
/// How many changes there are a second, while there are changes.
const CHANGES: u32 = 1000;
const READERS: usize = 2;

pub(crate) fn run(_: &str, effort: &Effort) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for size in SIZES {
        figures.extend(alone(size, effort.rounds)?);
    }
    for size in SIZES {
        figures.extend(amid_changes(size, effort.rounds)?);
    }
    Ok(figures)
}

/// The numbers of containers in a random order, as often as it takes.
fn order(size: usize) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..LOOKUPS.min(size * 100)).map(|_| random.usize(..size)).collect()
}

fn alone(size: usize, rounds: usize) -> Result<Vec<Figure>> {
    let world = World::new(size, 0)?;
    let watching = world.watching();
    let held = watching.portfolio();
    let by_id: HashMap<String, Arc<Container>> =
        held.containers().map(|container| (container.id().to_string(), container.clone())).collect();
    let by_name: HashMap<String, Arc<Container>> =
        held.containers().map(|container| (container.name().to_owned(), container.clone())).collect();
    let ids: Vec<_> = order(size).into_iter().map(population::id).collect();
    let names: Vec<_> = order(size).into_iter().map(population::name).collect();
    let figure = |what: &str, pair: Pair| {
        Figure::new(NAME, format!("{what}, {size} containers"), Unit::Nanoseconds, pair.measured)
            .over(pair.floor, pair.ratio)
    };

    let id = in_turn(rounds, || of_each(&ids, |id| held.by_id(id)), || of_each(&ids, |id| by_id.get(id)));
    let name = in_turn(
        rounds,
        || of_each(&names, |name| held.by_name(name)),
        || of_each(&names, |name| by_name.get(name)),
    );
    let snapshot =
        in_turn(rounds, || of_each(&ids, |_| watching.portfolio()), || of_each(&ids, |_| held.clone()));
    let times = WALKED.div_ceil(size);
    let walk = in_turn(
        rounds,
        || nanoseconds_each(times * size, || (0..times).for_each(|_| walk(held.containers()))),
        || nanoseconds_each(times * size, || (0..times).for_each(|_| walk(by_id.values()))),
    );
    Ok(vec![
        figure("lookup by ID in a held snapshot", id).aiming_at(Aim::TimesFloor(2.0)),
        figure("lookup by name in a held snapshot", name).aiming_at(Aim::TimesFloor(2.0)),
        figure("taking a snapshot (floor: cloning one)", snapshot).aiming_at(Aim::AtMost(50.0)),
        figure("walking through all, each", walk),
    ])
}

fn of_each<T>(keys: &[String], look: impl Fn(&str) -> T) -> f64 {
    nanoseconds_each(LOOKUPS, || {
        keys.iter().cycle().take(LOOKUPS).for_each(|key| {
            black_box(look(key));
        });
    })
}

fn walk<'a>(containers: impl Iterator<Item = &'a Arc<Container>>) {
    black_box(containers.map(|container| u64::from(container.pid())).sum::<u64>());
}

/// A thread in which the portfolio changes on demand.
struct Writer {
    busy: Arc<AtomicBool>,
    stop: Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl Writer {
    fn start(mut world: World) -> Result<Self> {
        let (stop, stopped) = channel::<()>();
        let busy = Arc::new(AtomicBool::new(false));
        let writing = {
            let busy = busy.clone();
            move || {
                let mut next = Instant::now();
                // Nothing is sent on this channel: waiting for its end is the clock.
                while stopped.recv_timeout(next.saturating_duration_since(Instant::now()))
                    == Err(RecvTimeoutError::Timeout)
                {
                    next += Duration::from_secs(1) / CHANGES;
                    if busy.load(Ordering::Relaxed) {
                        let volley = world.pauses(1);
                        world.play(vec![volley])?;
                    }
                }
                Ok(())
            }
        };
        let thread = thread::Builder::new().name("writer".to_owned()).spawn(writing).context("no thread")?;
        Ok(Self { busy, stop, thread })
    }

    fn end(self) -> Result<()> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("the writer panicked"))?
    }
}

fn amid_changes(size: usize, rounds: usize) -> Result<Vec<Figure>> {
    let world = World::new(size, 1)?;
    let watcher: Arc<dyn Watcher> = world.watching().watcher().clone();
    let writer = Writer::start(world)?;
    let ids: Vec<_> = order(size).into_iter().map(population::id).collect();
    let names: Vec<_> = order(size).into_iter().map(population::name).collect();
    let picture = || watcher.portfolio();
    let mut figures = Vec::new();
    let mut compare = |what: &str, each: &(dyn Fn() -> f64 + Sync)| {
        let with = |changes: bool| {
            writer.busy.store(changes, Ordering::Relaxed);
            from_readers(each)
        };
        let pair = in_turn(rounds, || with(true), || with(false));
        let what = format!("{what}, {size} containers, {READERS} threads, {CHANGES} changes/s (floor: none)");
        let figure = Figure::new(NAME, what, Unit::Nanoseconds, pair.measured).over(pair.floor, pair.ratio);
        figures.push(figure.aiming_at(Aim::TimesFloor(1.1)));
    };
    compare("snapshot and lookup by ID", &|| of_each(&ids, |id| picture().by_id(id).is_some()));
    compare("snapshot and lookup by name", &|| of_each(&names, |name| picture().by_name(name).is_some()));
    compare("taking a snapshot", &|| of_each(&ids, |_| picture()));
    let times = WALKED.div_ceil(size);
    compare("snapshot and walking through all, each", &|| {
        let walk_through = |portfolio: &Portfolio| walk(portfolio.containers());
        nanoseconds_each(times * size, || (0..times).for_each(|_| walk_through(&picture())))
    });
    writer.end()?;
    Ok(figures)
}

/// The mean of what readers measure at the same time.
fn from_readers(each: &(dyn Fn() -> f64 + Sync)) -> f64 {
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(each)).collect();
        let costs = readers.into_iter().map(|reader| reader.join().unwrap_or(f64::NAN));
        costs.sum::<f64>() / READERS as f64
    })
}
