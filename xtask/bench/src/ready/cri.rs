//! CRI on containerd, where PIDs are nowhere but in a verbose status of each container and each sandbox.

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::runtime::Runtime;
use tonic::Request;
use whalewatcher_cri::Client;
use whalewatcher_drivers::api::runtime::v1::{
    ContainerFilter, ContainerState, ContainerStateValue, ContainerStatusRequest, ListContainersRequest,
    ListPodSandboxRequest, PodSandboxFilter, PodSandboxState, PodSandboxStateValue, PodSandboxStatusRequest,
    VersionRequest,
};
use whalewatcher_drivers::cri::{Driver, PodPlan};

use super::{AT_ONCE, Compared, figures, sizes, timed, until_ready};
use crate::bench::Effort;
use crate::figure::Figure;
use crate::real;
use crate::undecoded::Undecoded;

const NAME: &str = "ready-cri";

/// How many containers a pod has, besides its sandbox.
const IN_POD: usize = 4;

/// What there is.
#[derive(Default)]
struct Alive {
    sandboxes: Vec<String>,
    containers: Vec<String>,
}

pub(crate) fn run(effort: &Effort) -> Result<Vec<Figure>> {
    let engine = real::cri()?;
    let runtime = Runtime::new().context("no runtime")?;
    runtime.block_on(async {
        let driver = Driver::new(&engine)?;
        driver.ready().await?;
        let socket = &engine.socket();
        let endpoint = &real::endpoint(socket);
        let mut alive = Alive::default();
        let mut all = Vec::new();
        for size in sizes(effort) {
            run_until(&driver, &mut alive, size).await?;
            let alive = &alive;
            let compared = Compared {
                watcher: Box::new(move || Box::pin(until_ready(Client::new(endpoint), size))),
                floor: Box::new(move || {
                    Box::pin(timed(
                        async move { ask(&Undecoded::connect(socket).await?, alive, AT_ONCE).await },
                    ))
                }),
                greeting: Box::new(move || {
                    Box::pin(timed(async move {
                        let client = Undecoded::connect(socket).await?;
                        let version = Request::new(VersionRequest::default());
                        client.ask("/runtime.v1.RuntimeService/Version", version).await?;
                        let _events = client.subscribe().await?;
                        ask(&client, alive, AT_ONCE).await
                    }))
                }),
                one_by_one: Box::new(move || {
                    Box::pin(timed(async move { ask(&Undecoded::connect(socket).await?, alive, 1).await }))
                }),
            };
            let of = format!("{} containers in {} pods", alive.containers.len(), alive.sandboxes.len());
            all.extend(figures(NAME, &of, effort, compared).await?);
        }
        Ok(all)
    })
}

/// Runs more pods, until there are so many containers and sandboxes.
async fn run_until(driver: &Driver, alive: &mut Alive, size: usize) -> Result<()> {
    let first = alive.sandboxes.len();
    let plans = (first..size / (IN_POD + 1)).map(|pod| PodPlan::named(format!("pod-{pod}")).of_a_kubelet());
    let pods = driver.run_pods(plans).await?;
    for (number, pod) in (first..).zip(&pods) {
        let plans = (0..IN_POD).map(|container| real::cri_plan(number * IN_POD + container));
        let running = stream::iter(plans).map(|plan| async move { driver.run(pod, &plan).await });
        alive.containers.extend(running.buffered(IN_POD).try_collect::<Vec<_>>().await?);
        alive.sandboxes.push(pod.id.clone());
    }
    Ok(())
}

/// Both lists, then each status, so many at once.
async fn ask(client: &Undecoded, alive: &Alive, at_once: usize) -> Result<()> {
    let state = ContainerStateValue { state: ContainerState::ContainerRunning as i32 };
    let filter = Some(ContainerFilter { state: Some(state), ..ContainerFilter::default() });
    let request = Request::new(ListContainersRequest { filter });
    let containers = client.ask("/runtime.v1.RuntimeService/ListContainers", request);
    let state = PodSandboxStateValue { state: PodSandboxState::SandboxReady as i32 };
    let filter = Some(PodSandboxFilter { state: Some(state), ..PodSandboxFilter::default() });
    let request = Request::new(ListPodSandboxRequest { filter });
    let sandboxes = client.ask("/runtime.v1.RuntimeService/ListPodSandbox", request);
    if at_once > 1 {
        tokio::try_join!(containers, sandboxes)?;
    } else {
        containers.await?;
        sandboxes.await?;
    }
    let containers = stream::iter(&alive.containers).map(|id| {
        let request = ContainerStatusRequest { container_id: id.clone(), verbose: true };
        anyhow::Ok(client.ask("/runtime.v1.RuntimeService/ContainerStatus", Request::new(request)))
    });
    containers.try_buffer_unordered(at_once).try_collect::<()>().await?;
    let sandboxes = stream::iter(&alive.sandboxes).map(|id| {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.clone(), verbose: true };
        anyhow::Ok(client.ask("/runtime.v1.RuntimeService/PodSandboxStatus", Request::new(request)))
    });
    sandboxes.try_buffer_unordered(at_once).try_collect().await
}
