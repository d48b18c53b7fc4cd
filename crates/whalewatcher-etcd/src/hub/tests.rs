//! Engines of other hosts as their watchers see them, with a store in memory in place of etcd.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use whalewatcher_core::{
    Container, EngineIdentity, EngineWatcher, Event, EventKind, Fleet, Layer, Settings, Subscription,
    WatchHandle, watch_with,
};

use super::remote::RemoteEngine;
use super::shared::{Shared, Todo};
use crate::mirror::EngineName;
use crate::mirror::tests::{NOW, Store, claim, claim_key, container_key, engine, engine_key, exit};
use crate::records::{ContainerRecord, Key, Record};

/// No test waits so long unless something hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// A store with a host, and the watcher of its engine.
struct World {
    store: Store,
    shared: Arc<Shared>,
    delivered: i64,
}

impl World {
    fn new() -> World {
        let shared = Arc::new(Shared::new("etcd://a:2379/whalewatcher/v1".to_owned()));
        let mut world = World { store: Store::default(), shared, delivered: 0 };
        world.store.commit(vec![(claim_key(0), Some(claim()))]);
        world.store.commit(vec![run("1", 7), run("2", 8)]);
        world.store.commit(vec![(engine_key(0, 0), Some(engine(true)))]);
        world
    }

    /// Has the hub list everything.
    fn list(&mut self) -> Todo {
        self.delivered = self.store.revision;
        let todo = self.shared.update(|mirror| mirror.replace(self.store.revision, self.store.listed(), NOW));
        self.shared.set_up();
        todo
    }

    /// Has the watch report what is new.
    fn report(&mut self) -> Todo {
        let new = self.store.log.iter().filter(|(revision, _)| *revision > self.delivered);
        let todo = self.shared.update(|mirror| {
            for (revision, changes) in new.cloned() {
                mirror.apply(revision, changes, NOW);
            }
        });
        self.delivered = self.store.revision;
        todo
    }

    fn watch(&self) -> WatchHandle<RemoteEngine> {
        let client = RemoteEngine::new(&self.shared, &name()).unwrap();
        watch_with(client, Settings::default())
    }
}

fn name() -> EngineName {
    EngineName { host: "0".into(), engine: "0".into() }
}

fn container(id: &str, pid: u32) -> Container {
    Container::new(id, "web", pid)
}

fn run(id: &str, pid: u32) -> (Key, Option<Record>) {
    let key = container_key(0, 0, id.parse().unwrap());
    (key, Some(Record::Container(ContainerRecord { container: container(id, pid) })))
}

fn end(id: &str, pid: u32, slot: u8) -> Vec<(Key, Option<Record>)> {
    let ring = Key::Exit { host: "0".to_owned(), engine: "0".to_owned(), slot };
    vec![(container_key(0, 0, id.parse().unwrap()), None), (ring, Some(exit(&container(id, pid))))]
}

async fn next(changes: &mut Subscription) -> Event {
    timeout(LIMIT, changes.next()).await.expect("an event").expect("the watcher is not closed")
}

