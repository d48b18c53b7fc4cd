//! The announcement of lives.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::scripted::{Call, Engine, Moment};
use whalewatcher_core::{EventKind, watch};

use crate::{container, event, live, next, short};

#[tokio::test(start_paused = true)]
async fn lifecycle_events_reach_a_subscriber_after_the_portfolio() {
    let (engine, watching) = live(&["a"]).await;
    let (mut fold, mut changes) = watching.subscribe();
    let steps: [(&dyn Fn(), &[&str]); 6] = [
        (&|| engine.pause("a", true), &["paused a"]),
        (&|| engine.pause("a", false), &["unpaused a"]),
        (&|| engine.rename("a", "other"), &["updated a"]),
        (&|| engine.start(container("b", 7)), &["started b"]),
        (&|| engine.exit("a", Some(3)), &["exited a"]),
        (&|| engine.exit("b", None), &["exited b"]),
    ];
    for (step, expected) in steps {
        let began = Instant::now();
        step();
        let event = event(&mut changes).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "at once, not only by an audit");
        assert_eq!([short(&event).as_str()], expected);
        let id = event.container().unwrap().id();
        assert_eq!(
            watching.portfolio().by_id(id),
            engine.truth().by_id(id),
            "the portfolio is updated before the event"
        );
        fold.apply(&event.kind);
        assert_eq!(fold, watching.portfolio());
    }
}

#[tokio::test(start_paused = true)]
async fn events_have_exit_codes_and_the_engines_times() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    engine.pause("a", true);
    assert_eq!(changes.next().await.unwrap().time, engine.clock());
    engine.exit("a", Some(137));
    let exited = changes.next().await.unwrap();
    assert_eq!(exited.time, engine.clock());
    assert!(matches!(exited.kind, EventKind::Exited { code: Some(137), .. }));
    engine.start(container("a", 2));
    assert_eq!(changes.next().await.unwrap().time, engine.clock());
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_an_exit_and_a_start() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    engine.exit("a", Some(0));
    engine.start(container("a", 4242));
    assert_eq!(next(&mut changes, 2).await, ["exited a", "started a"]);
    assert_eq!(watching.portfolio().by_id("a").unwrap().pid(), 4242);
}

#[tokio::test(start_paused = true)]
async fn a_restart_without_an_exit_event_is_an_exit_and_a_start() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    engine.be_silent(true);
    engine.exit("a", Some(0));
    engine.be_silent(false);
    let began = Instant::now();
    engine.start(container("a", 4242));
    let (exited, started) = (event(&mut changes).await, event(&mut changes).await);
    assert_eq!(began.elapsed(), Duration::ZERO, "at once, not only by an audit");
    assert_eq!([short(&exited), short(&started)], ["exited a", "started a"]);
    assert!(exited.time <= started.time, "an exit is not dated later than the life that follows");
}

#[tokio::test(start_paused = true)]
async fn a_life_that_ends_before_its_inspection_is_announced() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    engine.start(container("brief", 9));
    engine.exit("brief", Some(1));
    let started = changes.next().await.unwrap();
    let exited = changes.next().await.unwrap();
    assert_eq!([short(&started), short(&exited)], ["started brief", "exited brief"]);
    assert_eq!(started.container().unwrap().name(), "name of brief");
    assert!(matches!(exited.kind, EventKind::Exited { code: Some(1), .. }));
    assert_eq!(watching.portfolio(), engine.truth());
}

#[tokio::test(start_paused = true)]
async fn a_past_life_gets_its_name_by_inspection() {
    for asked_before_its_end in [false, true] {
        let engine = Engine::new().with_whole_lists(true);
        let watching = watch(engine.clone());
        watching.ready().await.unwrap();
        let (_, mut changes) = watching.subscribe();
        engine.hold(Call::Inspect, Moment::BeforeLooking);
        engine.start(container("brief", 9));
        if asked_before_its_end {
            engine.asked(|calls| calls.inspecting == 1).await;
        }
        engine.exit("brief", Some(1));
        engine.asked(|calls| calls.inspecting == 1).await;
        engine.release(Call::Inspect);
        let (started, exited) = (changes.next().await.unwrap(), changes.next().await.unwrap());
        assert_eq!([short(&started), short(&exited)], ["started brief", "exited brief"]);
        let container = started.container().unwrap();
        assert_eq!((container.name(), container.pid()), ("name of brief", 9));
        assert!(started.time < exited.time, "as the events reported");
        assert_eq!(engine.calls().inspections_of("brief"), 1);
        assert_eq!(watching.portfolio(), engine.truth());
    }
}

#[tokio::test(start_paused = true)]
async fn without_start_times_a_life_begins_with_its_start_event() {
    let engine = Engine::new().with_whole_lists(true);
    let watching = watch(engine.clone());
    watching.ready().await.unwrap();
    let (_, mut changes) = watching.subscribe();
    engine.start(container("a", 9));
    let reported = engine.clock();
    let started = changes.next().await.unwrap();
    assert_eq!((short(&started).as_str(), started.time), ("started a", reported));
    assert_eq!(started.container().unwrap().started_at(), None);
}

