//! What is alive according to `ctr`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use whalewatcher_core::{COMPOSE_PROJECT_LABEL, Portfolio};

use super::fixture::ContainerdFixture;
use crate::comparison::differences;
use crate::fixture::Fixture as _;
use whalewatcher_drivers::api::containerd::services::containers::v1::Container;
use whalewatcher_drivers::containerd::join;

/// Namespaces that belong to others.
const OTHERS: [&str; 2] = ["moby", "k8s.io"];

/// A container that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alive {
    name: String,
    pid: u32,
    paused: bool,
    labels: BTreeMap<String, String>,
    project: String,
    image: Option<String>,
    created_at: Option<SystemTime>,
}

/// What is alive, by its key.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    pub(super) alive: BTreeMap<String, Alive>,
}

/// One line of `ctr tasks list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) pid: u32,
    pub(super) status: String,
}

impl Truth {
    /// Asks for everything. It is the truth if the engine is quiet.
    pub(super) async fn ask(fixture: &ContainerdFixture) -> Result<Truth> {
        let listed = fixture.ctr("default", &["namespaces", "list", "--quiet"]).await?;
        let mut alive = BTreeMap::new();
        for namespace in listed.lines().map(str::trim).filter(|name| !OTHERS.contains(name)) {
            let tasks = tasks(fixture, namespace).await?;
            let is_alive = |task: &&Task| matches!(task.status.as_str(), "RUNNING" | "PAUSED");
            if !tasks.iter().any(|task| is_alive(&task)) {
                continue;
            }
            // Their labels are in no list of `ctr`.
            let containers = fixture.driver().await?.list(namespace).await?;
            let containers: BTreeMap<String, Container> =
                containers.into_iter().map(|container| (container.id.clone(), container)).collect();
            for task in tasks.iter().filter(is_alive) {
                // A task whose container was deleted does not count.
                let Some(container) = containers.get(&task.id) else { continue };
                let labels: BTreeMap<_, _> = container.labels.clone().into_iter().collect();
                let name = labels.get("nerdctl/name").unwrap_or(&task.id);
                let alive_one = Alive {
                    name: join(namespace, name),
                    pid: task.pid,
                    paused: task.status == "PAUSED",
                    project: labels.get(COMPOSE_PROJECT_LABEL).cloned().unwrap_or_default(),
                    labels,
                    image: Some(container.image.clone()).filter(|image| !image.is_empty()),
                    created_at: container.created_at.map(SystemTime::try_from).transpose()?,
                };
                alive.insert(join(namespace, &task.id), alive_one);
            }
        }
        Ok(Truth { alive })
    }

    /// What is different in a portfolio, a line each.
    pub(super) fn differences(&self, portfolio: &Portfolio) -> Vec<String> {
        differences(&self.alive, portfolio)
    }
}

/// The tasks of a namespace, alive or not.
pub(super) async fn tasks(fixture: &ContainerdFixture, namespace: &str) -> Result<Vec<Task>> {
    let listed = fixture.ctr(namespace, &["tasks", "list"]).await?;
    let mut lines = listed.lines();
    let heading: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    ensure!(heading == ["TASK", "PID", "STATUS"], "ctr lists tasks otherwise: {heading:?}");
    lines.map(|line| task(line).with_context(|| format!("no task: {line}"))).collect()
}

fn task(line: &str) -> Option<Task> {
    let mut words = line.split_whitespace();
    let (id, pid, status) = (words.next()?, words.next()?, words.next()?);
    Some(Task { id: id.to_owned(), pid: pid.parse().ok()?, status: status.to_owned() })
}

impl From<&whalewatcher_core::Container> for Alive {
    fn from(container: &whalewatcher_core::Container) -> Alive {
        let labels = container.labels().iter();
        Alive {
            name: container.name().to_owned(),
            pid: container.pid(),
            paused: container.paused(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            project: container.project().to_owned(),
            image: container.image().map(|image| image.name().to_owned()),
            created_at: container.created_at(),
        }
    }
}
