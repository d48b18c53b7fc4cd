//! What watching does to a real containerd, by its own API and by CRI. It counts the requests itself.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::runtime::Runtime;
use whalewatcher_bench::sample::Sample;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_drivers::{containerd, cri};
use xtask::engines::Containerd;

use crate::bench::Effort;
use crate::figure::{Aim, Figure, Unit};
use crate::process::cpu_seconds;
use crate::real;

use super::{Observer, POPULATION, in_turn, lives_a_round, reported_of_exits, watch_until_ready};

const CONTAINERD: &str = "harm-containerd";
const CRI: &str = "harm-cri";
/// How many pods the containers that run all the time are in, their sandboxes among them.
const PODS: usize = 10;
/// How many lives there are at once.
const AT_ONCE: usize = 8;

/// What an inspection is.
const TASK: &str = "containerd.services.tasks.v1.Tasks/Get";
const STATUSES: [&str; 2] =
    ["runtime.v1.RuntimeService/ContainerStatus", "runtime.v1.RuntimeService/PodSandboxStatus"];
/// Whose a task is that containerd told of.
const WHOSE: &str = "containerd.services.containers.v1.Containers/Get";

pub(crate) fn containerd(effort: &Effort) -> Result<Vec<Figure>> {
    let engine = real::containerd()?;
    Runtime::new().context("no runtime")?.block_on(async {
        let driver = containerd::Driver::new(&engine)?;
        driver.run_all((0..POPULATION).map(real::containerd_plan)).await?;
        let client = || {
            whalewatcher_containerd::Client::new(engine.socket().display().to_string()).context("no client")
        };
        let sync = sync(&engine, client()?).await?;
        let lists = sync.of(|request| request.ends_with("/List") || request.ends_with("/ListStream"));
        let all = sync.of(|_| true);
        // The namespaces, then in the only one tasks and containers.
        let mut figures = of_a_sync(CONTAINERD, lists, 3.0, all - lists);
        let live = async |number| {
            let plan = real::containerd_plan(number).running("exit 0");
            driver.run(&plan).await?;
            driver.ended(&plan.key).await?;
            driver.remove(&plan.key).await
        };
        let observers = [Observer::Nobody, Observer::We];
        let rounds = in_turn(effort, observers, async |numbers, observer| {
            let asked =
                lives(&engine, numbers, live, (observer == Observer::We).then(client).transpose()?).await?;
            Ok(OfLives { cpu: asked.cpu, inspections: asked.of(|request| request == TASK), whose: 0.0 })
        });
        figures.extend(of_lives(CONTAINERD, effort, &rounds.await?));
        Ok(figures)
    })
}

pub(crate) fn cri(effort: &Effort) -> Result<Vec<Figure>> {
    let engine = real::cri()?;
    Runtime::new().context("no runtime")?.block_on(async {
        let driver = cri::Driver::new(&engine)?;
        driver.ready().await?;
        let pods =
            driver.run_pods((0..PODS).map(|number| cri::PodPlan::named(format!("pod-{number}")))).await?;
        let all = (PODS..POPULATION).map(|number| {
            let pod = &pods[number % PODS];
            let driver = &driver;
            async move { driver.run(pod, &real::cri_plan(number)).await }
        });
        stream::iter(all).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
        let client =
            || whalewatcher_cri::Client::new(engine.socket().display().to_string()).context("no client");
        let sync = sync(&engine, client()?).await?;
        let lists = |request: &str| request.starts_with("runtime.v1") && request.contains("/List");
        let asked = sync.of(|request| lists(request) || STATUSES.contains(&request));
        let mut figures = of_a_sync(CRI, asked, (POPULATION + 2) as f64, sync.of(|_| true) - asked);
        let live = async |number| {
            let id = driver.run(&pods[0], &real::cri_plan(number)).await?;
            driver.stop(&id).await?;
            driver.remove(&id).await
        };
        let observers = [Observer::Nobody, Observer::We];
        let rounds = in_turn(effort, observers, async |numbers, observer| {
            let asked =
                lives(&engine, numbers, live, (observer == Observer::We).then(client).transpose()?).await?;
            let inspections = asked.of(|request| STATUSES.contains(&request));
            Ok(OfLives { cpu: asked.cpu, inspections, whose: asked.of(|request| request == WHOSE) })
        });
        figures.extend(of_lives(CRI, effort, &rounds.await?));
        Ok(figures)
    })
}

