//! What answers to inspections change, and what is inspected next.

use super::*;

#[test]
fn a_change_that_an_inspection_shows_is_dated_by_the_events_that_led_to_it() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(changed());
    assert!(scene.inspects());
    assert_eq!(scene.event(paused(20)), NOTHING);
    assert_eq!(scene.event(unpaused(30)), NOTHING);
    assert_eq!(scene.answer(Some(dated(1, 10).with_paused(true))), ["paused 1@30"]);
    assert_eq!(scene.event(paused(20)), NOTHING, "again");
    assert_eq!(scene.inspect(Some(dated(1, 10))), ["unpaused 1@30"]);
    assert_eq!(scene.event(paused(40)), ["paused 1@40"]);
    scene.event(changed());
    assert_eq!(scene.inspect(Some(dated(1, 10))), ["unpaused 1@1000"], "no event had that time");
}

#[test]
fn an_unseen_replacement_is_dated_by_its_start() {
    for (began, ended) in [(20, 20), (NOW + 5, NOW)] {
        let mut scene = Scene::live([dated(1, 10)]);
        scene.event(changed());
        let reported = scene.inspect(Some(dated(2, began)));
        assert_eq!(reported, [format!("exited 1@{ended}"), format!("started 2@{began}")]);
    }
}

#[test]
fn a_disconnect_forgets_inspections() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(changed());
    scene.disconnect();
    assert!(!scene.inspects());
    assert_eq!(scene.records(), 0);
}

#[test]
fn an_answer_counts_despite_later_hints_and_one_more_inspection_follows() {
    let hints: [(fn() -> EngineEvent, u64); 4] =
        [(changed, NOW), (|| paused(20), 20), (|| started(0, 10), NOW), (|| started(0, None), NOW)];
    for (hint, at) in hints {
        let mut scene = Scene::default();
        scene.subscribe();
        scene.event(started(0, 10));
        assert!(scene.inspects());
        scene.list([]);
        scene.event(hint());
        assert_eq!(scene.answer(Some(dated(1, 10))), ["started 1@10"], "{:?}", hint());
        assert!(scene.0.is_live(), "the first answer is enough");
        for nth in 0..5 {
            assert!(scene.inspects(), "once more");
            scene.event(hint());
            let pause = nth % 2 == 0;
            let reported = scene.answer(Some(dated(1, 10).with_paused(pause)));
            assert_eq!(reported, [format!("{} 1@{at}", if pause { "paused" } else { "unpaused" })]);
        }
        assert_eq!(scene.inspect(Some(dated(1, 10).with_paused(true))), NOTHING);
        assert!(!scene.inspects());
    }
}

#[test]
fn an_answer_older_than_a_restart_does_not_bring_the_former_life_back() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(started(0, 11));
    scene.inspect(Some(dated(1, 10)));
    scene.event(changed());
    assert!(scene.inspects());
    assert_eq!(scene.event(started(0, 20)), ["exited 1@20"]);
    assert_eq!(scene.answer(Some(dated(1, 10))), NOTHING);
    assert_eq!(scene.inspect(Some(dated(2, 20))), ["started 2@20"]);
    assert!(!scene.inspects());
}

#[test]
fn an_answer_about_another_life_ends_the_known_one() {
    let mut scene = Scene::live([plain(1)]);
    scene.event(changed());
    assert!(scene.inspects());
    scene.event(exited(2, 20));
    assert_eq!(scene.answer(Some(plain(2))), ["exited 1@1000"], "and so is the other one");
    assert_eq!(scene.inspect(None), NOTHING);
}

#[test]
fn a_container_that_outruns_inspections_is_settled_with_the_second_answer() {
    for answers in [[Some(dated(1, 10)), Some(dated(2, 12))], [None, None]] {
        let mut scene = Scene::default();
        scene.subscribe();
        scene.event(started(0, 10));
        scene.list([]);
        for (at, answer) in [11, 13].into_iter().zip(answers) {
            assert!(scene.inspects() && !scene.0.is_live());
            scene.event(exited(0, at));
            scene.event(started(0, at + 1));
            assert_eq!(scene.answer(answer), NOTHING, "it is of a life before");
        }
        assert!(scene.0.is_live());
        assert_eq!(scene.inspect(Some(dated(3, 14))), ["started 3@14"]);
    }
}

