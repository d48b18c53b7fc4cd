//! What watching many short lives costs a real engine: requests, and CPU time of its daemon.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use whalewatcher_bench::sample::Sample;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{EventKind, Subscription, watch};
use whalewatcher_drivers::{containerd, cri, docker};
use whalewatcher_testkit::proxy::Proxy;

use crate::bench::Effort;
use crate::figure::{Aim, Figure, Unit};
use crate::process::cpu_seconds;
use crate::real;
use crate::requests::counted;

const DOCKER: &str = "harm-docker";
const CONTAINERD: &str = "harm-containerd";
const CRI: &str = "harm-cri";

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

/// An engine that counts.
trait Metered {
    type Client: EngineClient;

    fn client(&self) -> Result<Self::Client>;

    /// Lets one container run to its end, and removes it.
    async fn live(&self, number: usize) -> Result<()>;

    /// Returns the cost so far.
    fn cost(&self) -> Result<Cost>;
}

pub(crate) fn docker(effort: &Effort) -> Result<Vec<Figure>> {
    struct Dockerd<'a> {
        pid: u32,
        driver: &'a docker::Driver,
        proxy: Proxy,
    }

    impl Metered for Dockerd<'_> {
        type Client = whalewatcher_moby::Client;

        fn client(&self) -> Result<Self::Client> {
            Ok(Self::Client::new(self.proxy.endpoint())?)
        }

        async fn live(&self, number: usize) -> Result<()> {
            let id = self.driver.run(real::docker_plan(number).running("exit 0")).await?;
            self.driver.until_ended(&id).await?;
            self.driver.remove(&id).await
        }

        fn cost(&self) -> Result<Cost> {
            let inspections = counted(&self.proxy.stats()).inspections as f64;
            Ok(Cost { cpu: cpu_seconds(self.pid)?, inspections })
        }
    }

    let engine = real::docker()?;
    runtime()?.block_on(async {
        let driver = &docker::Driver::connect(&engine.docker_socket()).await?;
        driver.run_all((0..POPULATION).map(real::docker_plan)).await?;
        let pid = engine.dockerd_pid().context("dockerd has ended")?;
        let proxy = Proxy::builder().upstream(engine.docker_host()).start()?;
        figures(DOCKER, effort, &Dockerd { pid, driver, proxy }).await
    })
}

pub(crate) fn containerd(effort: &Effort) -> Result<Vec<Figure>> {
    struct Tasks<'a> {
        engine: &'a xtask::engines::Containerd,
        driver: containerd::Driver,
    }

    impl Metered for Tasks<'_> {
        type Client = whalewatcher_containerd::Client;

        fn client(&self) -> Result<Self::Client> {
            Ok(Self::Client::new(real::endpoint(&self.engine.socket()))?)
        }

        async fn live(&self, number: usize) -> Result<()> {
            let plan = real::containerd_plan(number).running("exit 0");
            self.driver.run(&plan).await?;
            self.driver.ended(&plan.key).await?;
            self.driver.remove(&plan.key).await
        }

        fn cost(&self) -> Result<Cost> {
            cost_of(self.engine)
        }
    }

    let engine = real::containerd()?;
    runtime()?.block_on(async {
        let driver = containerd::Driver::new(&engine)?;
        driver.run_all((0..POPULATION).map(real::containerd_plan)).await?;
        figures(CONTAINERD, effort, &Tasks { engine: &engine, driver }).await
    })
}

pub(crate) fn cri(effort: &Effort) -> Result<Vec<Figure>> {
    struct Pod<'a> {
        engine: &'a xtask::engines::Containerd,
        driver: cri::Driver,
        pod: cri::Pod,
    }

    impl Metered for Pod<'_> {
        type Client = whalewatcher_cri::Client;

        fn client(&self) -> Result<Self::Client> {
            Ok(Self::Client::new(real::endpoint(&self.engine.socket()))?)
        }

        async fn live(&self, number: usize) -> Result<()> {
            let id = self.driver.run(&self.pod, &real::cri_plan(number)).await?;
            self.driver.stop(&id).await?;
            self.driver.remove(&id).await
        }

        fn cost(&self) -> Result<Cost> {
            cost_of(self.engine)
        }
    }

    let engine = real::cri()?;
    runtime()?.block_on(async {
        let driver = cri::Driver::new(&engine)?;
        driver.ready().await?;
        let pod = driver.run_pod(&cri::PodPlan::named("pod")).await?;
        for number in 0..POPULATION {
            driver.run(&pod, &real::cri_plan(number)).await?;
        }
        figures(CRI, effort, &Pod { engine: &engine, driver, pod }).await
    })
}

