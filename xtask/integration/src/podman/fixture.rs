//! A private podman.

use anyhow::{Context as _, Result, ensure};
use bollard::models::ContainerInspectResponse;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use tokio::task::block_in_place;
use whalewatcher_drivers::EngineFailure;
use whalewatcher_drivers::docker::{AT_ONCE, Driver, Plan};
use whalewatcher_podman::Client;

use crate::docker::churn::{Churn, churn};
use crate::docker::truth;
use crate::fault_injector::Protocol;
use crate::fixture::{Fixture, Shared};
use crate::random_steps::RandomSteps;
use crate::scenario::Scenario;
use crate::scenarios::kill;
use crate::truth::Truth;

/// How many containers are churned.
const CHURNED: usize = 8;

/// A private podman, and what its scenarios share.
pub(crate) struct PodmanFixture {
    shared: Shared<Driver>,
}

impl PodmanFixture {
    /// All containers' IDs, with those that are not alive. Not by bollard: it fails if a container has a
    /// state that only podman knows.
    fn ids(&self) -> Result<Vec<String>> {
        let mut listed = self.engine().request("GET", "/v1.41/containers/json?all=1")?.json()?;
        // A podman that was killed amid a removal lists nothing any more until that is repeated.
        while listed["cause"] == "container not known" {
            let half_removed = listed["message"].as_str().and_then(|message| message.split('"').nth(1));
            let half_removed = half_removed.with_context(|| format!("no list: {listed}"))?;
            let path = format!("/v4.0.0/libpod/containers/{half_removed}?force=true");
            let removed = self.engine().request("DELETE", &path)?;
            ensure!(removed.status < 300, EngineFailure(format!("{half_removed} stays: {}", removed.text())));
            listed = self.engine().request("GET", "/v1.41/containers/json?all=1")?.json()?;
        }
        let listed = listed.as_array().with_context(|| format!("no list: {listed}"))?;
        let id = |container: &Value| container["Id"].as_str().map(str::to_owned);
        listed.iter().map(|container| id(container).context("a listed container has no ID")).collect()
    }

    /// `None` if there is none.
    fn inspect(&self, id: &str) -> Result<Option<ContainerInspectResponse>> {
        let response = self.engine().request("GET", &format!("/v1.41/containers/{id}/json"))?;
        let mut inspected = response.json()?;
        // For a container that is removed meanwhile the answer is 404 or 500.
        if inspected["cause"] == "no such container" {
            return Ok(None);
        }
        ensure!(response.status == 200, "cannot inspect {id}: {inspected}");
        // Whether it runs or is paused is in other fields.
        inspected["State"]["Status"] = Value::Null;
        serde_json::from_value(inspected).with_context(|| format!("cannot inspect {id}")).map(Some)
    }
}

impl Fixture for PodmanFixture {
    /// podman answers with 500 instead of 404 if a container is removed while it is inspected.
    const FAILS_INSPECTIONS: bool = true;

    const PROTOCOL: Protocol = Protocol::Http1;

    const SCENARIOS: &[Scenario<Self>] = super::scenarios::SCENARIOS;

    type Client = Client;
    type Driver = Driver;
    type Steps = Churn;

    fn new(shared: Shared<Driver>) -> PodmanFixture {
        PodmanFixture { shared }
    }

    fn shared(&self) -> &Shared<Driver> {
        &self.shared
    }

    fn client(endpoint: &str) -> Result<Client> {
        Ok(Client::new(endpoint)?)
    }

    async fn connect(&self) -> Result<Driver> {
        Ok(Driver::connect(&self.engine().socket()).await?.below(&self.engine().cgroup()))
    }

    async fn remove_all(&self) -> Result<()> {
        let docker = self.driver().await?;
        let all = block_in_place(|| self.ids())?;
        let removals = stream::iter(&all).map(async |id| match docker.remove(id).await {
            Ok(()) => Ok(()),
            // A podman that was killed amid resuming it believes it paused for ever, and then cannot end it.
            Err(_) => {
                kill(self.pid(id).await?)?;
                docker.until_ended(id).await?;
                docker.remove(id).await
            }
        });
        removals.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let left = block_in_place(|| self.ids())?;
        ensure!(left.is_empty(), "containers are still there: {left:?}");
        Ok(())
    }

    async fn truth(&self) -> Result<Truth> {
        let truth = truth::of(block_in_place(|| {
            self.ids()?.iter().filter_map(|id| self.inspect(id).transpose()).collect::<Result<Vec<_>>>()
        })?)?;
        Ok(Truth { may_be_listed: true, ..truth })
    }

    async fn show_fence(&self, name: &str) -> Result<Option<String>> {
        self.driver().await?.run(Plan::named(name)).await?;
        Ok(None)
    }

    async fn churn(&self, seed: u64) -> Result<RandomSteps<Churn>> {
        churn(&self.driver().await?, CHURNED, seed).await
    }
}
