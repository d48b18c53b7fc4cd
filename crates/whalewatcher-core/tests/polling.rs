//! An engine without events is watched by polling.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on is to panic, also in what tests have in common"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::Instant;
use whalewatcher_core::adapter::poll;
use whalewatcher_core::adapter::{EngineClient, EngineConnection, EngineEvent, Listing, ListingEntry};
use whalewatcher_core::{
    ChangeSource, Container, ContainerId, EngineError, EngineIdentity, ErrorKind, Settings, Unlisted, watch,
};

const EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Default)]
struct Engine(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By ID.
    alive: BTreeMap<String, Container>,
    /// How lists fail.
    failing: Option<ErrorKind>,
    /// The scope that cannot be listed.
    unlisted: Option<&'static str>,
}

/// A change of the engine, and the expected event.
type Step = (fn(&Engine), &'static [&'static str]);

impl Engine {
    fn put(&self, container: Container) {
        self.0.lock().unwrap().alive.insert(container.id().to_string(), container);
    }

    fn remove(&self, id: &str) {
        self.0.lock().unwrap().alive.remove(id);
    }
}

impl EngineClient for Engine {
    type Connection = Self;

    fn engine_type(&self) -> &str {
        "polled"
    }

    fn endpoint(&self) -> &str {
        "memory"
    }

    async fn connect(&self, _: &Settings) -> Result<Self, EngineError> {
        Ok(self.clone())
    }
}

impl EngineConnection for Engine {
    fn identity(&self) -> EngineIdentity {
        EngineIdentity::new(self.engine_type(), self.endpoint())
    }

    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        poll(self, EVERY, 5 * EVERY)
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        let state = self.0.lock().unwrap();
        if let Some(kind) = state.failing {
            return Err(EngineError::new(kind, "no list"));
        }
        let unlisted = state.unlisted.map(|scope| Unlisted {
            scope: scope.to_owned(),
            error: Arc::new(EngineError::new(ErrorKind::Failed, "no scope")),
        });
        let listed =
            state.alive.values().filter(|container| state.unlisted != Some(Self::scope_of(container.id())));
        let mut listing = Listing::from(listed.cloned().map(ListingEntry::Whole).collect::<Vec<_>>());
        listing.unlisted.extend(unlisted);
        Ok(listing)
    }

    fn scope_of(id: &ContainerId) -> &str {
        id.split_once('/').map_or("", |(scope, _)| scope)
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Container>, EngineError> {
        Ok(self.0.lock().unwrap().alive.get(id.as_str()).cloned())
    }
}

#[tokio::test(start_paused = true)]
async fn each_change_is_noticed_within_the_interval_without_drift() {
    let engine = Engine::default();
    engine.put(Container::new("1", "web", 7));
    let watching = watch(engine.clone());
    let status = watching.ready().await.unwrap();
    assert_eq!(status.source, Some(ChangeSource::Polling { every: EVERY }));
    let (_, mut changes) = watching.subscribe();
    let steps: [Step; 6] = [
        (|engine| engine.put(Container::new("2", "db", 8)), &["started container 'db'/2 with PID 8"]),
        (
            |engine| engine.put(Container::new("1", "web", 7).with_paused(true)),
            &["paused paused container 'web'/1 with PID 7"],
        ),
        (|engine| engine.put(Container::new("1", "web", 7)), &["unpaused container 'web'/1 with PID 7"]),
        (|engine| engine.put(Container::new("1", "front", 7)), &["updated container 'front'/1 with PID 7"]),
        (
            |engine| engine.put(Container::new("1", "front", 9)),
            &["exited container 'front'/1 with PID 7", "started container 'front'/1 with PID 9"],
        ),
        (|engine| engine.remove("2"), &["exited container 'db'/2 with PID 8"]),
    ];
    for (change, expected) in steps {
        let began = Instant::now();
        change(&engine);
        for expected in expected {
            assert_eq!(changes.next().await.unwrap().to_string(), *expected);
        }
        assert!(began.elapsed() <= 3 * EVERY, "{expected:?} after {:?}", began.elapsed());
    }
    assert_eq!(watching.status().counters.drifted, 0);
}

#[tokio::test(start_paused = true)]
async fn an_unlisted_scope_keeps_its_containers_and_three_failures_end_the_connection() {
    let engine = Engine::default();
    engine.put(Container::new("a/1", "web", 7));
    let watching = watch(engine.clone());
    watching.ready().await.unwrap();
    let (_, mut changes) = watching.subscribe();
    engine.0.lock().unwrap().unlisted = Some("a");
    tokio::time::sleep(5 * EVERY).await;
    assert_eq!(watching.portfolio().total(), 1);
    engine.0.lock().unwrap().unlisted = None;

    for (kind, least) in [(ErrorKind::Failed, 3), (ErrorKind::Unreachable, 1)] {
        engine.0.lock().unwrap().failing = Some(kind);
        let began = Instant::now();
        assert_eq!(changes.next().await.unwrap().to_string(), "disconnected: no list");
        assert!(began.elapsed() >= (least - 1) * EVERY, "{kind:?} after {:?}", began.elapsed());
        engine.0.lock().unwrap().failing = None;
        watching.ready().await.unwrap();
        assert_eq!(changes.next().await.unwrap().to_string(), "synced, 1 alive");
    }
}
