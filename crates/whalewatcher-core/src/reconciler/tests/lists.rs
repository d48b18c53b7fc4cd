//! When lists are requested, and what the first one needs.

use super::*;

#[test]
fn a_whole_listing_entry_needs_no_inspection() {
    let mut scene = Scene::live([dated(1, 10)]);
    assert!(scene.0.is_live() && !scene.inspects());
    assert_eq!((scene.0.portfolio().total(), scene.records()), (1, 0));
}

#[test]
fn a_listed_container_in_inspection_is_not_inspected_twice() {
    let mut scene = Scene::default();
    scene.subscribe();
    scene.event(started(0, 11));
    assert!(scene.inspects());
    assert_eq!(scene.list([dated(1, 10)]), NOTHING, "the answer reports");
    assert!(!scene.0.is_live(), "before that");
    assert_eq!(scene.answer(Some(dated(1, 10))), ["started 1@10"]);
    assert!(!scene.inspects() && scene.0.is_live());
}

#[test]
fn a_failed_audit_waits_for_the_next_one() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.audit();
    scene.take(Input::ListFailed);
    assert_eq!(scene.pending(), []);
    assert!(scene.0.is_live() && scene.0.poll_effect(Room::Any).is_none());
    scene.audit();
}

#[test]
fn a_failed_list_that_a_gap_requires_is_repeated_until_one_is_complete() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(EngineEvent::Gap);
    for _ in 0..3 {
        assert!(matches!(scene.0.poll_effect(Room::Any), Some(Effect::Audit)));
        scene.event(changed());
        scene.take(Input::ListFailed);
        assert_eq!(scene.pending(), [Deadline::Relist]);
        scene.event(EngineEvent::Gap);
        assert!(!matches!(scene.0.poll_effect(Room::None), Some(Effect::Audit)), "not before its time");
        scene.due(Deadline::Relist);
    }
    assert!(matches!(scene.0.poll_effect(Room::None), Some(Effect::Audit)));
    scene.list([dated(1, 10)]);
    assert!(scene.0.poll_effect(Room::None).is_none() && !scene.pending().contains(&Deadline::Relist));
}

#[test]
fn a_gap_while_a_list_is_in_flight_requires_another_one() {
    for fails in [false, true] {
        let mut scene = Scene::live([dated(1, 10)]);
        scene.audit();
        scene.event(EngineEvent::Gap);
        assert!(scene.0.poll_effect(Room::Any).is_none(), "one at a time");
        if fails {
            scene.take(Input::ListFailed);
            scene.due(Deadline::Relist);
        } else {
            scene.list([dated(1, 10)]);
        }
        assert!(matches!(scene.0.poll_effect(Room::Any), Some(Effect::Audit)));
    }
}

#[test]
fn a_gap_during_the_first_list_leads_to_an_audit_once_it_is_live() {
    let mut scene = Scene::default();
    scene.subscribe();
    scene.event(EngineEvent::Gap);
    scene.take(Input::Listed(vec![partial("a", "a")], all_scopes()));
    assert!(scene.inspects() && scene.0.poll_effect(Room::Any).is_none(), "not before it is live");
    scene.answer(Some(dated(1, 10)));
    assert!(scene.0.is_live() && matches!(scene.0.poll_effect(Room::Any), Some(Effect::Audit)));
}

#[test]
fn an_audit_takes_the_place_of_a_list_that_is_deferred() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(EngineEvent::Gap);
    assert!(matches!(scene.0.poll_effect(Room::Any), Some(Effect::Audit)));
    scene.take(Input::ListFailed);
    scene.audit();
    assert_eq!(scene.pending(), []);
    scene.take(Input::ListFailed);
    assert_eq!(scene.pending(), [Deadline::Relist], "it is still required");
}

#[test]
fn an_audit_that_is_due_while_a_list_is_in_flight_or_before_it_is_live_is_left_out() {
    let mut scene = Scene::default();
    scene.subscribe();
    for is_live in [false, true] {
        scene.due(Deadline::Audit);
        assert!(scene.0.poll_effect(Room::Any).is_none());
        if is_live {
            scene.list([]);
            assert!(scene.0.poll_effect(Room::None).is_none());
        } else {
            scene.list([]);
            scene.audit();
        }
    }
    scene.audit();
}

#[test]
fn the_delays_of_incomplete_lists_grow_and_a_complete_one_resets_them() {
    let first = Duration::from_secs(100);
    let backoff = Backoff::default().with_delays(first, first * 64);
    let mut scene = Scene(Reconciler::new(Settings::default().with_backoff(backoff).with_audits(None)));
    scene.subscribe();
    for factor in [1, 2, 4, 0, 1] {
        let complete = factor == 0;
        let unlisted = if complete { vec![] } else { vec!["b".to_owned()] };
        let began = now();
        scene.0.handle_input(Input::Listed(vec![], UnlistedScopes::of(unlisted, ContainerId::as_str)), began);
        if complete {
            assert_eq!(scene.0.poll_timeout(), None);
            scene.event(EngineEvent::Gap);
        } else {
            let delay = scene.0.poll_timeout().expect("it is requested again") - began.instant;
            assert!(delay <= first * factor && delay >= first * factor / 2, "{delay:?}");
            scene.due(Deadline::Relist);
        }
        scene.0.take_events();
        assert!(matches!(scene.0.poll_effect(Room::None), Some(Effect::List | Effect::Audit)));
    }
}
