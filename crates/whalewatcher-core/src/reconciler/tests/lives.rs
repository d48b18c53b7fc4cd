//! What start, exit and pause events change.

use super::*;

#[test]
fn an_exit_seen_by_an_inspection_does_not_get_the_code_of_an_earlier_one() {
    // The same PID again, long after.
    let mut scene = Scene::live([]);
    scene.event(exited(1, 5));
    scene.event(started(1, None));
    assert_eq!(scene.inspect(Some(plain(1))), ["started 1@1000"]);
    scene.event(changed());
    assert_eq!(scene.inspect(None), NOTHING, "its own exit is still to come");
    assert_eq!(scene.event(exited(1, 30)), ["exited 1@30 with 7"]);
}

#[test]
fn a_start_event_with_the_known_pid_is_ignored() {
    let mut scene = Scene::live([plain(1)]);
    assert_eq!(scene.event(started(1, None)), NOTHING);
    assert!(!scene.inspects());
    assert_eq!(scene.0.ignored(), 1);
}

#[test]
fn the_first_start_after_a_life_began_is_its_own_and_the_next_one_ends_it() {
    let mut scene = Scene::live([dated(1, 10)]);
    assert_eq!(scene.event(started(0, 11)), NOTHING);
    assert_eq!(scene.inspect(Some(dated(1, 10))), NOTHING);
    assert_eq!(scene.event(started(0, 20)), ["exited 1@20"]);
    assert_eq!(scene.event(exited(0, 21)), ["started 0@20", "exited 0@21 with 7"], "however brief");
}

#[test]
fn a_start_of_the_moment_in_which_a_life_began_may_be_of_the_life_before() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(started(0, 10));
    scene.inspect(Some(dated(1, 10)));
    assert_eq!(scene.event(started(0, 11)), NOTHING, "its own, perhaps");
    assert_eq!(scene.inspect(Some(dated(1, 10))), NOTHING);

    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(started(0, 10));
    scene.inspect(Some(dated(1, 10)));
    assert_eq!(scene.end_unreported(), ["exited 1@1000"]);
    scene.event(started(0, 11));
    assert_eq!(scene.event(exited(0, 12)), NOTHING, "no other life");
}

#[test]
fn after_a_reconnect_the_second_start_event_of_a_life_is_another_life() {
    for (own_start_reported, at, reported) in
        [(false, 10, vec![]), (false, 20, vec![]), (true, 10, vec![]), (true, 20, vec!["exited 1@20"])]
    {
        let mut scene = Scene::live([dated(1, 10)]);
        if own_start_reported {
            scene.event(started(0, 11));
            scene.inspect(Some(dated(1, 10)));
        }
        scene.disconnect();
        scene.subscribe();
        assert_eq!(scene.event(started(0, at)), reported, "reported: {own_start_reported}, started at {at}");
        assert!(scene.inspects());
    }
}

#[test]
fn without_times_another_process_ends_only_a_life_from_an_earlier_connection() {
    for (reconnected, pid, reported) in
        [(true, 2, vec!["exited 1@1000"]), (true, 1, vec![]), (true, 0, vec![]), (false, 2, vec![])]
    {
        let mut scene = Scene::live([plain(1)]);
        if reconnected {
            scene.disconnect();
            scene.subscribe();
        }
        assert_eq!(scene.event(started(pid, None)), reported, "PID {pid}, reconnected: {reconnected}");
        assert!(scene.inspects());
    }
}

#[test]
fn an_older_exit_that_comes_later_does_not_replace_the_newest() {
    let mut scene = Scene::live([]);
    for at in [15, 20, 18] {
        scene.event(exited(0, at));
    }
    // That life was over by then, and is announced already.
    scene.event(started(0, 19));
    assert_eq!(scene.inspect(None), NOTHING);
    assert_eq!(scene.event(exited(0, 20)), NOTHING);
}

#[test]
fn of_two_exits_of_one_moment_the_later_event_is_the_newest() {
    let mut scene = Scene::live([]);
    scene.event(exited(7, 20));
    scene.event(exited(8, 20));
    scene.event(started(8, None));
    assert_eq!(scene.event(exited(8, 20)), NOTHING, "reported again");
}

#[test]
fn an_exit_has_its_code_unless_it_may_be_another_lifes() {
    for (reconnected, pid, reported) in [
        (false, 0, "exited 1@20 with 7"),
        (false, 1, "exited 1@20 with 7"),
        (true, 1, "exited 1@20 with 7"),
        (true, 0, "exited 1@20"),
    ] {
        let mut scene = Scene::live([dated(1, 10)]);
        if reconnected {
            scene.disconnect();
            scene.subscribe();
        }
        assert_eq!(scene.event(exited(pid, 20)), [reported], "PID {pid}, reconnected: {reconnected}");
    }
}

