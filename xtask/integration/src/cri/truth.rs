//! What is alive according to CRI itself, as a client of its own decodes it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use whalewatcher_drivers::EngineFailure;
use whalewatcher_drivers::api::runtime::v1::{
    ContainerState, ContainerStatus, PodSandboxMetadata, PodSandboxState,
};
use whalewatcher_drivers::cri::{AT_ONCE, Driver};

use crate::truth::{Alive, LastLife, Truth};

/// Asks CRI for everything.
pub(super) async fn ask(driver: &Driver) -> Result<Truth> {
    let mut truth = Truth::default();
    let pods = driver.pods().await?.into_iter();
    let pods: HashMap<String, PodSandboxMetadata> =
        pods.map(|pod| (pod.id, pod.metadata.unwrap_or_default())).collect();
    let sandboxes = stream::iter(&pods).map(async |(id, metadata)| {
        anyhow::Ok(sandbox(driver, id, metadata).await?.map(|alive| (id.clone(), alive)))
    });
    let sandboxes: Vec<_> = sandboxes.buffered(AT_ONCE).try_collect().await?;
    truth.alive.extend(sandboxes.into_iter().flatten());
    let containers = driver.containers().await?;
    let statuses = stream::iter(&containers).map(|container| driver.container(&container.id));
    let statuses: Vec<_> = statuses.buffered(AT_ONCE).try_collect().await?;
    for (container, found) in containers.into_iter().zip(statuses) {
        let Some(found) = found else { continue };
        let status = &found.status;
        match status.state() {
            ContainerState::ContainerRunning => {
                let pod = pods.get(&container.pod_sandbox_id);
                let pod = pod.with_context(|| format!("{} is in no pod", container.id))?;
                truth.alive.insert(container.id, running(status, &found.info, pod)?);
            }
            ContainerState::ContainerExited => {
                let last = LastLife {
                    started_at: moment(status.started_at),
                    finished_at: moment(status.finished_at),
                    exit_code: Some(i64::from(status.exit_code)),
                };
                truth.lives.insert(container.id, last);
            }
            _ => {}
        }
    }
    Ok(truth)
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
        details: None,
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
        details: None,
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
