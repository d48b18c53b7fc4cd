//! What a change costs from the engine's event to all subscribers: reconciler, portfolio, publication. All of
//! it runs in one thread, whose CPU time is measured.
//!
//! The floor is a `HashMap` in which the changed container replaces the former one, and a broadcast channel that each
//! subscriber reads.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::broadcast;
use whalewatcher_bench::cost::computed;
use whalewatcher_bench::figure::{Aim, Figure, Unit};
use whalewatcher_bench::population;
use whalewatcher_bench::rounds::of_pairs;
use whalewatcher_bench::sample::Sample;
use whalewatcher_core::{Container, ContainerId, Event, EventKind};

use crate::bench::Effort;
use crate::engine::World;

const NAME: &str = "writing";
const SIZES: [usize; 3] = [100, 10_000, 100_000];
/// How many changes are one measurement, but for many subscribers.
const CHANGES: usize = 20_000;
/// What the aim of changes a second is set for.
const AIMED_AT: usize = 10_000;

/// How changes come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Pauses and their ends, as many at once as there are containers, but no more than so many.
    Volleys(usize),
    /// The same, each when all subscribers know of the one before.
    OneByOne,
    /// Exits and starts, the latter with an inspection; so many at once.
    Restarts(usize),
}

impl Way {
    fn describe(self) -> String {
        match self {
            Self::Volleys(most) => format!("pauses, up to {most} at once"),
            Self::OneByOne => "pauses, one by one".to_owned(),
            Self::Restarts(most) => format!("exits and starts, up to {most} at once"),
        }
    }
}

pub(crate) fn run(_: &str, effort: &Effort) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (way, subscribers) in [
        (Way::Volleys(1000), 1),
        (Way::OneByOne, 1),
        (Way::Restarts(1000), 1),
        (Way::Volleys(1000), 100),
        (Way::OneByOne, 100),
    ] {
        figures.extend(of(way, subscribers, effort.rounds)?);
    }
    Ok(figures)
}

/// All sizes in turn, and the floor of each.
fn of(way: Way, subscribers: usize, rounds: usize) -> Result<Vec<Figure>> {
    let mut worlds = Vec::new();
    for size in SIZES {
        worlds.push((World::new(size, subscribers)?, Floor::new(size, subscribers)));
    }
    let count = if subscribers == 1 { CHANGES } else { CHANGES / 10 };
    let mut costs: [Vec<(f64, f64)>; SIZES.len()] = Default::default();
    for round in 0..=rounds {
        for ((world, floor), costs) in worlds.iter_mut().zip(&mut costs) {
            let pair = (nanoseconds(world, way, count)?, floor.nanoseconds(count)?);
            // In the first round all is cold.
            if round > 0 {
                costs.push(pair);
            }
        }
    }
    let reported = match subscribers {
        1 => "1 subscriber".to_owned(),
        many => format!("{many} subscribers"),
    };
    let mut figures = Vec::new();
    for (size, costs) in SIZES.into_iter().zip(&costs) {
        let pair = of_pairs(costs);
        let what = format!("{}, {size} containers, {reported}: a change", way.describe());
        figures.push(Figure::new(NAME, what, Unit::Nanoseconds, pair.measured).over(pair.floor, pair.ratio));
        if size == AIMED_AT && subscribers == 1 {
            let rates = Sample::of(costs.iter().map(|(cost, _)| 1e9 / cost).collect());
            let what = format!("{}, {size} containers, {reported}: changes", way.describe());
            figures.push(Figure::new(NAME, what, Unit::PerSecond, rates).aiming_at(Aim::AtLeast(200_000.0)));
        }
    }
    figures.push(growth(way, &reported, &costs));
    Ok(figures)
}

/// How many times what a change costs with few containers it costs with many, next to how many times it does so at the
/// floor, where it is the caches alone; the aim is how many times longer the logarithm of their number is.
fn growth(way: Way, reported: &str, costs: &[Vec<(f64, f64)>; SIZES.len()]) -> Figure {
    let [few, .., many] = costs;
    let grown = many
        .iter()
        .zip(few)
        .map(|((many, many_floor), (few, few_floor))| (many / few, many_floor / few_floor));
    let pair = of_pairs(&grown.collect::<Vec<_>>());
    let what = format!(
        "{}, {reported}: cost with {} containers by cost with {}",
        way.describe(),
        SIZES[2],
        SIZES[0]
    );
    let logarithms = (SIZES[2] as f64).log2() / (SIZES[0] as f64).log2();
    Figure::new(NAME, what, Unit::Count, pair.measured)
        .over(pair.floor, pair.ratio)
        .aiming_at(Aim::TimesFloor(logarithms))
}

/// What a change costs, of about so many.
fn nanoseconds(world: &mut World, way: Way, count: usize) -> Result<f64> {
    let size = world.watching().portfolio().total();
    let (mut changes, mut nanoseconds) = (0, 0);
    while changes < count {
        // Made beforehand, for that is the engine's work.
        let volleys = match way {
            Way::Volleys(most) => vec![world.pauses(size.min(most))],
            Way::OneByOne => (0..size.min(1000)).flat_map(|_| [world.pauses(1)]).collect(),
            Way::Restarts(most) => Vec::from(world.restarts(size.min(most))),
        };
        changes += volleys.iter().map(Vec::len).sum::<usize>();
        let begin = computed();
        world.play(volleys)?;
        nanoseconds += (computed() - begin).as_nanos();
    }
    Ok(nanoseconds as f64 / changes as f64)
}

struct Floor {
    containers: HashMap<ContainerId, Arc<Container>>,
    ids: Vec<ContainerId>,
    sender: broadcast::Sender<Event>,
    receivers: Vec<broadcast::Receiver<Event>>,
    turn: usize,
}

impl Floor {
    fn new(size: usize, subscribers: usize) -> Self {
        let all: Vec<_> = (0..size).map(population::container).collect();
        let ids = all.iter().map(|container| container.id().clone()).collect();
        let sender = broadcast::Sender::new(1024);
        let receivers = (0..subscribers).map(|_| sender.subscribe()).collect();
        let containers = all.into_iter().map(|one| (one.id().clone(), Arc::new(one))).collect();
        Self { containers, ids, sender, receivers, turn: 0 }
    }

    fn nanoseconds(&mut self, count: usize) -> Result<f64> {
        let begin = computed();
        for _ in 0..count {
            self.turn += 1;
            let id = &self.ids[self.turn.wrapping_mul(7919) % self.ids.len()];
            let known = self.containers.get_mut(id).context("it is there")?;
            let changed = Arc::new(Container::clone(known).with_paused(!known.paused()));
            *known = changed.clone();
            self.sender.send(Event::new(population::beginning(), EventKind::Paused(changed)))?;
            for receiver in &mut self.receivers {
                std::hint::black_box(receiver.try_recv()?);
            }
        }
        Ok((computed() - begin).as_nanos() as f64 / count as f64)
    }
}
