//! Engines whose IDs have one life each: what is over is over for good.

use super::*;

/// Checks that nothing brings the container back, and that nothing asks for it.
fn assert_over_for_good(scene: &mut Scene) {
    let touched = || EngineEvent::Touched { id: "a".into(), at: None };
    for event in [started(1, 30), started(2, None), exited(1, 31), paused(32), touched(), changed()] {
        assert_eq!(scene.event(event.clone()), NOTHING, "{event:?}");
        assert!(!scene.inspects(), "{event:?}");
    }
    let ignored = scene.0.ignored();
    assert!(ignored >= 6, "{ignored} ignored");
    scene.audit();
    assert_eq!(scene.list([dated(1, 10)]), NOTHING, "an audit's list");
    assert!(scene.pending().is_empty() && !scene.inspects());
    scene.disconnect();
    assert_eq!(scene.connect([dated(1, 10)]), NOTHING, "the list of the next connection");
    assert!(scene.0.is_live() && !scene.inspects());
    scene.event(started(1, 30));
    assert!(!scene.inspects(), "an event of the next connection");
    assert_eq!(scene.0.drifted(), 0);
}

#[test]
fn an_exit_event_is_final_whatever_its_pid_and_time() {
    for exit in [exited(1, 20), exited(0, 20), exited(9, 20), exited(0, 5), exited(0, None)] {
        let mut scene = Scene::final_live([dated(1, 10)]);
        let reported = scene.event(exit.clone());
        assert!(reported.len() == 1 && reported[0].ends_with("with 7"), "{exit:?}: {reported:?}");
        assert_over_for_good(&mut scene);
    }
}

#[test]
fn an_exit_that_no_event_reported_is_final() {
    let mut scene = Scene::final_live([dated(1, 10)]);
    assert_eq!(scene.end_unreported(), ["exited 1@1000"]);
    assert_over_for_good(&mut scene);
    let mut scene = Scene::final_live([dated(1, 10)]);
    scene.disconnect();
    assert_eq!(scene.connect([]), ["exited 1@1000"]);
    assert_over_for_good(&mut scene);
}

#[test]
fn an_exit_of_a_container_that_is_not_known_is_final() {
    let mut scene = Scene::final_live([]);
    assert_eq!(scene.event(exited(1, 20)), NOTHING);
    assert_over_for_good(&mut scene);
}

#[test]
fn where_ids_are_used_again_an_exit_is_not_final() {
    let mut scene = Scene::live([dated(1, 10)]);
    assert_eq!(scene.event(exited(0, 20)), ["exited 1@20 with 7"]);
    scene.event(started(0, 30));
    assert_eq!(scene.inspect(Some(dated(2, 30))), ["started 2@30"]);
}

#[test]
fn an_exit_has_its_code_also_if_the_life_is_from_an_earlier_connection_or_was_touched() {
    let mut scene = Scene::final_live([dated(1, 10)]);
    scene.disconnect();
    scene.subscribe();
    assert_eq!(scene.event(exited(0, 20)), ["exited 1@20 with 7"]);
    let mut scene = Scene::final_live([dated(1, 10)]);
    scene.event(EngineEvent::Touched { id: "a".into(), at: None });
    assert_eq!(scene.event(exited(0, 20)), ["exited 1@20 with 7"]);
}

#[test]
fn an_exit_drops_the_inspection_that_has_not_begun() {
    let mut scene = Scene::final_live([dated(1, 10)]);
    scene.event(changed());
    scene.event(exited(0, 20));
    assert!(!scene.inspects());
    // Also one that is to be repeated.
    let mut scene = Scene::final_live([dated(1, 10)]);
    scene.event(changed());
    assert!(scene.inspects());
    scene.fail();
    assert_eq!((scene.0.unresolved().total(), scene.pending()), (1, vec![retry()]));
    scene.event(exited(0, 20));
    assert_eq!((scene.0.unresolved().total(), scene.pending()), (0, vec![]));
    // Also one of a container that is not in the portfolio yet.
    let mut scene = Scene::default();
    scene.0.has_one_life_per_id = true;
    scene.subscribe();
    scene.take(Input::Listed(vec![partial("a", "a")], all_scopes()));
    scene.event(exited(0, 20));
    assert!(scene.0.is_live() && !scene.inspects());
}

#[test]
fn an_answer_about_what_is_over_brings_nothing_back() {
    for answered in [Some(dated(1, 10)), None] {
        let mut scene = Scene::final_live([dated(1, 10)]);
        scene.event(changed());
        assert!(scene.inspects());
        scene.event(changed());
        scene.event(exited(0, 20));
        assert_eq!(scene.answer(answered), NOTHING);
        assert!(!scene.inspects(), "and no inspection follows");
    }
    let mut scene = Scene::final_live([dated(1, 10)]);
    scene.event(changed());
    assert!(scene.inspects());
    scene.event(exited(0, 20));
    assert_eq!(scene.fail(), NOTHING);
    assert!(scene.pending().is_empty() && scene.0.unresolved().is_empty());
}