#[test]
fn a_first_answer_not_alive_after_a_start_is_verified() {
    for (start, second, reported) in
        [(started(0, 10), Some(dated(1, 10)), vec!["started 1@10"]), (started(0, 10), None, vec![])]
    {
        let mut scene = Scene::live([]);
        scene.event(start);
        assert_eq!(scene.inspect(None), NOTHING);
        assert!(!scene.inspects(), "not at once");
        assert_eq!(scene.pending(), [retry()]);
        assert!(scene.0.unresolved().is_empty());
        scene.due(retry());
        assert_eq!(scene.inspect(second), reported);
        assert!(!scene.inspects() && scene.pending().is_empty(), "once");
    }
    let mut scene = Scene::live([]);
    scene.event(started(0, 10));
    assert!(scene.inspects());
    scene.event(exited(0, 11));
    assert_eq!(scene.answer(None), ["started 0@10", "exited 0@11 with 7"]);
    assert_eq!(scene.pending(), []);
}

#[test]
fn unresolved_containers_are_named_and_counted_when_synced() {
    let mut scene = Scene::default();
    scene.subscribe();
    scene.event(started(0, 10));
    scene.take(Input::Listed(vec![partial("b", "web")], all_scopes()));
    scene.0.take_events();
    while let Some((id, _)) = scene.0.next_inspection(Room::Any) {
        let error = Arc::new(EngineError::new(ErrorKind::Failed, "out of descriptors"));
        scene.0.handle_input(Input::Inspected(id, Answer::Unknown(error)), now());
    }
    let synced: Vec<_> = scene.0.take_events().iter().map(Event::to_string).collect();
    assert_eq!(synced, ["synced, 0 alive, 2 unresolved"]);
    let named: Vec<_> = scene.0.unresolved().containers().iter().map(ToString::to_string).collect();
    assert_eq!(named, ["a: out of descriptors", "web: out of descriptors"]);
    scene.due(retry());
    scene.inspect(Some(dated(1, 10)));
    assert_eq!(scene.0.unresolved().total(), 1);
    scene.disconnect();
    assert!(scene.0.unresolved().is_empty());
}

#[test]
fn of_many_unresolved_containers_the_first_are_named() {
    let mut scene = Scene::default();
    scene.subscribe();
    let listed = (100..220).map(|id| partial(&id.to_string(), "web")).collect();
    scene.take(Input::Listed(listed, all_scopes()));
    while let Some((id, _)) = scene.next(Room::Any) {
        let error = Arc::new(EngineError::new(ErrorKind::Failed, "scripted failure"));
        scene.take(Input::Inspected(id, Answer::Unknown(error)));
    }
    let unresolved = scene.0.unresolved();
    let (first, last) = (&unresolved.containers()[0], &unresolved.containers()[99]);
    assert_eq!((unresolved.total(), unresolved.containers().len()), (120, 100));
    assert_eq!((first.id.as_str(), last.id.as_str()), ("100", "199"));
}

#[test]
fn retries_come_after_first_inspections_and_where_there_is_room() {
    let mut scene = Scene::live([]);
    scene.event(started(0, 10));
    assert!(scene.inspects());
    scene.fail();
    scene.due(retry());
    scene.event(EngineEvent::Paused { id: "b".into(), at: None });
    assert_eq!(scene.next(Room::Any), Some(("b".into(), false)));
    assert_eq!(scene.next(Room::Fresh), None);
    scene.event(changed());
    assert_eq!(scene.next(Room::Fresh), None, "a hint does not make it new");
    assert_eq!(scene.next(Room::Any), Some(("a".into(), true)));
}