/// What something cost the engine.
struct Cost {
    /// Seconds.
    cpu: f64,
    requests: BTreeMap<String, u64>,
}

impl Cost {
    fn of(&self, which: impl Fn(&str) -> bool) -> f64 {
        self.requests.iter().filter(|(request, _)| which(request)).map(|(_, count)| *count as f64).sum()
    }
}

async fn cost(engine: &Containerd, doing: impl Future<Output = Result<()>>) -> Result<Cost> {
    let pid = engine.containerd_pid().context("containerd has ended")?;
    // What it takes to ask for the numbers of requests does not count.
    let before = engine.requests()?;
    let cpu = cpu_seconds(pid)?;
    doing.await?;
    let cpu = cpu_seconds(pid)? - cpu;
    let mut requests = engine.requests()?;
    for (request, count) in &mut requests {
        *count -= before.get(request).copied().unwrap_or_default();
    }
    Ok(Cost { cpu, requests })
}

/// Watches with this client until it is ready.
async fn sync<C: EngineClient>(engine: &Containerd, client: C) -> Result<Cost> {
    let watched = async {
        watch_until_ready(client).await?.close().await;
        Ok(())
    };
    cost(engine, watched).await
}

/// Lets lives of these numbers be, watched by this client if there is one.
async fn lives<C: EngineClient>(
    engine: &Containerd,
    numbers: Range<usize>,
    live: impl AsyncFn(usize) -> Result<()>,
    client: Option<C>,
) -> Result<Cost> {
    let count = numbers.len();
    let live = &live;
    let living =
        stream::iter(numbers).map(|number| live(number)).buffer_unordered(AT_ONCE).try_collect::<()>();
    let Some(client) = client else { return cost(engine, living).await };
    let watching = watch_until_ready(client).await?;
    let (_, mut changes) = watching.subscribe();
    let watched = async {
        living.await?;
        reported_of_exits(&mut changes, count).await
    };
    let cost = cost(engine, watched).await;
    watching.close().await;
    cost
}

fn of_a_sync(bench: &'static str, asked: f64, expected: f64, others: f64) -> Vec<Figure> {
    let figure = |what: &str, value| {
        Figure::new(bench, format!("{POPULATION} containers: {what}"), Unit::Count, Sample::once(value))
    };
    vec![
        figure("lists and inspections until ready", asked)
            .over(Sample::once(expected), Sample::once(asked / expected))
            .aiming_at(Aim::TimesFloor(1.0)),
        figure("other requests until ready", others),
    ]
}

/// What the lives of a round cost.
#[derive(Clone, Copy)]
struct OfLives {
    cpu: f64,
    inspections: f64,
    /// How often it was asked whose a task is.
    whose: f64,
}

/// Of each round, watched by nobody and by us.
fn of_lives(bench: &'static str, effort: &Effort, rounds: &[[OfLives; 2]]) -> Vec<Figure> {
    let lives = lives_a_round(effort);
    let all = format!("{} lives", lives * rounds.len());
    let number = lives as f64;
    let sample = |of: &dyn Fn(&[OfLives; 2]) -> f64| Sample::of(rounds.iter().map(of).collect());
    let figure = |what: &str, unit, value| Figure::new(bench, format!("{all}: {what}"), unit, value);
    let inspections = sample(&|[_, we]| we.inspections / number);
    let mut figures =
        vec![figure("inspections a life", Unit::Count, inspections).aiming_at(Aim::AtMost(1.0))];
    if bench == CRI {
        let whose = sample(&|[_, we]| we.whose / number);
        figures.push(figure("questions whose it is, a life", Unit::Count, whose));
    }
    let thousand = |watched: usize| sample(&|costs| costs[watched].cpu / number * 1000.0);
    let by = sample(&|[nobody, we]| we.cpu / nobody.cpu);
    let what = "CPU of containerd for 1,000, watched by us, and by nobody";
    figures.push(figure(what, Unit::Seconds, thousand(1)).over(thousand(0), by));
    figures
}
