//! What is alive according to the engine, as others than the client under test decode it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use whalewatcher_core::{Container, PRIVILEGED_LABEL, Portfolio};
use whalewatcher_drivers::docker::End;

/// A container that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alive {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) paused: bool,
    /// `None` if the engine does not report it.
    pub(crate) started_at: Option<SystemTime>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) project: String,
    /// Not compared where `None`.
    pub(crate) details: Option<Details>,
}

/// What an engine may report of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Details {
    /// Its name and ID.
    pub(crate) image: Option<(String, Option<String>)>,
    pub(crate) created_at: Option<SystemTime>,
    pub(crate) restart_count: Option<u32>,
    pub(crate) health: Option<String>,
    pub(crate) networks: Vec<Address>,
    /// As `docker ps` writes them.
    pub(crate) ports: BTreeSet<String>,
}

/// A network's name, and the addresses there.
pub(crate) type Address = (String, Option<Ipv4Addr>, Option<Ipv6Addr>);

/// What the engine remembers of a container's last life.
#[derive(Clone, Debug)]
pub(crate) struct LastLife {
    pub(crate) started_at: Option<SystemTime>,
    pub(crate) finished_at: Option<SystemTime>,
    pub(crate) exit_code: Option<i64>,
}

/// What the engine says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    /// What is alive, by its ID.
    pub(crate) alive: BTreeMap<String, Alive>,
    /// The last lives of containers, by their ID: of those that have ended, on Docker of all.
    pub(crate) lives: BTreeMap<String, LastLife>,
    /// The ends of lives of which the engine still remembers the events.
    pub(crate) ends: Vec<End>,
    /// Whether a container may also be as podman's own list shows it.
    pub(crate) may_be_listed: bool,
}

impl Truth {
    /// What is different in a portfolio, a line each.
    pub(crate) fn differences(&self, portfolio: &Portfolio) -> Vec<String> {
        let seen: BTreeMap<&str, Alive> =
            portfolio.containers().map(|container| (&**container.id(), Alive::from(&**container))).collect();
        let mut lines = Vec::new();
        for (id, alive) in &self.alive {
            match seen.get(id.as_str()) {
                None => lines.push(format!("{id}: alive, but not in the portfolio: {alive:?}")),
                Some(seen) if *seen != as_compared(alive, seen) && !self.is_listed_as(alive, seen) => {
                    lines.push(format!("{id}:\n      engine    {alive:?}\n      portfolio {seen:?}"));
                }
                Some(_) => {}
            }
            let by_project = portfolio.project(&alive.project);
            if by_project.is_none_or(|project| project.containers().all(|other| &**other.id() != id)) {
                lines.push(format!("{id}: not found in project '{}'", alive.project));
            }
            if portfolio.all_by_name(&alive.name).all(|other| &**other.id() != id) {
                lines.push(format!("{id}: not found by its name '{}'", alive.name));
            }
        }
        for (id, seen) in seen.iter().filter(|(id, _)| !self.alive.contains_key(**id)) {
            lines.push(format!("{id}: in the portfolio, but not alive: {seen:?}"));
        }
        if portfolio.total() != self.alive.len() {
            lines.push(format!(
                "{} are alive, but the portfolio counts {}",
                self.alive.len(),
                portfolio.total()
            ));
        }
        lines
    }
}

impl Truth {
    /// Whether a container is seen as podman's own list shows it: started to the second, and never restarted
    /// nor privileged as far as it says, and without addresses.
    fn is_listed_as(&self, alive: &Alive, seen: &Alive) -> bool {
        let Some(details) = alive.details.clone().filter(|_| self.may_be_listed) else { return false };
        let networks = details.networks.into_iter().map(|(name, ..)| (name, None, None)).collect();
        let started_at = alive.started_at.and_then(|at| {
            Some(
                SystemTime::UNIX_EPOCH
                    + Duration::from_secs(at.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs()),
            )
        });
        let mut labels = alive.labels.clone();
        labels.remove(PRIVILEGED_LABEL);
        let details = Some(Details { restart_count: None, networks, ..details });
        *seen == Alive { started_at, labels, details, ..alive.clone() }
    }
}

/// What is alive, with the details of what is seen where they are not compared.
fn as_compared(alive: &Alive, seen: &Alive) -> Alive {
    let details = alive.details.clone().or_else(|| seen.details.clone());
    Alive { details, ..alive.clone() }
}

impl From<&Container> for Alive {
    fn from(container: &Container) -> Alive {
        let labels = container.labels().iter();
        Alive {
            name: container.name().to_owned(),
            pid: container.pid(),
            paused: container.paused(),
            started_at: container.started_at(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            project: container.project().to_owned(),
            details: Some(Details::from(container)),
        }
    }
}

impl From<&Container> for Details {
    fn from(container: &Container) -> Details {
        let image = container.image();
        let networks = container.networks().iter();
        Details {
            image: image.map(|image| (image.name().to_owned(), image.id().map(str::to_owned))),
            created_at: container.created_at(),
            restart_count: container.restart_count(),
            health: container.health().map(|health| health.to_string()),
            networks: networks
                .map(|network| (network.name().to_owned(), network.ipv4(), network.ipv6()))
                .collect(),
            ports: container.ports().iter().map(ToString::to_string).collect(),
        }
    }
}
