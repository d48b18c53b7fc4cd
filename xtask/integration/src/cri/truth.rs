//! What is alive according to CRI itself, as a client of its own decodes it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use whalewatcher_drivers::EngineFailure;
use whalewatcher_drivers::api::runtime::v1::{
    ContainerState, ContainerStatus, PodSandboxMetadata, PodSandboxNetworkStatus, PodSandboxState,
};
use whalewatcher_drivers::cri::{AT_ONCE, Driver};

use crate::truth::{Address, Alive, Details, LastLife, Truth};

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
    let sandboxes: HashMap<String, Alive> = sandboxes.into_iter().flatten().collect();
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
                let sandbox = sandboxes.get(&container.pod_sandbox_id);
                truth.alive.insert(container.id, running(status, &found.info, pod, sandbox)?);
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
    truth.alive.extend(sandboxes);
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
        details: Some(Details {
            image: image(&found.info)?.map(|image| (image, None)),
            created_at: moment(found.status.created_at),
            networks: networks(found.status.network.as_ref())?,
            ..Details::default()
        }),
    }))
}

fn running(
    status: &ContainerStatus,
    info: &HashMap<String, String>,
    pod: &PodSandboxMetadata,
    sandbox: Option<&Alive>,
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
        details: Some(Details {
            image: status.image.as_ref().map(|image| (image.image.clone(), Some(status.image_ref.clone()))),
            created_at: moment(status.created_at),
            restart_count: status.metadata.as_ref().map(|metadata| metadata.attempt),
            networks: sandbox.and_then(|sandbox| sandbox.details.clone()).unwrap_or_default().networks,
            ..Details::default()
        }),
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

/// Reads the image of a sandbox from the JSON of a verbose status.
fn image(info: &HashMap<String, String>) -> Result<Option<String>> {
    let info = info.get("info").context("the verbose status has no info")?;
    let info: Value = serde_json::from_str(info).context("the info is no JSON")?;
    Ok(info["image"].as_str().filter(|image| !image.is_empty()).map(str::to_owned))
}

/// The addresses of a sandbox, in a network without a name.
fn networks(reported: Option<&PodSandboxNetworkStatus>) -> Result<Vec<Address>> {
    let Some(reported) = reported.filter(|reported| !reported.ip.is_empty()) else { return Ok(Vec::new()) };
    let additional = reported.additional_ips.iter().map(|additional| &additional.ip);
    let addresses: Vec<IpAddr> =
        std::iter::once(&reported.ip).chain(additional).map(|ip| ip.parse()).collect::<Result<_, _>>()?;
    let (mut ipv4, mut ipv6) = (None, None);
    for address in addresses {
        match address {
            IpAddr::V4(address) => ensure!(ipv4.replace(address).is_none(), "two addresses: {reported:?}"),
            IpAddr::V6(address) => ensure!(ipv6.replace(address).is_none(), "two addresses: {reported:?}"),
        }
    }
    Ok(vec![(String::new(), ipv4, ipv6)])
}

/// From nanoseconds; 0 is of what never was.
pub(super) fn moment(nanos: i64) -> Option<SystemTime> {
    let nanos = u64::try_from(nanos).ok().filter(|nanos| *nanos > 0)?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
}
