//! Engines that join, leave, fail and come back.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::timeout;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::fleet::{FleetEvent, FleetMember, FleetPortfolio, JoinError};
use whalewatcher_core::scripted::{Connection, Engine};
use whalewatcher_core::{
    Backoff, Container, EngineError, EngineKey, EngineWatcher, ErrorKind, Fleet, Settings, WatchError,
    Watcher, watch,
};

use crate::{LIMIT, Subscriber, engine, key};

#[tokio::test(start_paused = true)]
async fn engines_are_watched_side_by_side() {
    let (one, other) = (engine("one"), engine("other"));
    let fleet = Fleet::new();
    fleet.add(EngineWatcher::new(other.clone())).unwrap();
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    let ready = fleet.ready(LIMIT).await;
    assert_eq!((ready.ready.len(), ready.is_complete()), (2, true));
    let now = fleet.portfolio();
    let members: Vec<_> = now.members().map(|member| (member.key().endpoint(), member.is_live())).collect();
    assert_eq!(members, [("one", true), ("other", true)]);
    let ids = |found: Vec<(&FleetMember, &Arc<Container>)>| {
        found.iter().map(|(_, found)| found.id().to_string()).collect::<Vec<_>>()
    };
    let both = ["one1", "other1"];
    assert_eq!(ids(now.containers().collect()), both);
    assert_eq!(ids(now.by_name("web").collect()), both);
    assert_eq!(ids(now.by_pid(1).collect()), both);
    assert_eq!(now.project("").count(), 2);
    assert_eq!(ids(now.by_id("other1").collect()), ["other1"]);
    assert_eq!(now.container("web").map(|(member, _)| member.key()), Some(&key("one")));
    assert_eq!((now.total(), now.is_empty()), (2, false));

    let mut subscriber = Subscriber::new(&fleet);
    let mut follower = fleet.follow_portfolio();
    one.exit("one1", Some(0));
    assert_eq!(subscriber.until("exited one1").await.len(), 1);
    other.start(Container::new("other2", "db", 2));
    assert_eq!(subscriber.until("started other2").await.len(), 1);
    let truth = |portfolio: &FleetPortfolio| {
        [&one, &other].map(|engine| {
            portfolio
                .member(&key(engine.endpoint()))
                .is_some_and(|member| *member.portfolio() == engine.truth())
        })
    };
    assert_eq!(truth(&subscriber.fold), [true, true]);
    assert_eq!(subscriber.fold, fleet.portfolio());
    assert_eq!(follower.changed().await.map(|newest| truth(&newest)), Some([true, true]));
    assert_eq!(follower.portfolio().revision(), subscriber.fold.revision());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_joins_later_is_followed_from_its_start() {
    let fleet = Fleet::new();
    let mut subscriber = Subscriber::new(&fleet);
    assert!(subscriber.fold.is_empty() && subscriber.changes.next().now_or_never().is_none());
    fleet.add(EngineWatcher::new(engine("late"))).unwrap();
    assert_eq!(subscriber.until("synced late").await, ["joined late", "started late1", "synced late"]);
    assert_eq!(subscriber.fold, fleet.portfolio());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_watched_once_and_can_come_back_after_it_was_removed() {
    let one = engine("one");
    let fleet = Fleet::new();
    let watcher = fleet.add(EngineWatcher::new(one.clone())).unwrap();
    let again = fleet.add(EngineWatcher::new(one.clone()));
    assert!(matches!(again, Err(JoinError::AlreadyThere { key: known }) if known == key("one")));
    let mut subscriber = Subscriber::new(&fleet);
    assert!(fleet.remove(&key("one")) && !fleet.remove(&key("one")));
    assert!(matches!(watcher.ready().await, Err(WatchError::Cancelled)));
    one.asked(|calls| calls.open == 0).await;
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    assert_eq!(subscriber.until("started one1").await, ["left one", "joined one", "started one1"]);
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
    let mut subscriber = Subscriber::new(&fleet);
    one.exit("one2", Some(0));
    assert!(fleet.remove(&key("one")));
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    let mut reported = subscriber.until("synced one").await;
    let expected = ["left one", "joined one", "started one1", "synced one"];
    assert_eq!(reported.split_off(2), expected);
    reported.sort();
    assert_eq!(reported, ["exited one1", "exited one2"]);
    assert_eq!(subscriber.fold, fleet.portfolio());
    assert!(fleet.remove(&key("one")) && fleet.remove(&key("other")));
    subscriber.until("left other").await;
    assert_eq!(subscriber.fold, FleetPortfolio::default());
    assert!(subscriber.changes.next().now_or_never().is_none(), "others may join");
    fleet.close();
    assert!(subscriber.changes.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_closed_member_is_disconnected_and_exits_when_it_is_removed() {
    let one = engine("one");
    let fleet = Fleet::new();
    let watcher = fleet.add(EngineWatcher::new(one.clone())).unwrap();
    assert!(fleet.ready(LIMIT).await.is_complete());
    let mut subscriber = Subscriber::new(&fleet);
    watcher.close();
    let closed = subscriber.next().await;
    assert_eq!(closed.to_string(), "scripted at one: disconnected: this watcher was closed");
    assert!(subscriber.changes.next().now_or_never().is_none());
    assert_eq!(fleet.portfolio().total(), 1);
    assert!(fleet.remove(&key("one")));
    assert_eq!(subscriber.until("left one").await, ["exited one1", "left one"]);
}

#[tokio::test(start_paused = true)]
async fn the_state_of_each_member_is_an_event_and_in_the_portfolio() {
    let one = engine("one");
    let fleet = Fleet::new();
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    assert!(fleet.ready(LIMIT).await.is_complete());
    let mut subscriber = Subscriber::new(&fleet);
    let state = |portfolio: &FleetPortfolio| {
        let member = portfolio.member(&key("one")).expect("a member");
        (member.is_live(), member.error().map(|error| error.to_string()))
    };
    assert_eq!(state(&subscriber.fold), (true, None));
    one.disconnect();
    subscriber.until("disconnected one").await;
    assert_eq!(state(&subscriber.fold), (false, Some("scripted disconnect".to_owned())));
    subscriber.until("synced one").await;
    assert_eq!(state(&subscriber.fold), (true, None));
    assert_eq!(subscriber.fold, fleet.portfolio());
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_was_watched_before_joins_with_its_containers_and_state() {
    let one = engine("one");
    let kept = watch(one.clone());
    kept.ready().await.unwrap();
    let fleet = Fleet::new();
    let mut subscriber = Subscriber::new(&fleet);
    fleet.add(kept.watcher().clone()).unwrap();
    assert_eq!(subscriber.until("synced one").await, ["joined one", "started one1", "synced one"]);
    assert!(fleet.remove(&key("one")));
    assert_eq!(subscriber.until("left one").await, ["exited one1", "left one"]);
    assert!(kept.status().is_live(), "its watch is not the fleet's");
    assert_eq!(one.calls().connects, 1);

    one.refuse(ErrorKind::Unreachable, "nothing there");
    one.disconnect();
    kept.follow_status().wait_for(|status| !status.is_live()).await.unwrap();
    fleet.add(kept.watcher().clone()).unwrap();
    let expected = ["joined one", "started one1", "disconnected one"];
    assert_eq!(subscriber.until("disconnected one").await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_rucksack_that_is_packed_again_is_in_the_portfolio_and_a_change_for_followers() {
    let one = engine("one").with_packing(true);
    let packed =
        |text: &'static str| move |container: Container| container.with_rucksack(Some(Arc::new(text)));
    one.edit("one1", packed("first"));
    let fleet = Fleet::new();
    let watcher = fleet.add(EngineWatcher::new(one.clone())).unwrap();
    assert!(fleet.ready(LIMIT).await.is_complete());
    let (mut follower, mut subscriber) = (fleet.follow_portfolio(), Subscriber::new(&fleet));
    let rucksack = |portfolio: &FleetPortfolio| {
        portfolio.container("one1").and_then(|(_, one)| one.rucksack::<&'static str>().copied())
    };
    assert_eq!(rucksack(follower.portfolio()), Some("first"));
    one.edit("one1", packed("second"));
    assert!(watcher.refresh(&"one1".into()));
    let newest = timeout(LIMIT, follower.changed()).await.expect("a change").expect("no end");
    assert_eq!(rucksack(&newest), Some("second"));
    assert!(subscriber.changes.next().now_or_never().is_none(), "equal containers are no event");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_lags_receives_the_difference() {
    let (one, other) = (engine("one"), engine("other"));
    let fleet = Fleet::with_subscriber_queue(1);
    fleet.add(EngineWatcher::new(one.clone())).unwrap();
    fleet.add(EngineWatcher::new(other.clone())).unwrap();
    assert!(fleet.ready(LIMIT).await.is_complete());
    let mut subscriber = Subscriber::new(&fleet);
    let mut reader = Subscriber::new(&fleet);
    one.exit("one1", Some(0));
    one.start(Container::new("one2", "db", 2));
    reader.until("started one2").await;
    one.disconnect();
    reader.until("disconnected one").await;
    fleet.remove(&key("other"));
    fleet.add(EngineWatcher::new(engine("late"))).unwrap();
    reader.until("synced late").await;
    let expected = [
        "joined late",
        "lagged late",
        "lagged one",
        "exited other1",
        "left other",
        "started late1",
        "synced late",
        "exited one1",
        "started one2",
        "disconnected one",
    ];
    assert_eq!(subscriber.until("disconnected one").await, expected);
    assert_eq!((&subscriber.fold, &reader.fold), (&fleet.portfolio(), &fleet.portfolio()));
    assert_eq!(subscriber.fold.revision(), fleet.portfolio().revision());
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
    while let Some(Some(FleetEvent { key, event, .. })) = changes.next().now_or_never() {
        reported.extend((key.endpoint() == "failed").then(|| event.to_string()));
    }
    assert_eq!(reported, ["joined", "disconnected: not yours", "disconnected: gave up: not yours"]);
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
    assert_eq!(fleet.portfolio().by_name("web").count(), 2);
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

    fleet.add(EngineWatcher::new(engine("one"))).unwrap();
    fleet.ready(LIMIT).await;
    let mut subscriber = Subscriber::new(&fleet);
    assert_eq!(subscriber.fold.total(), 1);
    assert!(fleet.remove(&key("one")));
    assert_eq!(subscriber.until("left one").await, ["exited one1", "left one"]);
    fleet.close();
    assert!(timeout(LIMIT, subscriber.changes.next()).await.expect("an end").is_none());
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

#[tokio::test(start_paused = true)]
async fn a_watcher_that_left_can_join_again_at_once() {
    let one = engine("one");
    let kept = Arc::new(EngineWatcher::new(one.clone()));
    let fleet = Fleet::new();
    let (_, mut changes) = kept.subscribe();
    for _ in 0..3 {
        fleet.add(kept.clone()).unwrap();
        assert!(fleet.ready(LIMIT).await.is_complete());
        assert_eq!(fleet.portfolio().total(), 1);
        assert!(fleet.remove(&key("one")));
    }
    fleet.add(kept.clone()).unwrap();
    assert!(fleet.ready(LIMIT).await.is_complete());
    drop((fleet, kept));
    while timeout(LIMIT, changes.next()).await.expect("an end").is_some() {}
    assert_eq!(one.calls().open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_members_that_come_and_go_leave_nothing_behind() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let engines: Vec<_> = (0..100).map(|nth| engine(&nth.to_string())).collect();
    let fleet = Fleet::new();
    let mut subscriber = Subscriber::new(&fleet);
    for _ in 0..3 {
        for engine in &engines {
            fleet.add(EngineWatcher::new(engine.clone())).unwrap();
        }
        assert!(fleet.ready(LIMIT).await.is_complete());
        assert_eq!(fleet.portfolio().total(), 100);
        engines.iter().for_each(|engine| assert!(fleet.remove(&key(engine.endpoint()))));
        for engine in &engines {
            engine.asked(|calls| calls.open == 0).await;
        }
        let ended = async {
            while tasks() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, ended).await.expect("no task goes on");
    }
    while let Some(Some(change)) = subscriber.changes.next().now_or_never() {
        subscriber.fold.apply(&change);
    }
    assert_eq!(subscriber.fold, FleetPortfolio::default());
    assert_eq!(fleet.portfolio(), FleetPortfolio::default());
}
