//! What is alive according to `docker inspect`, and what has ended according to `docker events`, as a foreign library
//! decodes it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use bollard::models::ContainerInspectResponse;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use whalewatcher_core::{COMPOSE_PROJECT_LABEL, Portfolio};
use whalewatcher_moby::PRIVILEGED_LABEL;

use whalewatcher_drivers::docker::{AT_ONCE, Driver, End};

/// A container, alive or not.
#[derive(Clone, Debug)]
pub(crate) struct Inspected {
    pub(crate) alive: Option<Alive>,
    pub(crate) started_at: Option<SystemTime>,
    pub(crate) finished_at: Option<SystemTime>,
    pub(crate) exit_code: Option<i64>,
}

/// A container that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alive {
    pub(crate) name: String,
    pub(crate) pid: i64,
    pub(crate) paused: bool,
    pub(crate) started_at: Option<SystemTime>,
    labels: BTreeMap<String, String>,
    project: String,
}

/// What the engine says.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    /// Every container by its ID.
    pub(crate) containers: BTreeMap<String, Inspected>,
    /// The ends of lives of which the engine still remembers the events.
    pub(crate) ends: Vec<End>,
}

impl Truth {
    /// Asks for everything. It is the truth if the engine is quiet.
    pub(crate) async fn ask(docker: &Driver) -> Result<Truth> {
        let ids = docker.all().await?;
        let inspected = stream::iter(&ids).map(|id| inspect(docker, id)).buffered(AT_ONCE);
        let inspected: Vec<Option<Inspected>> = inspected.try_collect().await?;
        let there = ids.iter().cloned().zip(inspected);
        let containers = there.filter_map(|(id, inspected)| Some((id, inspected?))).collect();
        Ok(Truth { containers, ends: docker.ends().await? })
    }

    /// What was found by inspecting containers otherwise.
    pub(crate) fn of(inspected: impl IntoIterator<Item = ContainerInspectResponse>) -> Result<Truth> {
        let containers = inspected.into_iter().map(|inspected| {
            let id = inspected.id.clone().context("a container has no ID")?;
            let understood = understood(&id, inspected)?;
            anyhow::Ok((id, understood))
        });
        Ok(Truth { containers: containers.collect::<Result<_>>()?, ends: Vec::new() })
    }

    pub(crate) fn alive(&self) -> impl Iterator<Item = (&str, &Alive)> {
        self.containers.iter().filter_map(|(id, inspected)| Some((id.as_str(), inspected.alive.as_ref()?)))
    }

    /// What is different in a portfolio, a line each.
    pub(crate) fn differences(&self, portfolio: &Portfolio) -> Vec<String> {
        let seen: BTreeMap<&str, Alive> =
            portfolio.containers().map(|container| (&**container.id(), Alive::from(&**container))).collect();
        let truth: BTreeMap<&str, &Alive> = self.alive().collect();
        let mut lines = Vec::new();
        for (id, alive) in &truth {
            match seen.get(id) {
                None => lines.push(format!("{id}: alive, but not in the portfolio: {alive:?}")),
                Some(seen) if seen != *alive => {
                    lines.push(format!("{id}:\n      engine    {alive:?}\n      portfolio {seen:?}"));
                }
                Some(_) => {}
            }
            let by_project = portfolio.project(&alive.project);
            if by_project.is_none_or(|project| project.containers().all(|other| &**other.id() != *id)) {
                lines.push(format!("{id}: not found in project '{}'", alive.project));
            }
            if portfolio.all_by_name(&alive.name).all(|other| &**other.id() != *id) {
                lines.push(format!("{id}: not found by its name '{}'", alive.name));
            }
        }
        for (id, seen) in seen.iter().filter(|(id, _)| !truth.contains_key(*id)) {
            lines.push(format!("{id}: in the portfolio, but not alive: {seen:?}"));
        }
        if portfolio.total() != truth.len() {
            lines.push(format!("{} are alive, but the portfolio counts {}", truth.len(), portfolio.total()));
        }
        lines
    }
}

impl From<&whalewatcher_core::Container> for Alive {
    fn from(container: &whalewatcher_core::Container) -> Alive {
        Alive {
            name: container.name().to_owned(),
            pid: i64::from(container.pid()),
            paused: container.paused(),
            started_at: container.started_at(),
            labels: container
                .labels()
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            project: container.project().to_owned(),
        }
    }
}

/// The container, if it is alive.
pub(crate) async fn alive(docker: &Driver, id: &str) -> Result<Option<Alive>> {
    Ok(inspect(docker, id).await?.and_then(|inspected| inspected.alive))
}

async fn inspect(docker: &Driver, id: &str) -> Result<Option<Inspected>> {
    docker.inspect(id).await?.map(|inspected| understood(id, inspected)).transpose()
}

fn understood(id: &str, inspected: ContainerInspectResponse) -> Result<Inspected> {
    let state = inspected.state.with_context(|| format!("{id} has no state"))?;
    let (started_at, finished_at) = (moment(state.started_at)?, moment(state.finished_at)?);
    let pid = state.pid.unwrap_or_default();
    let alive = (state.running == Some(true) && pid != 0).then(|| {
        let config = inspected.config.unwrap_or_default();
        let mut labels: BTreeMap<String, String> = config.labels.unwrap_or_default().into_iter().collect();
        let project = labels.get(COMPOSE_PROJECT_LABEL).cloned().unwrap_or_default();
        if inspected.host_config.and_then(|host| host.privileged) == Some(true) {
            labels.insert(PRIVILEGED_LABEL.to_owned(), String::new());
        }
        Alive {
            name: inspected.name.unwrap_or_default().trim_start_matches('/').to_owned(),
            pid,
            paused: state.paused == Some(true),
            started_at,
            labels,
            project,
        }
    });
    Ok(Inspected { alive, started_at, finished_at, exit_code: state.exit_code })
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