#[test]
fn an_exit_of_a_life_from_an_earlier_connection_is_reported_at_once() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.disconnect();
    scene.subscribe();
    let (container, started_within) = (Container::new("a", "a", 0), None);
    scene.take(Input::Listed(vec![ListingEntry::Partial { container, started_within }], all_scopes()));
    assert!(scene.inspects());
    scene.fail();
    assert!(scene.0.is_live() && scene.0.unresolved().total() == 1);
    scene.due(retry());
    assert_eq!(scene.inspect(None), ["exited 1@1000"]);
}

#[test]
fn after_a_life_that_vanished_a_brief_one_is_announced() {
    let next = |scene: &mut Scene| {
        scene.event(started(0, 20));
        scene.event(exited(0, 21))
    };
    // Its own start event came.
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(started(0, 11));
    scene.inspect(Some(dated(1, 10)));
    assert_eq!(scene.end_unreported(), ["exited 1@1000"]);
    assert_eq!(next(&mut scene), ["started 0@20", "exited 0@21 with 7"]);
    // Its exit event came later.
    let mut scene = Scene::live([dated(1, 10)]);
    scene.end_unreported();
    assert_eq!(scene.event(exited(0, 15)), NOTHING);
    assert_eq!(next(&mut scene), ["started 0@20", "exited 0@21 with 7"]);
    // Neither was, so that this start may be its own.
    let mut scene = Scene::live([dated(1, 10)]);
    scene.end_unreported();
    assert_eq!(next(&mut scene), NOTHING);
    // The PID distinguishes it.
    let mut scene = Scene::live([plain(1)]);
    scene.end_unreported();
    scene.event(started(2, None));
    assert_eq!(scene.event(exited(2, 21)), ["started 2@1000", "exited 2@21 with 7"]);
}

#[test]
fn an_exit_of_the_moment_in_which_a_life_began_is_of_the_life_before() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.end_unreported();
    scene.event(exited(0, 10));
    scene.event(started(0, 11));
    assert_eq!(scene.event(exited(0, 12)), NOTHING, "the start was that of the life that vanished");
}

#[test]
fn a_life_whose_end_is_taken_back_starts_again_after_that_end() {
    for (restart, dated_at) in [(started(0, 30), 30), (started(0, 15), 20), (paused(25), 20)] {
        let mut scene = Scene::live([dated(1, 10)]);
        assert_eq!(scene.event(exited(0, 20)), ["exited 1@20 with 7"]);
        scene.event(restart);
        assert_eq!(scene.inspect(Some(dated(1, 10))), [format!("started 1@{dated_at}")]);
    }
}

#[test]
fn a_new_life_is_dated_by_its_start_also_after_a_repeated_exit() {
    let mut scene = Scene::live([dated(1, 10)]);
    assert_eq!(scene.event(exited(0, 20)), ["exited 1@20 with 7"]);
    assert_eq!(scene.event(exited(0, 40)), NOTHING);
    scene.disconnect();
    assert_eq!(scene.connect([dated(2, 30)]), ["started 2@30"]);
}

#[test]
fn an_old_start_event_brings_no_life_back() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.end_unreported();
    scene.event(exited(0, 15));
    scene.event(started(0, 9));
    assert_eq!(scene.event(exited(0, 16)), NOTHING);
}

#[test]
fn an_old_start_event_brings_no_life_back_after_a_reconnect() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.end_unreported();
    scene.disconnect();
    scene.connect([]);
    scene.event(started(0, 9));
    assert_eq!(scene.event(exited(0, 10)), NOTHING);
}

#[test]
fn an_exit_of_the_moment_in_which_the_known_life_began_is_verified() {
    let mut scene = Scene::live([dated(1, 10)]);
    assert_eq!(scene.event(exited(0, 10)), NOTHING);
    assert_eq!(scene.inspect(Some(dated(1, 10))), NOTHING);
}

#[test]
fn a_brief_life_without_a_start_time_is_announced() {
    let mut scene = Scene::live([]);
    scene.event(started(7, None));
    assert_eq!(scene.inspect(None), NOTHING);
    assert_eq!(scene.event(exited(7, 12)), ["started 7@1000", "exited 7@12 with 7"]);
}

#[test]
fn an_exit_that_overtakes_its_start_ends_it() {
    let mut scene = Scene::live([]);
    scene.event(exited(7, None));
    scene.event(started(7, None));
    assert_eq!(scene.inspect(None), NOTHING);
    assert_eq!(scene.event(exited(7, None)), NOTHING, "reported again");
}

