//! Fleets of several engines.

use std::time::Duration;

use tokio::time::timeout;
use whalewatcher_core::fleet::{FleetEvent, FleetPortfolio, FleetSubscription};
use whalewatcher_core::scripted::Engine;
use whalewatcher_core::{Container, EngineKey, Fleet};

mod histories;
mod members;
mod sharing;

/// A limit that is reached only by what never happens.
const LIMIT: Duration = Duration::from_secs(60);

fn key(endpoint: &str) -> EngineKey {
    EngineKey::new("scripted", endpoint)
}

fn engine(endpoint: &str) -> Engine {
    let engine = Engine::at(endpoint);
    engine.start(Container::new(format!("{endpoint}1"), "web", 1));
    engine
}

/// A subscriber with the fold of its events.
struct Subscriber {
    fold: FleetPortfolio,
    changes: FleetSubscription,
}

impl Subscriber {
    fn new(fleet: &Fleet) -> Self {
        let (fold, changes) = fleet.subscribe();
        Self { fold, changes }
    }

    /// Returns the next event, folded.
    async fn next(&mut self) -> FleetEvent {
        let event = timeout(LIMIT, self.changes.next()).await.expect("an event").expect("no end");
        self.fold.apply(&event);
        event
    }

    /// Returns events, each as its name with the ID of its container or the endpoint of its engine, until the
    /// last one is that.
    async fn until(&mut self, last: &str) -> Vec<String> {
        let mut all = Vec::new();
        while all.last().is_none_or(|text| text != last) {
            let FleetEvent { key, event, .. } = self.next().await;
            let about = event.container().map_or(key.endpoint(), |container| container.id().as_str());
            all.push(format!("{} {about}", event.kind.name()));
        }
        all
    }
}
