//! The promises of a watcher, tested against a scripted engine with a paused clock: time passes only while
//! all tasks wait.

mod audits;
mod connections;
mod early;
mod endings;
mod followers;
mod inspections;
mod listings;
mod lives;
mod ready;
mod rucksacks;
mod subscribers;
mod witness;

use std::time::Duration;

use tokio::time::timeout;
use whalewatcher_core::scripted::Engine;
use whalewatcher_core::{Container, Event, EventKind, Portfolio, Subscription, WatchHandle, watch};

fn container(id: &str, pid: u32) -> Container {
    Container::new(id, format!("name of {id}"), pid)
}

/// Returns an engine with these containers, and a live watcher of it.
async fn live(ids: &[&str]) -> (Engine, WatchHandle<Engine>) {
    let engine = Engine::new();
    for (nth, id) in ids.iter().enumerate() {
        engine.start(container(id, 100 + nth as u32));
    }
    let watching = watch(engine.clone());
    watching.ready().await.expect("a scripted engine answers");
    (engine, watching)
}

/// Returns an event in short: its name and the ID of its container, if any.
fn short(event: &Event) -> String {
    let id = event.container().map(|container| format!(" {}", container.id()));
    format!("{}{}", event.kind.name(), id.unwrap_or_default())
}

/// Returns the next event, which must come.
async fn event(changes: &mut Subscription) -> Event {
    let event = timeout(Duration::from_secs(600), changes.next()).await;
    event.expect("an event").expect("no end")
}

/// Returns the next events in short.
async fn next(changes: &mut Subscription, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(short(&event(changes).await));
    }
    events
}

/// Folds all events until the next `Synced`, and returns them in short.
async fn until_synced(fold: &mut Portfolio, changes: &mut Subscription) -> Vec<String> {
    let mut events = Vec::new();
    loop {
        let event = event(changes).await;
        fold.apply(&event.kind);
        events.push(short(&event));
        if matches!(event.kind, EventKind::Synced { .. }) {
            return events;
        }
    }
}
