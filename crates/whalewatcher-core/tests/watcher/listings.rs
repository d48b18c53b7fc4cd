//! Incomplete lists, and lists that close a gap.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::scripted::{Call, Engine, Moment};
use whalewatcher_core::{Phase, Settings, WatchHandle, watch, watch_with};

use crate::{container, next, short, until_synced};

fn engine(whole: bool) -> Engine {
    let engine = Engine::new().with_whole_lists(whole);
    for (pid, id) in (1..).zip(["a/1", "a/2", "b/1", "bare"]) {
        engine.start(container(id, pid));
    }
    engine
}

fn unlisted(watching: &WatchHandle<Engine>) -> Vec<String> {
    watching.status().unlisted.into_iter().map(|part| part.scope).collect()
}

#[tokio::test(start_paused = true)]
async fn an_unlisted_scope_hides_no_other_and_delays_ready() {
    for whole in [false, true] {
        let engine = engine(whole);
        engine.fail_listing("a", true);
        let watching = watch(engine.clone());
        let (mut fold, mut changes) = watching.subscribe();
        let mut reported = Vec::new();
        for _ in 0..2 {
            let event = changes.next().await.unwrap();
            fold.apply(&event.kind);
            reported.push(short(&event));
        }
        reported.sort();
        assert_eq!(reported, ["started b/1", "started bare"]);
        engine.asked(|calls| calls.lists == 4).await;
        assert!(watching.ready().now_or_never().is_none());
        assert!(matches!(watching.status().phase, Phase::Synchronizing));
        assert_eq!(unlisted(&watching), ["a"]);
        let status = watching.status().to_string();
        assert_eq!(status, "synchronizing, 'a' cannot be listed: scripted failure");
        assert!(changes.next().now_or_never().is_none(), "what is known is not reported again");

        engine.fail_listing("a", false);
        watching.ready().await.unwrap();
        let mut reported = until_synced(&mut fold, &mut changes).await;
        reported.sort();
        assert_eq!(reported, ["started a/1", "started a/2", "synced"]);
        assert_eq!((fold, watching.portfolio()), (engine.truth(), engine.truth()));
        assert_eq!((unlisted(&watching).len(), engine.calls().connects), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unlisted_scope_keeps_its_last_known_containers() {
    for whole in [false, true] {
        let engine = engine(whole);
        let watching = watch(engine.clone());
        watching.ready().await.unwrap();
        let (_, mut changes) = watching.subscribe();
        engine.disconnect();
        assert_eq!(next(&mut changes, 1).await, ["disconnected"]);
        engine.fail_listing("a", true);
        engine.exit("a/1", Some(0));
        engine.exit("b/1", Some(0));
        assert_eq!(next(&mut changes, 1).await, ["exited b/1"]);
        engine.asked(|calls| calls.lists == 4).await;
        assert!(watching.portfolio().by_id("a/1").is_some(), "no answer says that it has ended");
        // Events are still announced.
        engine.exit("a/2", Some(0));
        assert_eq!(next(&mut changes, 1).await, ["exited a/2"]);

        engine.fail_listing("a", false);
        assert_eq!(next(&mut changes, 2).await, ["exited a/1", "synced"], "exactly what differs");
        assert_eq!(watching.portfolio(), engine.truth());
    }
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_audit_suspects_only_listed_scopes_and_is_repeated_soon() {
    for whole in [false, true] {
        let engine = engine(whole);
        let watching = watch(engine.clone());
        watching.ready().await.unwrap();
        let (_, mut changes) = watching.subscribe();
        engine.fail_listing("a", true);
        engine.asked(|calls| calls.lists == 2).await;
        sleep(Duration::from_secs(3)).await;
        assert_eq!(unlisted(&watching), ["a"]);
        assert!(watching.status().is_live(), "events still report of it");
        assert!(engine.calls().lists > 3, "asked again after growing delays: {:?}", engine.calls());
        engine.be_silent(true);
        engine.exit("b/1", None);
        assert_eq!(next(&mut changes, 1).await, ["exited b/1"], "an audit of the others");
        engine.fail_listing("a", false);
        engine.exit("a/1", None);
        assert_eq!(next(&mut changes, 1).await, ["exited a/1"]);
        let lists = engine.calls().lists;
        sleep(Duration::from_secs(50)).await;
        assert!(engine.calls().lists <= lists + 1, "and then it is as seldom as ever");
        assert_eq!((unlisted(&watching).len(), watching.status().counters.drifted), (0, 2));
        assert_eq!(watching.portfolio(), engine.truth());
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_closed_by_a_list_even_without_audits() {
    for whole in [false, true] {
        let engine = engine(whole);
        let watching = watch_with(engine.clone(), Settings::default().with_audits(None));
        engine.hold(Call::List, Moment::BeforeAnswering);
        engine.asked(|calls| calls.lists == 1).await;
        engine.be_silent(true);
        engine.exit("a/1", None);
        engine.start(container("new", 9));
        engine.be_silent(false);
        engine.emit(&EngineEvent::Gap);
        engine.release(Call::List);
        watching.ready().await.unwrap();
        let (mut fold, mut changes) = watching.subscribe();
        while fold != engine.truth() {
            fold.apply(&changes.next().await.unwrap().kind);
        }
        assert_eq!((engine.calls().lists, watching.status().counters.audits), (2, 1));
        // A gap during a list is not closed by that list.
        engine.hold(Call::List, Moment::BeforeAnswering);
        engine.emit(&EngineEvent::Gap);
        engine.asked(|calls| calls.lists == 3).await;
        engine.emit(&EngineEvent::Gap);
        engine.release(Call::List);
        engine.asked(|calls| calls.lists == 4).await;
        sleep(Duration::from_secs(600)).await;
        assert_eq!(engine.calls().lists, 4);
    }
}
