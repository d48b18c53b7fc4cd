//! What is alive according to `ctr`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use whalewatcher_core::COMPOSE_PROJECT_LABEL;
use whalewatcher_drivers::api::containerd::services::containers::v1::Container;
use whalewatcher_drivers::containerd::{Driver, join};
use xtask::engines::PrivateEngine;

use super::fixture::ctr;
use crate::truth::{Alive, Details, Truth};

/// Namespaces that belong to others.
pub(super) const OTHERS: [&str; 2] = ["moby", "k8s.io"];

/// One line of `ctr tasks list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) pid: u32,
    pub(super) status: String,
}

/// Asks `ctr` for everything but what is in these namespaces.
pub(crate) async fn ask(engine: &PrivateEngine, driver: &Driver, ignored: &[&str]) -> Result<Truth> {
    let listed = ctr(engine, "default", &["namespaces", "list", "--quiet"]).await?;
    let mut truth = Truth::default();
    for namespace in listed.lines().map(str::trim).filter(|name| !ignored.contains(name)) {
        let tasks = tasks(engine, namespace).await?;
        let is_alive = |task: &&Task| matches!(task.status.as_str(), "RUNNING" | "PAUSED");
        if !tasks.iter().any(|task| is_alive(&task)) {
            continue;
        }
        // Their labels are in no list of `ctr`.
        let containers = driver.list(namespace).await?;
        let containers: BTreeMap<String, Container> =
            containers.into_iter().map(|container| (container.id.clone(), container)).collect();
        for task in tasks.iter().filter(is_alive) {
            // A task whose container was deleted does not count.
            let Some(container) = containers.get(&task.id) else { continue };
            let labels: BTreeMap<_, _> = container.labels.clone().into_iter().collect();
            let name = labels.get("nerdctl/name").unwrap_or(&task.id);
            let alive = Alive {
                name: join(namespace, name),
                pid: task.pid,
                paused: task.status == "PAUSED",
                started_at: None,
                project: labels.get(COMPOSE_PROJECT_LABEL).cloned().unwrap_or_default(),
                labels,
                details: Some(details(container)?),
            };
            truth.alive.insert(join(namespace, &task.id), alive);
        }
    }
    Ok(truth)
}

fn details(container: &Container) -> Result<Details> {
    let image = Some(container.image.clone()).filter(|image| !image.is_empty());
    let created_at = container.created_at.map(SystemTime::try_from).transpose()?;
    Ok(Details { image: image.map(|image| (image, None)), created_at, ..Details::default() })
}

/// The tasks of a namespace, alive or not.
pub(super) async fn tasks(engine: &PrivateEngine, namespace: &str) -> Result<Vec<Task>> {
    let listed = ctr(engine, namespace, &["tasks", "list"]).await?;
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