#[test]
fn an_exit_with_a_pid_is_reported_by_its_time_where_the_start_reported_no_pid() {
    let mut scene = Scene::live([]);
    scene.event(started(0, 10));
    assert_eq!(scene.event(exited(7, 12)), ["started 0@10", "exited 0@12 with 7"]);
}

#[test]
fn a_pause_event_counts_only_if_it_is_newer_than_what_is_known() {
    let mut scene = Scene::live([dated(1, 10)]);
    assert_eq!(scene.event(paused(20)), ["paused 1@20"]);
    let unpaused = |at| EngineEvent::Unpaused { id: "a".into(), at };
    assert_eq!(scene.event(unpaused(Some(time(20)))), NOTHING);
    assert_eq!(scene.inspect(Some(dated(1, 10))), ["unpaused 1@1000"]);
    let mut scene = Scene::live([dated(1, 10)]);
    assert_eq!(scene.event(paused(10)), NOTHING);
    assert!(scene.inspects());
    let mut scene = Scene::live([plain(1).with_paused(true)]);
    assert_eq!(scene.event(unpaused(None)), ["unpaused 1@1000"], "without a time in the order they come");
}

#[test]
fn a_life_announced_before_a_disconnect_is_not_announced_again() {
    let mut scene = Scene::live([]);
    let life = [started(7, 10), exited(7, 12)];
    let reported: Vec<_> = life.clone().into_iter().flat_map(|event| scene.event(event)).collect();
    assert_eq!(reported, ["started 7@10", "exited 7@12 with 7"]);
    scene.disconnect();
    scene.connect([]);
    for event in life {
        assert_eq!(scene.event(event), NOTHING);
    }
}

fn health(at: u64, health: Health) -> EngineEvent {
    EngineEvent::Health { id: "a".into(), at: Some(time(at)), health }
}

fn oom_killed(at: u64) -> EngineEvent {
    EngineEvent::OomKilled { id: "a".into(), at: Some(time(at)) }
}

#[test]
fn a_change_of_health_is_an_update_without_an_inspection() {
    let mut scene = Scene::live([dated(1, 10).with_health(Health::Starting)]);
    assert_eq!(scene.event(health(20, Health::Healthy)), ["updated 1@20"]);
    for at in 21..1000 {
        assert_eq!(scene.event(health(at, Health::Healthy)), NOTHING, "a probe that changes nothing");
    }
    assert_eq!(scene.event(health(2000, Health::Unhealthy)), ["updated 1@2000"]);
    assert!(!scene.inspects());
    assert_eq!(scene.event(health(30, Health::Healthy)), NOTHING, "it came late");
    assert_eq!(scene.inspect(Some(dated(1, 10).with_health(Health::Unhealthy))), NOTHING);
}

#[test]
fn an_oom_kill_marks_the_life_in_which_it_happened() {
    let oom = |scene: &Scene| scene.0.portfolio().by_id("a").map(|container| container.oom_killed());
    let mut scene = Scene::live([dated(1, 10)]);
    assert_eq!(scene.event(oom_killed(5)), NOTHING, "of the life before");
    assert_eq!(scene.event(oom_killed(20)), ["updated 1@20"]);
    assert_eq!(scene.event(oom_killed(21)), NOTHING, "not the first one");
    scene.event(changed());
    assert_eq!(scene.inspect(Some(dated(1, 10))), NOTHING, "the engine's inspection does not contain it");
    assert_eq!(oom(&scene), Some(true));
    assert_eq!(scene.ooms(exited(0, 22)), [("exited", true)]);
    scene.event(started(0, 30));
    scene.inspect(Some(dated(2, 30)));
    assert_eq!(oom(&scene), Some(false), "the next life");
}

#[test]
fn an_exit_is_marked_by_the_oom_kill_before_it_where_there_are_no_start_times() {
    let mut scene = Scene::live([plain(1)]);
    assert_eq!(scene.event(oom_killed(20)), NOTHING);
    assert_eq!(scene.ooms(exited(1, 21)), [("exited", true)]);

    let mut scene = Scene::live([plain(2)]);
    scene.event(oom_killed(20));
    assert_eq!(scene.ooms(exited(1, 21)), [], "it was the life before");
    scene.inspect(Some(plain(2)));
    assert_eq!(scene.ooms(exited(2, 22)), [("exited", false)]);
}

#[test]
fn a_life_that_ends_before_it_is_inspected_is_marked_by_its_oom_kill() {
    let mut scene = Scene::live([]);
    scene.event(started(0, 10));
    scene.event(oom_killed(11));
    assert_eq!(scene.ooms(exited(0, 12)), [("started", false), ("exited", true)]);
}
