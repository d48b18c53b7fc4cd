//! A fleet of several engines.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::fleet::{FleetSubscription, JoinError};
use whalewatcher_core::scripted::{Connection, Engine};
use whalewatcher_core::{
    Backoff, Container, EngineError, EngineKey, EngineWatcher, ErrorKind, EventKind, Fleet, Portfolio,
    Settings, WatchError, Watcher,
};

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

/// Folds events until a condition holds.
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
async fn engines_are_watched_side_by_side() {
    let (one, other) = (engine("one"), engine("other"));
    let fleet = Fleet::new();
    fleet.add(EngineWatcher::new(other.clone())).unwrap();
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    let ready = fleet.ready(LIMIT).await;
    assert_eq!((ready.ready.len(), ready.is_complete()), (2, true));
    let endpoints: Vec<_> = fleet.watchers().iter().map(|watcher| watcher.endpoint().to_owned()).collect();
    assert_eq!(endpoints, ["one", "other"]);
    let found = fleet.containers("web");
    assert_eq!(found.iter().map(|(_, found)| found.id().as_str()).collect::<Vec<_>>(), ["one1", "other1"]);
    assert_eq!(fleet.containers("other1").len(), 1);

    let (portfolios, mut changes) = fleet.subscribe();
    let mut folds: HashMap<_, _> = portfolios
        .into_iter()
        .map(|(watcher, portfolio)| (watcher.endpoint().to_owned(), portfolio))
        .collect();
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
    let (portfolios, mut changes) = fleet.subscribe();
    assert!(portfolios.is_empty() && changes.next().now_or_never().is_none());
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
    assert!(matches!(again, Err(JoinError::AlreadyThere { key: known }) if known == key("one")));
    let (_, mut changes) = fleet.subscribe();
    assert!(fleet.remove(&key("one")) && !fleet.remove(&key("one")));
    assert!(matches!(watcher.ready().await, Err(WatchError::Closed)));
    one.asked(|calls| calls.open == 0).await;
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    let (_, event) = timeout(Duration::from_secs(60), changes.next()).await.expect("an event").unwrap();
    assert!(matches!(event.kind, EventKind::Started(_)));
}

