//! What an audit makes of a list.

use super::*;

#[test]
fn who_stays_suspicious_is_asked_about_once_and_after_the_first_grace() {
    let mut scene = Scene::live([dated(1, 10)]);
    for listed in [vec![dated(1, 10).with_paused(true)], vec![]] {
        scene.audit();
        scene.list(listed);
    }
    scene.due(drift());
    assert!(scene.asks());
    assert_eq!(scene.pending(), []);
    assert_eq!(scene.answer(Some(dated(1, 10))), NOTHING);
    assert!(!scene.asks());
    assert_eq!((scene.0.drifted(), scene.records()), (0, 0), "it was as known");
}

#[test]
fn a_grace_that_began_before_does_not_cut_that_of_another_suspicion_short() {
    let mut scene = Scene::live([dated(1, 10)]);
    let began = now();
    for (seconds, listed) in
        [vec![dated(1, 10).with_paused(true)], vec![dated(1, 10)], vec![]].into_iter().enumerate()
    {
        let now = Now { instant: began.instant + Duration::from_millis(400) * seconds as u32, ..began };
        scene.audit();
        scene.0.handle_input(
            Input::Listed(listed.into_iter().map(ListingEntry::Whole).collect(), nobody()),
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
fn what_an_event_spoke_of_since_an_audit_is_asked_about_but_no_drift() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.audit();
    scene.list([]);
    assert_eq!(scene.event(paused(20)), ["paused 1@20"]);
    scene.due(drift());
    assert_eq!(scene.inspect(Some(dated(1, 10))), ["unpaused 1@1000"]);
    assert_eq!(scene.0.drifted(), 0);
}

#[test]
fn what_an_event_spoke_of_while_the_list_was_awaited_is_asked_about_but_no_drift() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.audit();
    assert_eq!(scene.event(paused(20)), ["paused 1@20"]);
    scene.list([dated(1, 10)]);
    scene.due(drift());
    assert_eq!(scene.inspect(Some(dated(1, 10))), ["unpaused 1@1000"]);
    assert_eq!(scene.0.drifted(), 0);
}

#[test]
fn what_an_event_led_to_before_an_audit_is_no_drift_however_long_it_takes() {
    for (is_asked, fails) in [(false, false), (true, false), (true, true)] {
        let mut scene = Scene::live([]);
        scene.event(started(1, None));
        if is_asked {
            assert!(scene.asks());
        }
        if fails {
            scene.fail();
        }
        scene.audit();
        scene.list([plain(1)]);
        scene.due(drift());
        if fails {
            scene.due(retry());
        } else if is_asked {
            assert_eq!(scene.answer(Some(plain(1))), ["started 1@1000"]);
        }
        let reported = scene.inspect(Some(plain(1)));
        assert!(
            reported == ["started 1@1000"] || is_asked && !fails,
            "it may be older than the list: {reported:?}"
        );
        assert_eq!(scene.0.drifted(), 0, "asked: {is_asked}, fails: {fails}");
    }
}

#[test]
fn an_audit_suspects_nobody_who_is_listed_as_known() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.audit();
    scene.list([dated(1, 10)]);
    assert_eq!(scene.pending(), []);
}

#[test]
fn who_differs_and_is_being_asked_about_is_suspected_once() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(changed());
    assert!(scene.asks());
    scene.audit();
    scene.list([]);
    assert_eq!(scene.pending(), [drift()]);
}

#[test]
fn who_is_unknown_unlisted_and_being_asked_about_is_asked_about_again_after_an_audit() {
    let mut scene = Scene::live([]);
    scene.event(started(1, None));
    assert!(scene.asks());
    scene.audit();
    scene.list([]);
    assert_eq!(scene.pending(), [drift()]);
    scene.due(drift());
    assert_eq!(scene.answer(Some(plain(1))), ["started 1@1000"]);
    assert!(scene.asks(), "it may be over since, and its exit lost");
    assert_eq!(scene.answer(None), NOTHING);
    assert_eq!(scene.pending(), [exit()]);
    assert_eq!(scene.due(exit()), ["exited 1@1000"]);
    assert!(!scene.asks());
}

#[test]
fn who_is_unknown_unlisted_and_was_answered_for_meanwhile_is_not_asked_about_again() {
    let mut scene = Scene::live([]);
    scene.event(started(1, None));
    assert!(scene.asks());
    scene.audit();
    scene.list([]);
    assert_eq!(scene.answer(None), NOTHING);
    assert_eq!(scene.pending(), [retry(), drift()]);
    scene.due(drift());
    assert!(!scene.asks());
}

#[test]
fn who_an_event_spoke_of_is_not_suspected_any_more() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.audit();
    scene.list([dated(1, 10).with_paused(true)]);
    assert_eq!(scene.pending(), [drift()]);
    assert_eq!(scene.event(paused(20)), ["paused 1@20"]);
    scene.due(drift());
    assert!(!scene.asks());
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
