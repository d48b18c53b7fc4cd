//! What is alive according to `docker inspect`, and what has ended according to `docker events`, as a foreign library
//! decodes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use bollard::models::{ContainerInspectResponse, ContainerState, NetworkSettings, PortMap};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use whalewatcher_core::COMPOSE_PROJECT_LABEL;
use whalewatcher_drivers::docker::{AT_ONCE, Driver};
use whalewatcher_moby::PRIVILEGED_LABEL;

use crate::truth::{Alive, Details, LastLife, Truth};

/// Asks dockerd for everything.
pub(crate) async fn ask(docker: &Driver) -> Result<Truth> {
    let ids = docker.all().await?;
    let inspected = stream::iter(&ids).map(|id| docker.inspect(id)).buffered(AT_ONCE);
    let inspected: Vec<_> = inspected.try_collect().await?;
    let truth = of(inspected.into_iter().flatten())?;
    Ok(Truth { ends: docker.ends().await?, ..truth })
}

/// What was found by inspecting containers.
pub(crate) fn of(inspected: impl IntoIterator<Item = ContainerInspectResponse>) -> Result<Truth> {
    let mut truth = Truth::default();
    for inspected in inspected {
        let id = inspected.id.clone().context("a container has no ID")?;
        let (alive, last) = understood(&id, inspected)?;
        truth.alive.extend(alive.map(|alive| (id.clone(), alive)));
        truth.lives.insert(id, last);
    }
    Ok(truth)
}

/// The container, if it is alive.
pub(crate) async fn alive(docker: &Driver, id: &str) -> Result<Option<Alive>> {
    let Some(inspected) = docker.inspect(id).await? else { return Ok(None) };
    Ok(understood(id, inspected)?.0)
}

fn understood(id: &str, inspected: ContainerInspectResponse) -> Result<(Option<Alive>, LastLife)> {
    let state = inspected.state.with_context(|| format!("{id} has no state"))?;
    let (started_at, finished_at) = (moment(state.started_at.clone())?, moment(state.finished_at.clone())?);
    let pid = u32::try_from(state.pid.unwrap_or_default())?;
    let alive = state.running == Some(true) && pid != 0;
    let alive = alive.then(|| {
        let config = inspected.config.unwrap_or_default();
        let networks = inspected.network_settings.unwrap_or_default();
        let details = Details {
            image: config.image.map(|name| (name, inspected.image)),
            created_at: moment(inspected.created)?,
            restart_count: inspected.restart_count.map(u32::try_from).transpose()?,
            health: health(&state),
            networks: networks_of(&networks)?,
            ports: ports(networks.ports.unwrap_or_default())?,
        };
        let mut labels: BTreeMap<String, String> = config.labels.unwrap_or_default().into_iter().collect();
        let project = labels.get(COMPOSE_PROJECT_LABEL).cloned().unwrap_or_default();
        if inspected.host_config.and_then(|host| host.privileged) == Some(true) {
            labels.insert(PRIVILEGED_LABEL.to_owned(), String::new());
        }
        anyhow::Ok(Alive {
            name: inspected.name.unwrap_or_default().trim_start_matches('/').to_owned(),
            pid,
            paused: state.paused == Some(true),
            started_at,
            labels,
            project,
            details: Some(details),
        })
    });
    Ok((alive.transpose()?, LastLife { started_at, finished_at, exit_code: state.exit_code }))
}

/// podman has an empty health without a healthcheck.
fn health(state: &ContainerState) -> Option<String> {
    let health = state.health.as_ref()?.status?.to_string();
    Some(health).filter(|health| !["", "none"].contains(&health.as_str()))
}

/// A network's name, and the addresses in it.
type Addresses = (String, Option<Ipv4Addr>, Option<Ipv6Addr>);

fn networks_of(settings: &NetworkSettings) -> Result<Vec<Addresses>> {
    let networks: BTreeMap<_, _> = settings.networks.iter().flatten().collect();
    let networks = networks.into_iter().map(|(name, endpoint)| {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let ipv4 = text(&endpoint.ip_address).map(|text| text.parse()).transpose()?;
        let ipv6 = text(&endpoint.global_ipv6_address).map(|text| text.parse()).transpose()?;
        Ok((name.clone(), ipv4, ipv6))
    });
    networks.collect()
}

fn ports(ports: PortMap) -> Result<BTreeSet<String>> {
    let mut shown = BTreeSet::new();
    for (port, bindings) in ports {
        let bindings = bindings.unwrap_or_default();
        if bindings.is_empty() {
            shown.insert(port.clone());
        }
        for binding in bindings {
            let public = binding.host_port.with_context(|| format!("{port} is bound to no port"))?;
            shown.insert(match binding.host_ip.unwrap_or_default().parse()? {
                IpAddr::V4(address) => format!("{address}:{public}->{port}"),
                IpAddr::V6(address) => format!("[{address}]:{public}->{port}"),
            });
        }
    }
    Ok(shown)
}

/// The engine says year 1 of what never was.
fn moment(text: Option<String>) -> Result<Option<SystemTime>> {
    let Some(text) = text else { return Ok(None) };
    let moment: Timestamp = text.parse().with_context(|| format!("'{text}' is no time"))?;
    if moment <= Timestamp::UNIX_EPOCH {
        return Ok(None);
    }
    Ok(Some(SystemTime::try_from(moment)?))
}
