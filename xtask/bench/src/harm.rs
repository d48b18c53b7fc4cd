//! What watching many short lives costs a real engine: requests, and CPU time of its daemon.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::timeout;
use whalewatcher_bench::figure::{Aim, Figure, Unit};
use whalewatcher_bench::requests::counted;
use whalewatcher_bench::rounds::each_in_turn;
use whalewatcher_bench::sample::Sample;
use whalewatcher_core::{EventKind, Subscription, watch};
use whalewatcher_testkit::proxy::Proxy;
use xtask::engines::{EngineKind, PrivateEngine};

use crate::bench::Effort;
use crate::process::cpu_seconds;
use crate::real::{self, Driver};

/// How many containers run all the time.
const POPULATION: usize = 50;
/// How many lives there are in all rounds together, unwatched and watched: usually, and with `--large`.
const LIVES: [usize; 2] = [200, 1000];
/// How many lives there are at once.
const AT_ONCE: usize = 8;
/// How long to wait for the last exit.
const EXIT_LIMIT: Duration = Duration::from_secs(10);

/// The requests by which a life is inspected.
const INSPECTIONS: [&str; 3] = [
    "containerd.services.tasks.v1.Tasks/Get",
    "runtime.v1.RuntimeService/ContainerStatus",
    "runtime.v1.RuntimeService/PodSandboxStatus",
];

/// What lives cost the engine.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// Seconds that the daemon computed.
    cpu: f64,
    /// Requests of a watcher.
    inspections: f64,
}

impl Cost {
    /// Reads the cost so far: a proxy counts requests to dockerd, and containerd does so by itself.
    fn so_far(engine: &PrivateEngine, proxy: Option<&Proxy>) -> Result<Cost> {
        let inspections = match proxy {
            Some(proxy) => counted(&proxy.stats()).inspections,
            None => {
                let requests = engine.requests()?;
                INSPECTIONS.iter().filter_map(|request| requests.get(*request)).sum()
            }
        };
        let cpu = cpu_seconds(engine.pid().context("the engine has ended")?)?;
        Ok(Cost { cpu, inspections: inspections as f64 })
    }

    fn since(self, before: Cost) -> Cost {
        Cost { cpu: self.cpu - before.cpu, inspections: self.inspections - before.inspections }
    }
}

/// Measures lives that are not watched and lives that are, in turn.
pub(crate) fn run<D: Driver>(bench: &str, effort: &Effort) -> Result<Vec<Figure>> {
    real::measured(async |engine, driver: &D| {
        driver.populate(0..POPULATION).await?;
        let is_docker = D::KIND == EngineKind::Docker;
        let proxy = is_docker.then(|| Proxy::builder().upstream(engine.endpoint()).start()).transpose()?;
        let endpoint = proxy.as_ref().map_or_else(|| engine.endpoint(), Proxy::endpoint);
        let cost = || Cost::so_far(engine, proxy.as_ref());
        let lives = LIVES[usize::from(effort.large)].div_ceil(effort.rounds);
        let next = Cell::new(POPULATION);
        let live = async || {
            let first = next.replace(next.get() + lives);
            let living = stream::iter(first..first + lives).map(|number| driver.live(number));
            living.buffer_unordered(AT_ONCE).try_collect::<()>().await
        };
        let watched = async || {
            let watching = watch(D::client(&endpoint)?);
            watching.ready().await?;
            let (_, mut changes) = watching.subscribe();
            let before = cost()?;
            live().await?;
            let exited = timeout(EXIT_LIMIT, exits(&mut changes, lives)).await;
            exited.context("not every exit was reported")??;
            let cost = cost()?.since(before);
            watching.close().await;
            Ok(cost)
        };
        let unwatched = async || {
            let before = cost()?;
            live().await?;
            Ok(cost()?.since(before))
        };
        Ok(figures(bench, lives, &each_in_turn(effort.rounds, watched, unwatched).await?))
    })
}

fn figures(bench: &str, lives: usize, rounds: &[(Cost, Cost)]) -> Vec<Figure> {
    let all = format!("{} lives", rounds.len() * lives);
    let sample = |of: &dyn Fn(&(Cost, Cost)) -> f64| Sample::of(rounds.iter().map(of).collect());
    let number = lives as f64;
    // The driver of the lives does not inspect.
    let inspections = sample(&|(watched, _)| watched.inspections / number);
    let cpu = sample(&|(watched, _)| watched.cpu / number * 1000.0);
    let floor = sample(&|(_, unwatched)| unwatched.cpu / number * 1000.0);
    let ratio = sample(&|(watched, unwatched)| watched.cpu / unwatched.cpu);
    let cpu_of = format!("{all}: the daemon's CPU for 1,000, by that unwatched");
    vec![
        Figure::new(bench, format!("{all}: inspections a life"), Unit::Count, inspections)
            .aiming_at(Aim::AtMost(1.0)),
        Figure::new(bench, cpu_of, Unit::Seconds, cpu).over(floor, ratio),
    ]
}

/// Waits for so many exits.
async fn exits(changes: &mut Subscription, lives: usize) -> Result<()> {
    let mut exits = 0;
    while exits < lives {
        let event = changes.next().await.context("the subscription ended")?;
        exits += usize::from(matches!(event.kind, EventKind::Exited { .. }));
    }
    Ok(())
}
