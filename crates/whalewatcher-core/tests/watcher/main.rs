//! The promises of a watcher, kept against a scripted engine with the clock paused: time passes only while all wait.

mod audits;
mod connections;
mod endings;
mod inspections;
mod listings;
mod lives;
mod ready;
mod subscribers;

use std::time::Duration;

use tokio::time::timeout;
use whalewatcher_core::scripted::Engine;
use whalewatcher_core::{Container, Event, EventKind, Portfolio, Subscription, WatchHandle, watch};

fn container(id: &str, pid: u32) -> Container {
    Container::new(id, format!("name of {id}"), pid)
}

/// An engine with these containers, and a watcher of it that is live.
async fn live(ids: &[&str]) -> (Engine, WatchHandle<Engine>) {
    let engine = Engine::new();
    for (nth, id) in ids.iter().enumerate() {
        engine.start(container(id, 100 + nth as u32));
    }
    let watching = watch(engine.clone());
    watching.ready().await.expect("a scripted engine answers");
    (engine, watching)
}

/// An event in short: its name and the container's ID, if it is about one.
fn short(event: &Event) -> String {
    let id = event.container().map(|container| format!(" {}", container.id()));
    format!("{}{}", event.kind.name(), id.unwrap_or_default())
}

/// The next event, which must come some time.
async fn event(changes: &mut Subscription) -> Event {
    let event = timeout(Duration::from_secs(600), changes.next()).await;
    event.expect("an event").expect("no end")
}

/// The next events in short.
async fn next(changes: &mut Subscription, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(short(&event(changes).await));
    }
    events
}

/// Folds all that has happened until the next time that the watcher is synced; what it was, in short.
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
