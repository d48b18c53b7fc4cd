//! What an audit makes of a list.

use super::*;

#[test]
fn a_lasting_mismatch_is_inspected_once_after_its_first_grace_period() {
    let mut scene = Scene::live([dated(1, 10)]);
    for listed in [vec![dated(1, 10).with_paused(true)], vec![]] {
        scene.audit();
        scene.list(listed);
    }
    scene.due(drift());
    assert!(scene.inspects());
    assert_eq!(scene.pending(), []);
    assert_eq!(scene.answer(Some(dated(1, 10))), NOTHING);
    assert!(!scene.inspects());
    assert_eq!((scene.0.drifted(), scene.records()), (0, 0), "it was as known");
}

#[test]
fn a_new_mismatch_has_a_grace_period_of_its_own() {
    let mut scene = Scene::live([dated(1, 10)]);
    let began = now();
    for (seconds, listed) in
        [vec![dated(1, 10).with_paused(true)], vec![dated(1, 10)], vec![]].into_iter().enumerate()
    {
        let now = Now { instant: began.instant + Duration::from_millis(400) * seconds as u32, ..began };
        scene.audit();
        scene.0.handle_input(
            Input::Listed(listed.into_iter().map(ListingEntry::Whole).collect(), all_scopes()),
            now,
        );
        let pending = if seconds == 1 { vec![] } else { vec![drift()] };
        assert_eq!(scene.pending(), pending);
    }
    assert_eq!(scene.0.poll_timeout(), Some(began.instant + Duration::from_millis(800) + GRACE));
    scene.due(drift());
    assert_eq!(scene.inspect(None), ["exited 1@1000"]);
    assert_eq!(scene.0.drifted(), 1);
}

#[test]
fn a_mismatch_with_an_event_after_the_list_is_no_drift() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.audit();
    scene.list([]);
    assert_eq!(scene.event(paused(20)), ["paused 1@20"]);
    scene.due(drift());
    assert_eq!(scene.inspect(Some(dated(1, 10))), ["unpaused 1@1000"]);
    assert_eq!(scene.0.drifted(), 0);
}

#[test]
fn a_mismatch_with_an_event_while_the_list_was_in_flight_is_no_drift() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.audit();
    assert_eq!(scene.event(paused(20)), ["paused 1@20"]);
    scene.list([dated(1, 10)]);
    scene.due(drift());
    assert_eq!(scene.inspect(Some(dated(1, 10))), ["unpaused 1@1000"]);
    assert_eq!(scene.0.drifted(), 0);
}

#[test]
fn a_mismatch_with_an_inspection_under_way_is_no_drift() {
    for (in_flight, fails) in [(false, false), (true, false), (true, true)] {
        let mut scene = Scene::live([]);
        scene.event(started(1, None));
        if in_flight {
            assert!(scene.inspects());
        }
        if fails {
            scene.fail();
        }
        scene.audit();
        scene.list([plain(1)]);
        scene.due(drift());
        if fails {
            scene.due(retry());
        } else if in_flight {
            assert_eq!(scene.answer(Some(plain(1))), ["started 1@1000"]);
        }
        let reported = scene.inspect(Some(plain(1)));
        assert!(
            reported == ["started 1@1000"] || in_flight && !fails,
            "it may be older than the list: {reported:?}"
        );
        assert_eq!(scene.0.drifted(), 0, "in flight: {in_flight}, fails: {fails}");
    }
}

#[test]
fn a_container_that_is_listed_as_known_is_no_mismatch() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.audit();
    scene.list([dated(1, 10)]);
    assert_eq!(scene.pending(), []);
}

#[test]
fn a_mismatch_in_inspection_has_one_grace_period() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(changed());
    assert!(scene.inspects());
    scene.audit();
    scene.list([]);
    assert_eq!(scene.pending(), [drift()]);
}

#[test]
fn an_unlisted_container_in_inspection_is_inspected_again_after_an_audit() {
    let mut scene = Scene::live([]);
    scene.event(started(1, None));
    assert!(scene.inspects());
    scene.audit();
    scene.list([]);
    assert_eq!(scene.pending(), [drift()]);
    scene.due(drift());
    assert_eq!(scene.answer(Some(plain(1))), ["started 1@1000"]);
    assert!(scene.inspects(), "it may be over since, and its exit lost");
    assert_eq!(scene.answer(None), NOTHING);
    assert_eq!(scene.pending(), [exit()]);
    assert_eq!(scene.due(exit()), ["exited 1@1000"]);
    assert!(!scene.inspects());
}

#[test]
fn an_unlisted_container_that_was_inspected_meanwhile_is_not_inspected_again() {
    let mut scene = Scene::live([]);
    scene.event(started(1, None));
    assert!(scene.inspects());
    scene.audit();
    scene.list([]);
    assert_eq!(scene.answer(None), NOTHING);
    assert_eq!(scene.pending(), [retry(), drift()]);
    scene.due(drift());
    assert!(!scene.inspects());
}

#[test]
fn a_mismatch_that_an_event_resolves_is_not_inspected() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.audit();
    scene.list([dated(1, 10).with_paused(true)]);
    assert_eq!(scene.pending(), [drift()]);
    assert_eq!(scene.event(paused(20)), ["paused 1@20"]);
    scene.due(drift());
    assert!(!scene.inspects());
}

#[test]
fn an_exit_that_an_audit_found_is_reported_at_once_and_counted() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.audit();
    scene.list([]);
    scene.due(drift());
    assert_eq!(scene.inspect(None), ["exited 1@1000"]);
    assert_eq!(scene.0.drifted(), 1);
}
