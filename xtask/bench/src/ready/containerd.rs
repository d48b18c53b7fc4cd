//! containerd, whose lists of tasks and containers tell all.

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;
use tonic::Request;
use whalewatcher_bench::population;
use whalewatcher_containerd::Client;
use whalewatcher_drivers::api::containerd::services::containers::v1::{
    GetContainerRequest, ListContainersRequest,
};
use whalewatcher_drivers::api::containerd::services::namespaces::v1::ListNamespacesRequest;
use whalewatcher_drivers::api::containerd::services::tasks::v1::{GetRequest, ListTasksRequest};
use whalewatcher_drivers::containerd::{Driver, within};

use super::{Compared, figures, sizes, timed, until_ready};
use crate::bench::Effort;
use crate::figure::Figure;
use crate::real;
use crate::undecoded::Undecoded;

const NAME: &str = "ready-containerd";

const NAMESPACE: &str = "default";

/// Up to how many containers are asked for by their IDs, and not all there are.
const BY_ID: usize = 64;

pub(crate) fn run(effort: &Effort) -> Result<Vec<Figure>> {
    let engine = real::containerd()?;
    let runtime = Runtime::new().context("no runtime")?;
    runtime.block_on(async {
        let driver = Driver::new(&engine)?;
        let socket = &engine.socket();
        let endpoint = &real::endpoint(socket);
        let mut running = 0;
        let mut all = Vec::new();
        for size in sizes(effort) {
            driver.run_all((running..size).map(real::containerd_plan)).await?;
            running = size;
            let compared = Compared {
                watcher: Box::new(move || Box::pin(until_ready(Client::new(endpoint), size))),
                floor: Box::new(move || {
                    Box::pin(timed(async move { list(&Undecoded::connect(socket).await?, size).await }))
                }),
                greeting: Box::new(move || {
                    Box::pin(timed(async move {
                        let client = Undecoded::connect(socket).await?;
                        greet(&client).await?;
                        let _events = client.subscribe().await?;
                        list(&client, size).await
                    }))
                }),
                one_by_one: Box::new(move || {
                    Box::pin(timed(async move { one_by_one(&Undecoded::connect(socket).await?, size).await }))
                }),
            };
            all.extend(figures(NAME, &format!("{size} containers"), effort, compared).await?);
        }
        Ok(all)
    })
}

/// Whether it is containerd, and which.
async fn greet(client: &Undecoded) -> Result<()> {
    client.ask("/containerd.services.version.v1.Version/Version", Request::new(())).await?;
    client.ask("/containerd.services.introspection.v1.Introspection/Server", Request::new(())).await
}

/// The namespaces, the tasks of the one that there is, and the containers.
async fn list(client: &Undecoded, containers: usize) -> Result<()> {
    namespaces(client).await?;
    tasks(client).await?;
    let ids = 0..if containers > BY_ID { 0 } else { containers };
    let filters = ids.map(|number| format!("id==\"{}\"", population::id(number))).collect();
    let request = within(NAMESPACE, ListContainersRequest { filters })?;
    client.ask("/containerd.services.containers.v1.Containers/ListStream", request).await
}

async fn namespaces(client: &Undecoded) -> Result<()> {
    let request = Request::new(ListNamespacesRequest::default());
    client.ask("/containerd.services.namespaces.v1.Namespaces/List", request).await
}

async fn tasks(client: &Undecoded) -> Result<()> {
    let request = within(NAMESPACE, ListTasksRequest::default())?;
    client.ask("/containerd.services.tasks.v1.Tasks/List", request).await
}

/// The namespaces, the tasks, and then one container and its task after the other.
async fn one_by_one(client: &Undecoded, containers: usize) -> Result<()> {
    namespaces(client).await?;
    tasks(client).await?;
    for id in (0..containers).map(population::id) {
        let request = within(NAMESPACE, GetContainerRequest { id: id.clone() })?;
        client.ask("/containerd.services.containers.v1.Containers/Get", request).await?;
        let request = within(NAMESPACE, GetRequest { container_id: id, exec_id: String::new() })?;
        client.ask("/containerd.services.tasks.v1.Tasks/Get", request).await?;
    }
    Ok(())
}