#[tokio::test(start_paused = true)]
async fn a_past_life_that_the_engine_forgot_is_named_by_its_id() {
    let engine = Engine::new().with_whole_lists(true);
    let watching = watch(engine.clone());
    watching.ready().await.unwrap();
    let (_, mut changes) = watching.subscribe();
    let at = Some(engine.clock());
    engine.emit(&EngineEvent::Started { id: "gone".into(), at, pid: Some(9), preview: None });
    engine.emit(&EngineEvent::Exited { id: "gone".into(), pid: Some(9), at, code: Some(1) });
    let (started, exited) = (changes.next().await.unwrap(), changes.next().await.unwrap());
    assert_eq!([short(&started), short(&exited)], ["started gone", "exited gone"]);
    assert_eq!(started.container().unwrap().to_string(), "container 'gone' with PID 9");
}

#[tokio::test(start_paused = true)]
async fn a_life_that_ends_before_it_is_requested_is_announced() {
    let (engine, watching) = live(&["a"]).await;
    let (_, mut changes) = watching.subscribe();
    engine.hold(Call::Inspect, Moment::BeforeLooking);
    engine.start(container("brief", 9));
    engine.asked(|calls| calls.inspecting == 1).await;
    engine.be_silent(true);
    engine.exit("brief", Some(1));
    engine.be_silent(false);
    engine.release(Call::Inspect);
    engine.asked(|calls| calls.inspecting == 0).await;
    let (at, id) = (Some(engine.clock()), "brief".into());
    engine.emit(&EngineEvent::Exited { id, pid: None, at, code: Some(1) });
    assert_eq!(next(&mut changes, 1).await, ["started brief"]);
    let exited = event(&mut changes).await;
    assert!(matches!(exited.kind, EventKind::Exited { code: Some(1), .. }), "{exited}");
    assert_eq!((Some(exited.time), watching.portfolio()), (at, engine.truth()));
}

#[tokio::test(start_paused = true)]
async fn a_finished_exec_leaves_its_container_alive() {
    let (engine, watching) = live(&["a", "last"]).await;
    let (_, mut changes) = watching.subscribe();
    let (at, id) = (Some(engine.clock() + Duration::from_secs(1)), "a".into());
    engine.emit(&EngineEvent::Exited { id, pid: Some(4711), at, code: Some(1) });
    engine.asked(|calls| calls.inspections_of("a") == 2 && calls.inspecting == 0).await;
    engine.exit("last", None);
    assert_eq!(next(&mut changes, 1).await, ["exited last"]);
    assert_eq!(watching.portfolio(), engine.truth());
}

#[tokio::test(start_paused = true)]
async fn a_pause_event_that_repeats_is_announced_once() {
    let (engine, watching) = live(&["a", "last"]).await;
    let (_, mut changes) = watching.subscribe();
    engine.pause("a", true);
    for seconds in 1..4 {
        let at = Some(engine.clock() + Duration::from_secs(seconds));
        engine.emit(&EngineEvent::Paused { id: "a".into(), at });
    }
    engine.exit("last", None);
    assert_eq!(next(&mut changes, 2).await, ["paused a", "exited last"]);
    assert_eq!(watching.portfolio(), engine.truth());
}

#[tokio::test(start_paused = true)]
async fn repeated_events_are_announced_once() {
    let (engine, watching) = live(&["a", "last"]).await;
    let (_, mut changes) = watching.subscribe();
    engine.exit("a", Some(0));
    let exited = EngineEvent::Exited { id: "a".into(), pid: None, at: Some(engine.clock()), code: Some(0) };
    engine.emit(&exited);
    engine.start(container("b", 5));
    let begun = EngineEvent::Started {
        id: "b".into(),
        at: Some(engine.clock()),
        pid: None,
        preview: Some(Box::new(container("b", 0).with_started_at(engine.clock()))),
    };
    engine.emit(&begun);
    assert_eq!(next(&mut changes, 2).await, ["exited a", "started b"]);
    engine.exit("b", Some(0));
    let ended = EngineEvent::Exited { id: "b".into(), pid: None, at: Some(engine.clock()), code: Some(0) };
    for event in [begun, ended, exited] {
        engine.emit(&event);
    }
    engine.exit("last", Some(0));
    assert_eq!(next(&mut changes, 2).await, ["exited b", "exited last"]);
}

#[tokio::test(start_paused = true)]
async fn an_exit_older_than_the_known_life_ends_nothing() {
    let (engine, watching) = live(&["a", "last"]).await;
    let (_, mut changes) = watching.subscribe();
    let before = SystemTime::UNIX_EPOCH;
    engine.emit(&EngineEvent::Exited { id: "a".into(), pid: None, at: Some(before), code: Some(0) });
    engine.asked(|calls| calls.inspections_of("a") == 2 && calls.inspecting == 0).await;
    engine.exit("last", None);
    assert_eq!(next(&mut changes, 1).await, ["exited last"]);
    assert_eq!(watching.portfolio(), engine.truth());
}
