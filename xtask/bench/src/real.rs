//! Real engines, private ones of a stable release, and containers on them.

use std::ops::Range;

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::runtime::Runtime;
use whalewatcher_bench::population;
use whalewatcher_core::EngineError;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_drivers::{containerd, cri, docker};
use xtask::cache::Cache;
use xtask::engines::{
    Engine, EngineKind, GivenPrograms, Installation, Options, Packages, PrivateEngine, Release,
};

/// Whose engines are measured.
const RELEASE: Release = Release::Trixie;

/// How many containers a pod has, besides its sandbox.
const IN_POD: usize = 4;

/// What drives a real engine.
pub(crate) trait Driver: Sized {
    const KIND: EngineKind;

    type Client: EngineClient + 'static;

    fn client(endpoint: &str) -> Result<Self::Client, EngineError>;

    async fn connect(engine: &PrivateEngine) -> Result<Self>;

    /// Runs the containers of these numbers of the population, and returns their IDs where a floor needs them.
    async fn populate(&self, numbers: Range<usize>) -> Result<Vec<String>>;

    /// Lets one container run to its end, and removes it.
    async fn live(&self, number: usize) -> Result<()>;
}

/// Starts an engine, and ends it when it has been measured.
pub(crate) fn measured<D: Driver, T>(
    measure: impl AsyncFnOnce(&PrivateEngine, &D) -> Result<T>,
) -> Result<T> {
    let engine = Engine { kind: D::KIND, release: RELEASE };
    let cache = Cache::open()?;
    Packages::of(&cache).fetch(&[engine], false).with_context(|| format!("cannot fetch {engine}"))?;
    let installation = Installation::find(&cache, engine, &GivenPrograms::default())?;
    let engine = PrivateEngine::start(&installation, &Options::default())?;
    Runtime::new().context("no runtime")?.block_on(async {
        let driver = D::connect(&engine).await?;
        measure(&engine, &driver).await
    })
}

impl Driver for docker::Driver {
    const KIND: EngineKind = EngineKind::Docker;

    type Client = whalewatcher_moby::Client;

    fn client(endpoint: &str) -> Result<Self::Client, EngineError> {
        Self::Client::new(endpoint)
    }

    async fn connect(engine: &PrivateEngine) -> Result<Self> {
        docker::Driver::connect(&engine.socket()).await
    }

    async fn populate(&self, numbers: Range<usize>) -> Result<Vec<String>> {
        self.run_all(numbers.map(docker_plan)).await
    }

    async fn live(&self, number: usize) -> Result<()> {
        let id = self.run(docker_plan(number).running("exit 0")).await?;
        self.until_ended(&id).await?;
        self.remove(&id).await
    }
}

impl Driver for containerd::Driver {
    const KIND: EngineKind = EngineKind::Containerd;

    type Client = whalewatcher_containerd::Client;

    fn client(endpoint: &str) -> Result<Self::Client, EngineError> {
        Self::Client::new(endpoint)
    }

    async fn connect(engine: &PrivateEngine) -> Result<Self> {
        containerd::Driver::new(engine)
    }

    async fn populate(&self, numbers: Range<usize>) -> Result<Vec<String>> {
        self.run_all(numbers.map(containerd_plan)).await?;
        Ok(Vec::new())
    }

    async fn live(&self, number: usize) -> Result<()> {
        let plan = containerd_plan(number).running("exit 0");
        self.run(&plan).await?;
        self.ended(&plan.key).await?;
        self.remove(&plan.key).await
    }
}

/// CRI, with a pod for containers that come and go.
pub(crate) struct Cri {
    driver: cri::Driver,
    pod: cri::Pod,
}

impl Driver for Cri {
    const KIND: EngineKind = EngineKind::Cri;

    type Client = whalewatcher_cri::Client;

    fn client(endpoint: &str) -> Result<Self::Client, EngineError> {
        Self::Client::new(endpoint)
    }

    async fn connect(engine: &PrivateEngine) -> Result<Self> {
        let driver = cri::Driver::new(engine)?;
        driver.ready().await?;
        let pod = driver.run_pod(&cri::PodPlan::named("pod")).await?;
        Ok(Self { driver, pod })
    }

    /// Every fifth is a sandbox, the others are the containers of its pod. The first is the one that is there already.
    async fn populate(&self, numbers: Range<usize>) -> Result<Vec<String>> {
        let pods = numbers.start / (IN_POD + 1)..numbers.end / (IN_POD + 1);
        for number in pods {
            let pod = match number {
                0 => self.pod.clone(),
                _ => {
                    self.driver.run_pod(&cri::PodPlan::named(format!("pod-{number}")).of_a_kubelet()).await?
                }
            };
            let plans = (0..IN_POD).map(|container| cri_plan(number * IN_POD + container));
            let running = stream::iter(plans).map(async |plan| self.driver.run(&pod, &plan).await);
            running.buffered(IN_POD).try_collect::<Vec<_>>().await?;
        }
        Ok(Vec::new())
    }

    async fn live(&self, number: usize) -> Result<()> {
        let id = self.driver.run(&self.pod, &cri_plan(number)).await?;
        self.driver.stop(&id).await?;
        self.driver.remove(&id).await
    }
}

fn docker_plan(number: usize) -> docker::Plan {
    let plan = docker::Plan::named(population::name(number));
    population::labels(number).iter().fold(plan, |plan, (key, value)| plan.labelled(key, value))
}

/// It is nerdctl that gives the same labels.
fn containerd_plan(number: usize) -> containerd::Plan {
    let name = population::name(number);
    let plan = containerd::Plan::of(format!("default/{}", population::id(number))).named(&name);
    population::labels(number).iter().fold(plan, |plan, (key, value)| plan.labelled(key, value))
}

fn cri_plan(number: usize) -> cri::ContainerPlan {
    let plan = cri::ContainerPlan::named(population::name(number));
    population::labels(number).iter().fold(plan, |plan, (key, value)| plan.labelled(key, value))
}