#[test]
fn an_answer_completes_a_brief_life() {
    let brief = || {
        let mut scene = Scene::final_live([]);
        scene.event(EngineEvent::Started { id: "a".into(), at: None, pid: Some(1), preview: None });
        assert!(scene.inspects());
        assert_eq!(scene.event(exited(1, 20)), NOTHING, "its name may still come");
        scene
    };
    // The engine still shows it as alive.
    let mut scene = brief();
    assert_eq!(scene.answer(Some(dated(1, 10))), ["started 1@10", "exited 1@20 with 7"]);
    assert_over_for_good(&mut scene);
    // The engine knows its name.
    let mut scene = brief();
    let named = Container::new("a", "web", 0);
    scene.0.handle_input(Input::Inspected("a".into(), Answer::Truth(Some(named))), now());
    let announced: Vec<_> = scene.0.take_events().iter().map(ToString::to_string).collect();
    assert_eq!(
        announced,
        ["started container 'web'/a with PID 1", "exited container 'web'/a with PID 1, exit code 7"]
    );
    // The engine does not know it any more.
    let mut scene = brief();
    assert_eq!(scene.answer(None), ["started 1@1000", "exited 1@20 with 7"]);
    // The engine does not answer: its name is asked for again.
    let mut scene = brief();
    assert_eq!(scene.fail(), NOTHING);
    scene.due(retry());
    assert_eq!(scene.inspect(Some(plain(0))), ["started 1@1000", "exited 1@20 with 7"]);
}

#[test]
fn a_brief_life_with_a_name_needs_no_answer() {
    let mut scene = Scene::final_live([]);
    let preview = Some(Box::new(Container::new("a", "web", 0)));
    scene.event(EngineEvent::Started { id: "a".into(), at: Some(time(10)), pid: None, preview });
    assert!(scene.inspects());
    scene.event(changed());
    assert_eq!(scene.event(exited(0, 20)), NOTHING, "the answer may contain more");
    assert_eq!(scene.fail(), ["started 0@10", "exited 0@20 with 7"]);
    assert!(scene.pending().is_empty() && !scene.inspects());
}

#[test]
fn a_preview_with_a_name_learns_only_from_what_the_engine_shows_as_alive() {
    for (answered, name, pid) in [(plain(0), "web", 0), (dated(1, 10), "a", 1)] {
        for has_one_life_per_id in [false, true] {
            let mut scene = Scene::live([]);
            scene.0.has_one_life_per_id = has_one_life_per_id;
            let preview = Some(Box::new(Container::new("a", "web", 0)));
            scene.event(EngineEvent::Started { id: "a".into(), at: Some(time(10)), pid: None, preview });
            assert!(scene.inspects());
            scene.event(exited(0, 20));
            let answer = Input::Inspected("a".into(), Answer::Truth(Some(answered.clone())));
            scene.0.handle_input(answer, now());
            let events = scene.0.take_events();
            let announced: Vec<_> = events.iter().filter_map(Event::container).collect();
            assert!(announced.iter().all(|container| (container.name(), container.pid()) == (name, pid)));
            assert_eq!(announced.len(), 2);
        }
    }
}

#[test]
fn a_start_event_of_a_known_container_costs_no_inspection() {
    let mut scene = Scene::final_live([dated(1, 10)]);
    assert_eq!(scene.event(started(0, 20)), NOTHING);
    assert!(!scene.inspects());
    scene.disconnect();
    scene.subscribe();
    assert_eq!(scene.event(started(0, 30)), NOTHING);
    assert!(!scene.inspects());
    assert_eq!(scene.list([]), ["exited 1@1000"], "and does not confirm it");
}

#[test]
fn what_an_audit_listed_before_the_exit_is_not_inspected() {
    let mut scene = Scene::final_live([dated(1, 10)]);
    scene.audit();
    scene.list([dated(1, 10).with_paused(true)]);
    scene.event(exited(0, 20));
    scene.due(drift());
    assert!(!scene.inspects() && scene.0.drifted() == 0);
}

#[test]
fn the_newest_are_known_to_be_over() {
    let mut scene = Scene::final_live([]);
    let id = |nth: usize| ContainerId::from(nth.to_string());
    for nth in 0..MAX_FINAL_TOMBSTONES + 5 {
        scene.event(EngineEvent::Exited { id: id(nth), pid: None, at: None, code: None });
    }
    assert_eq!(scene.records(), MAX_FINAL_TOMBSTONES);
    assert!(!scene.0.has_ended(&id(4)) && scene.0.has_ended(&id(5)));
}

#[test]
fn what_another_engine_started_again_is_not_over() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(exited(0, 20));
    scene.event(started(0, 30));
    assert_eq!(scene.inspect(Some(dated(2, 30))), ["started 2@30"]);
    scene.disconnect();
    scene.0.has_one_life_per_id = true;
    assert_eq!(scene.connect([dated(2, 30)]), NOTHING, "it is still alive");
    assert_eq!(scene.event(exited(0, 40)), ["exited 2@40 with 7"]);
    assert_over_for_good(&mut scene);
}
