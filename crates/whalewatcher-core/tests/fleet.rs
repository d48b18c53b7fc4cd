//! A fleet: several engines under one roof.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;
use whalewatcher_core::fleet::{FleetSubscription, JoinError};
use whalewatcher_core::scripted::{Connection, Engine};
use whalewatcher_core::{
    Container, EngineClient, EngineError, EngineWatcher, EventKind, Fleet, Portfolio, WatchError,
};

fn engine(endpoint: &str) -> Engine {
    let engine = Engine::at(endpoint);
    engine.start(Container::new(format!("{endpoint}1"), "web", 1));
    engine
}

/// Folds what happens until a condition is met.
async fn fold_until(
    folds: &mut HashMap<String, Portfolio>,
    changes: &mut FleetSubscription,
    done: impl Fn(&HashMap<String, Portfolio>) -> bool,
) {
    while !done(folds) {
        let next = timeout(Duration::from_secs(60), changes.next()).await.expect("an event");
        let (watcher, event) = next.expect("no end");
        folds.entry(watcher.endpoint().to_owned()).or_default().apply(&event.kind);
    }
}

#[tokio::test(start_paused = true)]
async fn engines_are_watched_side_by_side_and_told_apart() {
    let (one, other) = (engine("one"), engine("other"));
    let fleet = Fleet::new();
    fleet.add(EngineWatcher::new(other.clone())).unwrap();
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    fleet.ready().await.unwrap();
    let endpoints: Vec<_> = fleet.watchers().iter().map(|watcher| watcher.endpoint().to_owned()).collect();
    assert_eq!(endpoints, ["one", "other"]);
    let found = fleet.containers("web");
    assert_eq!(found.iter().map(|(_, found)| found.id().as_str()).collect::<Vec<_>>(), ["one1", "other1"]);
    assert_eq!(fleet.containers("other1").len(), 1);

    let (pictures, mut changes) = fleet.subscribe();
    let mut folds: HashMap<_, _> =
        pictures.into_iter().map(|(watcher, picture)| (watcher.endpoint().to_owned(), picture)).collect();
    one.exit("one1", Some(0));
    other.start(Container::new("other2", "db", 2));
    fold_until(&mut folds, &mut changes, |folds| {
        folds["one"] == one.truth() && folds["other"] == other.truth()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_joins_later_is_followed_from_its_start() {
    let fleet = Fleet::new();
    let (pictures, mut changes) = fleet.subscribe();
    assert!(pictures.is_empty() && changes.next().now_or_never().is_none());
    let late = engine("late");
    let watcher = fleet.add(EngineWatcher::new(late.clone())).unwrap();
    watcher.ready().await.unwrap();
    let kinds =
        [changes.next().await.unwrap(), changes.next().await.unwrap()].map(|(_, event)| event.kind.name());
    assert_eq!(kinds, ["started", "synced"]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_watched_once_and_can_come_back_after_it_was_removed() {
    let one = engine("one");
    let fleet = Fleet::new();
    let watcher = fleet.add(EngineWatcher::new(one.clone())).unwrap();
    let again = fleet.add(EngineWatcher::new(one.clone()));
    assert!(matches!(again, Err(JoinError::AlreadyThere { endpoint }) if endpoint == "one"));
    let (_, mut changes) = fleet.subscribe();
    assert!(fleet.remove("one") && !fleet.remove("one"));
    assert!(matches!(watcher.ready().await, Err(WatchError::Closed)));
    one.asked(|calls| calls.open == 0).await;
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    let (_, event) = timeout(Duration::from_secs(60), changes.next()).await.expect("an event").unwrap();
    assert!(matches!(event.kind, EventKind::Started(_)));
}

/// Another API of the engine, on the same socket.
struct OtherApi(Engine);

impl EngineClient for OtherApi {
    type Connection = Connection;

    fn engine_type(&self) -> &str {
        "another"
    }

    fn endpoint(&self) -> &str {
        self.0.endpoint()
    }

    async fn connect(&self) -> Result<Connection, EngineError> {
        self.0.connect().await
    }
}

#[tokio::test(start_paused = true)]
async fn two_apis_on_one_socket_are_two_members() {
    let one = engine("one");
    let fleet = Fleet::new();
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    fleet.add(EngineWatcher::new(OtherApi(one.clone()))).unwrap();
    assert!(fleet.add(EngineWatcher::new(OtherApi(one.clone()))).is_err());
    fleet.ready().await.unwrap();
    let types = |fleet: &Fleet| -> Vec<_> {
        fleet.watchers().iter().map(|watcher| watcher.engine_type().to_owned()).collect()
    };
    assert_eq!(types(&fleet), ["another", "scripted"]);
    assert_eq!(fleet.containers("web").len(), 2);
    let elsewhere = engine("other");
    fleet.add(EngineWatcher::new(elsewhere)).unwrap();
    assert!(fleet.remove("one") && !fleet.remove("one"));
    assert_eq!(fleet.watchers().iter().map(|watcher| watcher.endpoint()).collect::<Vec<_>>(), ["other"]);
    one.asked(|calls| calls.open == 0).await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_fleet_ends_all() {
    let one = engine("one");
    let fleet = Fleet::new();
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    fleet.ready().await.unwrap();
    let (_, mut changes) = fleet.subscribe();
    drop(fleet);
    assert!(changes.next().await.is_none());
    one.asked(|calls| calls.open == 0).await;
}
