//! Rucksacks: when they are packed again, and what subscribers receive then.

use std::sync::Arc;

use futures_util::FutureExt;
use whalewatcher_core::scripted::{Call, Engine, Moment};
use whalewatcher_core::{Container, EventKind, Settings, Watcher, watch, watch_with};

use crate::{container, event, next};

/// Attaches a number.
fn packed(number: u32) -> impl FnOnce(Container) -> Container {
    move |container| container.with_rucksack(Some(Arc::new(number)))
}

fn rucksack(container: &Container) -> Option<u32> {
    container.rucksack().copied()
}

fn of(watcher: &impl Watcher, id: &str) -> Option<u32> {
    rucksack(watcher.portfolio().by_id(id).expect("alive"))
}

#[tokio::test(start_paused = true)]
async fn a_refresh_inspects_once_and_packs_again_without_an_event() {
    let engine = Engine::new().with_packing(true);
    engine.start(packed(1)(container("a", 1)));
    let watching = watch(engine.clone());
    watching.ready().await.unwrap();
    assert_eq!(of(&**watching.watcher(), "a"), Some(1));
    let (before, mut changes) = watching.subscribe();
    let mut follower = watching.follow_portfolio();
    engine.edit("a", packed(2));
    assert!(watching.refresh(&"a".into()));
    assert!(!watching.refresh(&"unknown".into()));
    let followed = follower.changed().await.expect("no end");
    assert_eq!((rucksack(followed.by_id("a").unwrap()), of(&**watching.watcher(), "a")), (Some(2), Some(2)));
    assert_eq!(engine.calls().inspections_of("a"), 2);
    assert!(changes.next().now_or_never().is_none());
    assert_eq!(rucksack(before.by_id("a").unwrap()), Some(1), "a snapshot does not change");
    assert_eq!(watching.subscribe().0.by_id("a").and_then(|a| rucksack(a)), Some(2));

    // The next event of the container contains it.
    engine.pause("a", true);
    let paused = event(&mut changes).await;
    assert_eq!((paused.kind.name(), rucksack(paused.container().unwrap())), ("paused", Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_rucksack_that_was_packed_again_is_reported_on_request() {
    let engine = Engine::new().with_packing(true);
    engine.start(packed(1)(container("a", 1)));
    let watching = watch_with(engine.clone(), Settings::default().with_repack_events(true));
    watching.ready().await.unwrap();
    let (_, mut changes) = watching.subscribe();
    engine.edit("a", packed(2));
    assert!(watching.refresh(&"a".into()));
    let EventKind::Updated { container, was } = event(&mut changes).await.kind else { panic!("not updated") };
    assert_eq!((rucksack(&was), rucksack(&container)), (Some(1), Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_life_that_ends_before_it_is_inspected_has_a_rucksack() {
    let engine = Engine::new().with_packing(true);
    let watching = watch(engine.clone());
    watching.ready().await.unwrap();
    let (_, mut changes) = watching.subscribe();
    engine.hold(Call::Inspect, Moment::BeforeLooking);
    engine.start(packed(7)(container("brief", 1)));
    engine.exit("brief", Some(3));
    engine.asked(|calls| calls.inspections_of("brief") == 1).await;
    assert!(changes.next().now_or_never().is_none());
    engine.release(Call::Inspect);
    let (started, exited) = (event(&mut changes).await, event(&mut changes).await);
    assert!(matches!(exited.kind, EventKind::Exited { code: Some(3), .. }), "{exited}");
    let rucksacks = [started, exited].map(|event| rucksack(event.container().unwrap()));
    assert_eq!(rucksacks, [Some(7); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_brief_life_is_announced_without_a_rucksack_if_its_inspection_fails() {
    let engine = Engine::new().with_packing(true);
    let watching = watch(engine.clone());
    watching.ready().await.unwrap();
    let (_, mut changes) = watching.subscribe();
    engine.fail("brief", usize::MAX);
    engine.hold(Call::Inspect, Moment::BeforeLooking);
    engine.start(packed(7)(container("brief", 1)));
    engine.exit("brief", Some(3));
    engine.asked(|calls| calls.inspections_of("brief") == 1).await;
    engine.release(Call::Inspect);
    assert_eq!(next(&mut changes, 2).await, ["started brief", "exited brief"]);
    assert_eq!(watching.status().unresolved.total(), 0);
    assert_eq!(engine.calls().inspections_of("brief"), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_packer_a_brief_life_costs_no_inspection_more() {
    let engine = Engine::new();
    engine.start(container("slow", 1));
    let watching = watch_with(engine.clone(), Settings::default().with_inspections(1));
    watching.ready().await.unwrap();
    let (_, mut changes) = watching.subscribe();
    engine.hang("slow", true);
    engine.rename("slow", "renamed");
    engine.asked(|calls| calls.inspecting == 1).await;
    engine.start(container("brief", 2));
    engine.exit("brief", None);
    assert_eq!(next(&mut changes, 2).await, ["started brief", "exited brief"]);
    assert_eq!(engine.calls().inspections_of("brief"), 0);
}
