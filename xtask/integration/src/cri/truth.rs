//! What is alive according to CRI itself, as a client of its own decodes it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use whalewatcher_core::Portfolio;
use whalewatcher_drivers::api::runtime::v1::{
    ContainerState, ContainerStatus, PodSandboxMetadata, PodSandboxState,
};

use crate::comparison::differences;
use whalewatcher_drivers::EngineFailure;
use whalewatcher_drivers::cri::{AT_ONCE, Driver};

/// A container or a sandbox that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alive {
    pub(super) name: String,
    pub(super) pid: u32,
    paused: bool,
    pub(super) started_at: Option<SystemTime>,
    pub(super) labels: BTreeMap<String, String>,
    project: String,
}

/// What CRI says.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    /// What is alive, by its ID.
    pub(super) alive: BTreeMap<String, Alive>,
    /// The containers that have ended and are still there, by their ID.
    pub(super) ended: BTreeMap<String, ContainerStatus>,
}

impl Truth {
    /// Asks for everything. It is the truth if the engine is quiet.
    pub(super) async fn ask(driver: &Driver) -> Result<Truth> {
        let pods: Vec<(String, PodSandboxMetadata)> =
            driver.pods().await?.into_iter().map(|pod| (pod.id, pod.metadata.unwrap_or_default())).collect();
        let sandboxes = stream::iter(&pods).map(|(id, metadata)| sandbox(driver, id, metadata));
        let sandboxes: Vec<Option<Alive>> = sandboxes.buffered(AT_ONCE).try_collect().await?;
        let mut alive: BTreeMap<String, Alive> = pods
            .iter()
            .zip(sandboxes)
            .filter_map(|((id, _), sandbox)| Some((id.clone(), sandbox?)))
            .collect();
        let mut ended = BTreeMap::new();
        let containers = driver.containers().await?;
        let statuses = stream::iter(&containers).map(|container| driver.container(&container.id));
        let statuses: Vec<_> = statuses.buffered(AT_ONCE).try_collect().await?;
        let pods: HashMap<String, PodSandboxMetadata> = pods.into_iter().collect();
        for (container, found) in containers.into_iter().zip(statuses) {
            let Some(found) = found else { continue };
            match found.status.state() {
                ContainerState::ContainerRunning => {
                    let pod = pods.get(&container.pod_sandbox_id);
                    let pod = pod.with_context(|| format!("{} is in no pod", container.id))?;
                    alive.insert(container.id, running(&found.status, &found.info, pod)?);
                }
                ContainerState::ContainerExited => drop(ended.insert(container.id, found.status)),
                _ => {}
            }
        }
        Ok(Truth { alive, ended })
    }

    /// What is different in a portfolio, a line each.
    pub(super) fn differences(&self, portfolio: &Portfolio) -> Vec<String> {
        differences(&self.alive, portfolio)
    }
}

async fn sandbox(driver: &Driver, id: &str, metadata: &PodSandboxMetadata) -> Result<Option<Alive>> {
    let Some(found) = driver.pod(id).await? else { return Ok(None) };
    if found.status.state() != PodSandboxState::SandboxReady {
        return Ok(None);
    }
    let mut labels = labels(&found.status.labels, &found.status.annotations, metadata);
    labels.insert("io.kubernetes.sandbox".to_owned(), String::new());
    Ok(Some(Alive {
        name: id.to_owned(),
        pid: pid(&found.info)?,
        paused: false,
        started_at: moment(found.status.created_at),
        labels,
        project: String::new(),
    }))
}

fn running(
    status: &ContainerStatus,
    info: &HashMap<String, String>,
    pod: &PodSandboxMetadata,
) -> Result<Alive> {
    let name = status.metadata.clone().unwrap_or_default().name;
    let mut labels = labels(&status.labels, &status.annotations, pod);
    labels.insert("io.kubernetes.container.name".to_owned(), name.clone());
    Ok(Alive {
        name,
        pid: pid(info)?,
        paused: false,
        started_at: moment(status.started_at),
        labels,
        project: String::new(),
    })
}

fn labels(
    own: &HashMap<String, String>,
    annotations: &HashMap<String, String>,
    pod: &PodSandboxMetadata,
) -> BTreeMap<String, String> {
    let annotations =
        annotations.iter().map(|(key, value)| (format!("io.kubernetes.annotation/{key}"), value));
    let of_pod = [("name", &pod.name), ("namespace", &pod.namespace), ("uid", &pod.uid)];
    let of_pod = of_pod.map(|(key, value)| (format!("io.kubernetes.pod.{key}"), value));
    let own = own.iter().map(|(key, value)| (key.clone(), value));
    own.chain(annotations).chain(of_pod).map(|(key, value)| (key, value.clone())).collect()
}

/// Reads the PID from the JSON of a verbose status.
fn pid(info: &HashMap<String, String>) -> Result<u32> {
    let info = info.get("info").context("the verbose status has no info")?;
    let info: Value = serde_json::from_str(info).context("the info is no JSON")?;
    let pid = info["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    // On 2.1 now and then.
    pid.ok_or_else(|| anyhow!(EngineFailure(format!("the info holds no PID: {info}"))))
}

/// From nanoseconds; 0 is of what never was.
pub(super) fn moment(nanos: i64) -> Option<SystemTime> {
    let nanos = u64::try_from(nanos).ok().filter(|nanos| *nanos > 0)?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
}

impl From<&whalewatcher_core::Container> for Alive {
    fn from(container: &whalewatcher_core::Container) -> Alive {
        let labels = container.labels().iter();
        Alive {
            name: container.name().to_owned(),
            pid: container.pid(),
            paused: container.paused(),
            started_at: container.started_at(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            project: container.project().to_owned(),
        }
    }
}