fn described(event: &Event) -> String {
    match &event.kind {
        EventKind::Exited { container, code } => format!("exited {} {code:?}", container.id()),
        EventKind::Disconnected { error } => format!("disconnected: {error}"),
        kind => kind.container().map_or_else(
            || kind.name().to_owned(),
            |container| format!("{} {}", kind.name(), container.id()),
        ),
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_goes_ends_no_life_and_what_ended_meanwhile_has_its_code() {
    let mut world = World::new();
    assert_eq!(world.list().joined, [name()]);
    let watcher = world.watch();
    timeout(LIMIT, watcher.ready()).await.unwrap().unwrap();
    let (alive, mut changes) = watcher.subscribe();
    assert_eq!(alive.total(), 2);
    let identity = watcher.identity().unwrap();
    assert_eq!(identity.endpoint, "etcd://a:2379/whalewatcher/v1/0/0");
    assert_eq!(identity.host.as_ref().unwrap().name, "a");

    world.store.commit(vec![(claim_key(0), None)]);
    world.report();
    let reason = "disconnected: host 0 has not published anything since 1970-01-01T00:00:00Z: it is down, or cannot reach etcd";
    assert_eq!(described(&next(&mut changes).await), reason);
    assert_eq!(watcher.portfolio().total(), 2);

    // The next agent publishes the difference before it says that the engine is live.
    world.store.commit(vec![(claim_key(0), Some(claim())), (engine_key(0, 0), Some(engine(false)))]);
    world.store.commit(end("1", 7, 0));
    world.report();
    assert_eq!(watcher.portfolio().total(), 2);
    world.store.commit(vec![(engine_key(0, 0), Some(engine(true)))]);
    world.report();
    assert_eq!(described(&next(&mut changes).await), "exited 1 Some(7)");
    assert_eq!(described(&next(&mut changes).await), "synced");
    assert!(watcher.portfolio().by_id("2").is_some());
}

#[tokio::test(start_paused = true)]
async fn changes_are_reported_as_they_come_and_a_list_reports_the_same() {
    let mut world = World::new();
    world.list();
    let watcher = world.watch();
    timeout(LIMIT, watcher.ready()).await.unwrap().unwrap();
    let (_, mut changes) = watcher.subscribe();
    for is_listed in [false, true] {
        world.store.commit(vec![run("3", 9)]);
        world.store.commit(end("1", 7, 0));
        let mut again = end("2", 8, 1);
        // Another life under the same ID.
        again[0] = run("2", 18);
        world.store.commit(again);
        drop(if is_listed { world.list() } else { world.report() });
        let mut reported = Vec::new();
        for _ in 0..4 {
            reported.push(described(&next(&mut changes).await));
        }
        reported.sort();
        assert_eq!(reported, ["exited 1 Some(7)", "exited 2 Some(8)", "started 2", "started 3"]);
        // Back to where it was.
        world.store.commit(end("3", 9, 2));
        world.store.commit(end("2", 18, 3));
        world.store.commit(vec![run("1", 7), run("2", 8)]);
        world.report();
        for _ in 0..4 {
            next(&mut changes).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_its_agent_cannot_reach_is_disconnected_with_that_reason() {
    let mut world = World::new();
    world.list();
    let watcher = world.watch();
    timeout(LIMIT, watcher.ready()).await.unwrap().unwrap();
    let (_, mut changes) = watcher.subscribe();
    world.store.commit(vec![(engine_key(0, 0), Some(engine(false)))]);
    world.report();
    let reason = described(&next(&mut changes).await);
    assert!(reason.starts_with("disconnected: host a: the engine cannot be reached since"), "{reason}");
    world.store.commit(vec![(engine_key(0, 0), Some(engine(true)))]);
    world.report();
    assert_eq!(described(&next(&mut changes).await), "synced");
    assert_eq!(watcher.portfolio().total(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_etcd_everything_is_disconnected_and_nothing_is_gone() {
    let mut world = World::new();
    world.list();
    let watcher = world.watch();
    timeout(LIMIT, watcher.ready()).await.unwrap().unwrap();
    let (_, mut changes) = watcher.subscribe();
    let error = whalewatcher_core::EngineError::new(whalewatcher_core::ErrorKind::Unreachable, "no etcd");
    world.shared.set_down(&Arc::new(error));
    assert_eq!(described(&next(&mut changes).await), "disconnected: no etcd");
    // What happened meanwhile is the difference.
    world.store.commit(vec![run("3", 9)]);
    world.list();
    assert_eq!(described(&next(&mut changes).await), "started 3");
    assert_eq!(described(&next(&mut changes).await), "synced");
}

/// The engine below or above, and a container of it.
fn of_layer(number: u8, id: &str, is_live: bool) -> (Record, (Key, Option<Record>)) {
    let Record::Engine(mut record) = engine(is_live) else { unreachable!() };
    if number == 0 {
        record.layer = Layer::Runtime;
        record.engine = EngineIdentity::new("containerd.io", "unix:///run/containerd.sock");
    }
    let key = Key::Container { host: "0".into(), engine: number.to_string(), id: id.into() };
    (Record::Engine(record), (key, Some(Record::Container(ContainerRecord { container: container(id, 7) }))))
}

#[tokio::test(start_paused = true)]
async fn a_container_that_moves_between_engines_of_a_host_neither_exits_nor_starts() {
    for was_listed in [false, true] {
        let mut world = World::new();
        world.store = Store::default();
        let ((runtime, below), (docker, above)) = (of_layer(0, "moby/1", true), of_layer(1, "1", true));
        let (connecting, _) = of_layer(1, "1", false);
        let other = of_layer(0, "moby/2", true).1;
        world.store.commit(vec![(claim_key(0), Some(claim()))]);
        world.store.commit(vec![(engine_key(0, 0), Some(runtime)), below.clone(), other.clone()]);
        let fleet = Fleet::new();
        let join = |world: &World, todo: Todo| {
            for name in todo.joined {
                let client = RemoteEngine::new(&world.shared, &name).unwrap();
                fleet.add(EngineWatcher::with_settings(client, Settings::default())).unwrap();
            }
        };
        let todo = world.list();
        join(&world, todo);
        assert!(fleet.ready(LIMIT).await.is_complete());
        let (_, mut changes) = fleet.subscribe();
        let mut until = async |kind: &str| {
            let mut seen = Vec::new();
            while seen.last().is_none_or(|last| last != kind) {
                let change = timeout(LIMIT, changes.next()).await.expect(kind).unwrap();
                let id = change.event.container().map(|it| format!(" {}", it.id())).unwrap_or_default();
                seen.push(format!("{}{id}", change.event.kind.name()));
            }
            seen
        };
        let next = |world: &mut World| if was_listed { world.list() } else { world.report() };

        // Docker joins, and shows what containerd did.
        world.store.commit(vec![(engine_key(0, 1), Some(connecting))]);
        let todo = next(&mut world);
        join(&world, todo);
        assert_eq!(until("joined").await, ["joined"]);
        let delete = |moved: &(Key, Option<Record>)| (moved.0.clone(), None);
        world.store.commit(vec![delete(&below), above.clone()]);
        drop(next(&mut world));
        world.store.commit(vec![(engine_key(0, 1), Some(docker.clone()))]);
        drop(next(&mut world));
        assert_eq!(until("moved 1").await.pop().as_deref(), Some("moved 1"));
        until("synced").await;

        // Another list changes nothing; its end is one.
        drop(world.list());
        let mut ended = end("1", 7, 0);
        ended[0] = delete(&above);
        ended[1].0 = Key::Exit { host: "0".into(), engine: "1".into(), slot: 0 };
        world.store.commit(ended);
        // It moves there and back again, as Docker leaves.
        let third = (of_layer(0, "moby/3", true).1, of_layer(1, "3", true).1);
        world.store.commit(vec![third.0.clone()]);
        drop(next(&mut world));
        world.store.commit(vec![delete(&third.0), third.1.clone()]);
        drop(next(&mut world));
        let seen = until("started 3").await;
        assert!(seen.iter().filter(|it| it.starts_with("exited")).eq(["exited 1"]), "{seen:?}");
        world.store.commit(vec![delete(&third.1), third.0.clone(), (engine_key(0, 1), None)]);
        for name in next(&mut world).left {
            let key = fleet
                .portfolio()
                .members()
                .map(|member| member.key().clone())
                .find(|key| key.endpoint().ends_with(&format!("/{}", name.engine)));
            fleet.remove(&key.unwrap());
        }
        let seen = until("left").await;
        assert_eq!(seen, ["moved moby/3", "left"]);
        let mut shown: Vec<_> =
            fleet.portfolio().containers().map(|(_, container)| container.id().to_string()).collect();
        shown.sort();
        assert_eq!(shown, ["moby/2", "moby/3"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_published_no_more_leaves() {
    let mut world = World::new();
    world.list();
    world.store.commit(vec![(engine_key(0, 0), None)]);
    assert_eq!(world.report().left, [name()]);
    assert!(RemoteEngine::new(&world.shared, &name()).is_none());
}