/// An event of which nothing but the container is known.
fn touched() -> EngineEvent {
    EngineEvent::Touched { id: "a".into(), at: None }
}

/// A start event that contains nothing else.
fn bare() -> EngineEvent {
    EngineEvent::Started { id: "a".into(), at: None, pid: None, preview: None }
}

#[test]
fn a_touched_container_is_inspected_whatever_is_known_of_it() {
    for hint in [touched(), bare()] {
        let mut scene = Scene::live([]);
        scene.event(hint.clone());
        assert_eq!(scene.inspect(Some(dated(1, 10))), ["started 1@10"]);
        scene.event(hint.clone());
        assert_eq!(scene.inspect(Some(dated(2, 20))), ["exited 1@20", "started 2@20"]);
        scene.event(hint.clone());
        assert_eq!(scene.inspect(None), NOTHING, "its exit event may follow");
        assert_eq!(scene.due(exit()), ["exited 2@1000"]);
        scene.event(hint);
        assert_eq!(scene.inspect(None), NOTHING);
        assert!(!scene.inspects() && scene.pending().is_empty(), "an answer that began later is believed");
    }
}

#[test]
fn an_answer_that_is_older_than_a_touch_does_not_end_synchronizing() {
    let mut scene = Scene::default();
    scene.subscribe();
    scene.take(Input::Listed(vec![partial("a", "a")], all_scopes()));
    assert!(scene.inspects());
    scene.event(touched());
    assert_eq!(scene.answer(None), NOTHING);
    assert!(!scene.0.is_live(), "a life may have begun since");
    assert_eq!(scene.inspect(Some(dated(1, 10))), ["started 1@10"]);
    assert!(scene.0.is_live());
}

#[test]
fn an_exit_after_a_touch_may_be_of_a_later_life_and_lends_no_code() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(touched());
    assert_eq!(scene.event(exited(0, 30)), ["exited 1@30"]);
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(touched());
    assert!(scene.inspects());
    scene.event(touched());
    scene.answer(Some(dated(1, 10)));
    assert_eq!(scene.event(exited(0, 30)), ["exited 1@30"], "the answer is older than the second one");
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(touched());
    scene.inspect(Some(dated(1, 10)));
    assert_eq!(
        scene.event(exited(0, 30)),
        ["exited 1@30 with 7"],
        "the answer shows that it is the same life"
    );
    let mut scene = Scene::live([plain(1)]);
    scene.event(touched());
    assert_eq!(scene.event(exited(1, 30)), ["exited 1@30 with 7"], "the PID shows that it is its own");
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(bare());
    assert!(scene.inspects());
    scene.event(bare());
    scene.answer(Some(dated(1, 10)));
    assert_eq!(scene.event(exited(0, 30)), ["exited 1@30 with 7"], "no exit can have been malformed");
    let mut scene = Scene::live([]);
    scene.event(started(0, 10));
    scene.event(touched());
    assert_eq!(scene.event(exited(0, 30)), ["started 0@10", "exited 0@30"]);
    let mut scene = Scene::live([]);
    scene.event(touched());
    scene.event(started(0, 10));
    assert_eq!(
        scene.event(exited(0, 30)),
        ["started 0@10", "exited 0@30 with 7"],
        "its start came after the touch"
    );
}

#[test]
fn an_oom_kill_before_or_after_a_touch_marks_no_life_that_it_may_not_have_been_in() {
    let oom = || EngineEvent::OomKilled { id: "a".into(), at: Some(time(20)) };
    for events in [[oom(), touched()], [touched(), oom()]] {
        let mut scene = Scene::live([plain(1)]);
        for event in events {
            scene.event(event);
        }
        assert_eq!(scene.inspect(Some(plain(2))), ["exited 1@1000", "started 2@1000"]);
        scene.0.handle_input(Input::Event(exited(2, 30)), now());
        let published = scene.0.take_events();
        assert!(published[0].container().is_some_and(|container| !container.oom_killed()), "{published:?}");
    }
}
