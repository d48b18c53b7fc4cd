//! When a watcher is ready, and how many calls that takes.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use whalewatcher_core::scripted::{Call, Engine, Moment};
use whalewatcher_core::{Container, EngineWatcher, ErrorKind, Phase, Watcher, watch};

use crate::{container, live, next, until_synced};

#[tokio::test(start_paused = true)]
async fn ready_means_that_the_portfolio_is_complete() {
    let (engine, watching) = live(&["a", "b"]).await;
    assert_eq!(watching.portfolio(), engine.truth());
    assert!(watching.status().is_live());
    assert_eq!(watching.identity().unwrap().engine_type, "scripted");
}

#[tokio::test(start_paused = true)]
async fn any_number_of_tasks_can_wait_for_ready() {
    let engine = Engine::new();
    engine.hold(Call::List, Moment::BeforeAnswering);
    let watching = watch(engine.clone());
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let watcher = watching.watcher().clone();
            tokio::spawn(async move { watcher.ready().await })
        })
        .collect();
    engine.asked(|calls| calls.lists == 1).await;
    engine.release(Call::List);
    for task in waiting {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_with_many_containers_can_wait_for_ready_without_reading() {
    let engine = Engine::new();
    for id in 0..5000 {
        engine.start(container(&id.to_string(), 1 + id));
    }
    let watching = watch(engine.clone());
    let (mut fold, mut changes) = watching.subscribe();
    timeout(Duration::from_secs(600), watching.ready()).await.expect("ready some time").unwrap();
    until_synced(&mut fold, &mut changes).await;
    assert_eq!(fold, engine.truth());
}

#[tokio::test(start_paused = true)]
async fn ready_waits_for_an_absent_engine_and_does_not_resolve_on_failure() {
    let engine = Engine::new();
    engine.start(container("a", 1));
    engine.refuse(ErrorKind::Unreachable, "nothing there");
    let watching = watch(engine.clone());
    let (_, mut changes) = watching.subscribe();
    assert_eq!(next(&mut changes, 1).await, ["disconnected"]);
    engine.asked(|calls| calls.connects == 20).await;
    assert!(watching.ready().now_or_never().is_none());
    assert!(matches!(watching.status().phase, Phase::Disconnected { .. } | Phase::Connecting));
    engine.accept();
    watching.ready().await.unwrap();
    assert_eq!(next(&mut changes, 2).await, ["started a", "synced"], "one disconnect is reported once");
}

#[tokio::test(start_paused = true)]
async fn changes_between_a_list_and_its_answer_are_not_lost() {
    for whole in [false, true] {
        let engine = Engine::new().with_whole_lists(whole);
        engine.start(container("goes", 1));
        engine.start(container("is replaced", 2));
        engine.hold(Call::List, Moment::BeforeAnswering);
        let watching = watch(engine.clone());
        engine.asked(|calls| calls.lists == 1).await;
        engine.start(container("comes", 3));
        engine.exit("goes", Some(0));
        engine.exit("is replaced", Some(0));
        engine.start(container("is replaced", 4));
        engine.release(Call::List);
        watching.ready().await.unwrap();
        assert_eq!(watching.portfolio(), engine.truth(), "whole lists: {whole}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sync_costs_one_list_and_one_inspection_each() {
    let (engine, watching) = live(&["a", "b", "c"]).await;
    assert_eq!((engine.calls().lists, engine.calls().all_inspections()), (1, 3));
    let (_, mut changes) = watching.subscribe();
    engine.start(container("d", 9));
    next(&mut changes, 1).await;
    engine.pause("d", true);
    engine.pause("d", false);
    engine.exit("d", Some(0));
    next(&mut changes, 3).await;
    assert_eq!(engine.calls().inspections_of("d"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_not_a_name() {
    let engine = Engine::new();
    engine.start(Container::new("a", "b", 1));
    engine.start(Container::new("b", "a", 2));
    let watching = watch(engine.clone());
    watching.ready().await.unwrap();
    let (_, mut changes) = watching.subscribe();
    engine.exit("a", None);
    assert_eq!(next(&mut changes, 1).await, ["exited a"]);
    assert_eq!(watching.portfolio().by_id("b").unwrap().name(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_box_of_watchers_can_be_held() {
    let engine = Engine::new();
    engine.start(container("a", 1));
    let watchers: Vec<Box<dyn Watcher>> = vec![Box::new(EngineWatcher::new(engine.clone()))];
    let token = CancellationToken::new();
    let (watched, ()) = futures_util::future::join(watchers[0].watch(token.clone()), async {
        watchers[0].ready().await.unwrap();
        assert_eq!(watchers[0].portfolio(), engine.truth());
        assert_eq!((watchers[0].engine_type(), watchers[0].endpoint()), ("scripted", "memory:"));
        watchers[0].close();
    })
    .await;
    watched.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_the_first_synced_was_running_by_then_and_what_comes_later_started_since() {
    for whole in [false, true] {
        let engine = Engine::new().with_whole_lists(whole);
        engine.start(container("found", 1));
        engine.hold(Call::List, Moment::BeforeAnswering);
        let watching = watch(engine.clone());
        let (mut fold, mut changes) = watching.subscribe();
        engine.asked(|calls| calls.lists == 1).await;
        engine.start(container("amid", 2));
        engine.release(Call::List);
        let mut found = until_synced(&mut fold, &mut changes).await;
        found.sort();
        assert_eq!(found, ["started amid", "started found", "synced"]);
        engine.start(container("new", 3));
        assert_eq!(next(&mut changes, 1).await, ["started new"]);
    }
}