#[tokio::test(start_paused = true)]
async fn a_removed_engine_exits_before_its_successor_starts() {
    let (one, other) = (engine("one"), engine("other"));
    one.start(Container::new("one2", "db", 2));
    let fleet = Fleet::new();
    for engine in [&one, &other] {
        fleet.add(EngineWatcher::new(engine.clone())).unwrap();
    }
    assert!(fleet.ready(LIMIT).await.is_complete());
    let (portfolios, mut changes) = fleet.subscribe();
    let mut folds: HashMap<_, _> = portfolios
        .into_iter()
        .map(|(watcher, portfolio)| (watcher.endpoint().to_owned(), portfolio))
        .collect();
    one.exit("one2", Some(0));
    assert!(fleet.remove(&key("one")));
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    assert!(fleet.ready(LIMIT).await.is_complete());
    let mut reported = Vec::new();
    while !reported.contains(&"synced one".to_owned()) {
        let (watcher, event) = timeout(LIMIT, changes.next()).await.expect("an event").expect("no end");
        let about = event.container().map_or(watcher.endpoint(), |container| container.id().as_str());
        reported.push(format!("{} {about}", event.kind.name()));
        folds.entry(watcher.endpoint().to_owned()).or_default().apply(&event.kind);
        if event.kind.name() == "exited" {
            assert!(event.engine.is_some(), "{event}");
        }
    }
    reported.sort();
    assert_eq!(reported, ["exited one1", "exited one2", "started one1", "synced one"]);
    assert_eq!((&folds["one"], &folds["other"]), (&one.truth(), &other.truth()));
    assert!(fleet.remove(&key("one")) && fleet.remove(&key("other")));
    fold_until(&mut folds, &mut changes, |folds| folds.values().all(|fold| fold.total() == 0)).await;
    assert!(changes.next().now_or_never().is_none(), "others may join");
    fleet.close();
    assert!(changes.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_closed_member_that_is_removed_exits() {
    let one = engine("one");
    let fleet = Fleet::new();
    let watcher = fleet.add(EngineWatcher::new(one.clone())).unwrap();
    assert!(fleet.ready(LIMIT).await.is_complete());
    let (_, mut changes) = fleet.subscribe();
    watcher.close();
    assert!(changes.next().now_or_never().is_none());
    assert!(fleet.remove(&key("one")));
    assert_eq!(changes.next().await.expect("an event").1.kind.name(), "exited");
}

#[tokio::test(start_paused = true)]
async fn an_absent_engine_delays_no_other_and_has_a_reason() {
    let (one, absent, failed) = (engine("one"), engine("absent"), engine("failed"));
    absent.refuse(ErrorKind::Unreachable, "nothing there");
    failed.refuse(ErrorKind::PermissionDenied, "not yours");
    let fleet = Fleet::new();
    let (_, mut changes) = fleet.subscribe();
    for engine in [&one, &absent] {
        fleet.add(EngineWatcher::new(engine.clone())).unwrap();
    }
    let settings = Settings::default().with_backoff(Backoff::default().with_attempts(2));
    fleet.add(EngineWatcher::with_settings(failed.clone(), settings)).unwrap();
    let ready = fleet.ready(LIMIT).await;
    assert_eq!(ready.ready.iter().map(|(watcher, _)| watcher.endpoint()).collect::<Vec<_>>(), ["one"]);
    let reasons = ready.not_ready.iter().map(|(watcher, reason)| format!("{}: {reason}", watcher.endpoint()));
    let reasons: Vec<_> = reasons.collect();
    assert!(reasons[0].starts_with("absent: not ready yet: "), "{reasons:?}");
    assert_eq!(reasons[1..], ["failed: gave up: not yours"]);
    let mut reported = Vec::new();
    while let Some(Some((watcher, event))) = changes.next().now_or_never() {
        reported.extend((watcher.endpoint() == "failed").then(|| event.to_string()));
    }
    assert_eq!(reported, ["disconnected: not yours", "disconnected: gave up: not yours"]);
}

/// Another API of the engine on the same socket.
struct OtherApi(Engine);

impl EngineClient for OtherApi {
    type Connection = Connection;

    fn engine_type(&self) -> &str {
        "another"
    }

    fn endpoint(&self) -> &str {
        self.0.endpoint()
    }

    async fn connect(&self, settings: &Settings) -> Result<Connection, EngineError> {
        self.0.connect(settings).await
    }
}

#[tokio::test(start_paused = true)]
async fn two_apis_on_one_socket_are_two_members() {
    let one = engine("one");
    let fleet = Fleet::new();
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    fleet.add(EngineWatcher::new(OtherApi(one.clone()))).unwrap();
    assert!(fleet.add(EngineWatcher::new(OtherApi(one.clone()))).is_err());
    assert!(fleet.ready(LIMIT).await.is_complete());
    let types = |fleet: &Fleet| -> Vec<_> {
        fleet.watchers().iter().map(|watcher| watcher.engine_type().to_owned()).collect()
    };
    assert_eq!(types(&fleet), ["another", "scripted"]);
    assert_eq!(fleet.containers("web").len(), 2);
    let elsewhere = engine("other");
    fleet.add(EngineWatcher::new(elsewhere)).unwrap();
    assert!(fleet.remove(&key("one")) && !fleet.remove(&key("one")));
    let left: Vec<_> = fleet.watchers().iter().map(|watcher| watcher.key().to_string()).collect();
    assert_eq!(left, ["another at one", "scripted at other"]);
    assert!(fleet.remove(&EngineKey::new("another", "one")));
    one.asked(|calls| calls.open == 0).await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_fleet_ends_all() {
    let one = engine("one");
    let fleet = Fleet::new();
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    assert!(fleet.ready(LIMIT).await.is_complete());
    let (_, mut changes) = fleet.subscribe();
    drop(fleet);
    assert!(changes.next().await.is_none());
    one.asked(|calls| calls.open == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_fleet_can_be_used_again() {
    let fleet = Fleet::new();
    fleet.add(EngineWatcher::new(engine("one"))).unwrap();
    let (_, mut before) = fleet.subscribe();
    fleet.close();
    while timeout(LIMIT, before.next()).await.expect("an end").is_some() {}

    let watcher = fleet.add(EngineWatcher::new(engine("one"))).unwrap();
    watcher.ready().await.unwrap();
    let (now, mut changes) = fleet.subscribe();
    assert_eq!(now[0].1.total(), 1);
    watcher.close();
    assert!(changes.next().now_or_never().is_none(), "the watcher is closed, but not removed");
    assert!(fleet.remove(&key("one")));
    let (_, exited) = timeout(LIMIT, changes.next()).await.expect("an event").expect("no end");
    assert_eq!(exited.kind.name(), "exited");
    fleet.close();
    assert!(timeout(LIMIT, changes.next()).await.expect("an end").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_shared_watcher_joins_and_leads_back_to_its_client() {
    let one = engine("one");
    let kept = Arc::new(EngineWatcher::new(one.clone()));
    let fleet = Fleet::new();
    fleet.add(kept.clone()).unwrap();
    assert!(fleet.ready(LIMIT).await.is_complete());
    assert_eq!(kept.portfolio(), one.truth());
    let found = fleet.watcher(&kept.key()).expect("a member");
    let shared: Arc<dyn Watcher> = kept.clone();
    let wrapped: Arc<dyn Watcher> = Arc::new(shared.clone());
    for watcher in [&found, &shared, &wrapped] {
        let typed = watcher.downcast_ref::<EngineWatcher<Engine>>().expect("its type");
        assert!(std::ptr::eq(typed, &*kept));
        assert!(watcher.downcast_ref::<EngineWatcher<OtherApi>>().is_none());
    }
    assert!(fleet.watcher(&key("other")).is_none());
}