/// Reads what containerd counts. Its own metrics are no request of gRPC.
fn cost_of(engine: &xtask::engines::Containerd) -> Result<Cost> {
    let requests: BTreeMap<String, u64> = engine.requests()?;
    let inspections = INSPECTIONS.iter().filter_map(|request| requests.get(*request)).sum::<u64>() as f64;
    Ok(Cost { cpu: cpu_seconds(engine.containerd_pid().context("containerd has ended")?)?, inspections })
}

/// Measures lives that are not watched and lives that are, in turn. A first round, in which all is cold, does not count.
async fn figures<E: Metered>(bench: &'static str, effort: &Effort, engine: &E) -> Result<Vec<Figure>> {
    let lives = LIVES[usize::from(effort.large)].div_ceil(effort.rounds);
    let mut number = POPULATION;
    let mut numbers = || {
        number += lives;
        number - lives..number
    };
    let mut rounds = Vec::new();
    for round in 0..=effort.rounds {
        let pair = if round % 2 == 0 {
            let unwatched = unwatched(engine, numbers()).await?;
            (unwatched, watched(engine, numbers()).await?)
        } else {
            let watched = watched(engine, numbers()).await?;
            (unwatched(engine, numbers()).await?, watched)
        };
        rounds.extend((round > 0).then_some(pair));
    }
    let all = format!("{} lives", rounds.len() * lives);
    let sample = |of: &dyn Fn(&(Cost, Cost)) -> f64| Sample::of(rounds.iter().map(of).collect());
    let number = lives as f64;
    // The driver of the lives does not inspect.
    let inspections = sample(&|(_, watched)| watched.inspections / number);
    let cpu = sample(&|(_, watched)| watched.cpu / number * 1000.0);
    let floor = sample(&|(unwatched, _)| unwatched.cpu / number * 1000.0);
    let ratio = sample(&|(unwatched, watched)| watched.cpu / unwatched.cpu);
    Ok(vec![
        Figure::new(bench, format!("{all}: inspections a life"), Unit::Count, inspections)
            .aiming_at(Aim::AtMost(1.0)),
        Figure::new(
            bench,
            format!("{all}: the daemon's CPU for 1,000, by that unwatched"),
            Unit::Seconds,
            cpu,
        )
        .over(floor, ratio),
    ])
}

async fn unwatched<E: Metered>(engine: &E, numbers: Range<usize>) -> Result<Cost> {
    let before = engine.cost()?;
    live(engine, numbers).await?;
    Ok(engine.cost()?.since(before))
}

async fn watched<E: Metered>(engine: &E, numbers: Range<usize>) -> Result<Cost> {
    let lives = numbers.len();
    let watching = watch(engine.client()?);
    watching.ready().await?;
    let (_, mut changes) = watching.subscribe();
    let before = engine.cost()?;
    live(engine, numbers).await?;
    timeout(EXIT_LIMIT, exits(&mut changes, lives)).await.context("not every exit was reported")??;
    let cost = engine.cost()?.since(before);
    watching.close().await;
    Ok(cost)
}

async fn live<E: Metered>(engine: &E, numbers: Range<usize>) -> Result<()> {
    stream::iter(numbers).map(|number| engine.live(number)).buffer_unordered(AT_ONCE).try_collect().await
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

impl Cost {
    fn since(self, before: Cost) -> Cost {
        Cost { cpu: self.cpu - before.cpu, inspections: self.inspections - before.inspections }
    }
}

fn runtime() -> Result<Runtime> {
    Runtime::new().context("no runtime")
}
