//! Single decisions of the reconciler, each where it could easily be another one.

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::error::ErrorKind;

/// When all is handled here.
const NOW: u64 = 1000;

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The container `a` as Docker tells of it, with a start time.
fn dated(pid: u32, began: u64) -> Container {
    Container::new("a", "a", pid).with_started_at(time(began))
}

/// The container `a` as containerd tells of it, without one.
fn plain(pid: u32) -> Container {
    Container::new("a", "a", pid)
}

/// A start at that time, of a life with this PID, 0 where it is not told.
fn started(pid: u32, at: impl Into<Option<u64>>) -> EngineEvent {
    let (told, at) = (Some(pid).filter(|pid| *pid != 0), at.into().map(time));
    EngineEvent::Started { id: "a".into(), at, pid: told, glimpse: Some(Box::new(plain(0))) }
}

/// An exit at that time, of the process with this PID, 0 where it is not told; its exit code is 7.
fn exited(pid: u32, at: impl Into<Option<u64>>) -> EngineEvent {
    let (pid, at) = (Some(pid).filter(|pid| *pid != 0), at.into().map(time));
    EngineEvent::Exited { id: "a".into(), pid, at, code: Some(7) }
}

fn paused(at: u64) -> EngineEvent {
    EngineEvent::Paused { id: "a".into(), at: Some(time(at)) }
}

fn changed() -> EngineEvent {
    EngineEvent::Changed { id: "a".into(), at: None }
}

/// Of whom a list does not tell that tells of all.
fn nobody() -> Untold {
    Untold::of(Vec::new(), ContainerId::as_str)
}

/// A reconciler, and what becomes of what it is told.
#[derive(Default)]
struct Scene(Reconciler);

impl Scene {
    /// Connected and live, with these containers listed.
    fn live(listed: impl IntoIterator<Item = Container>) -> Self {
        let mut scene = Self::default();
        scene.connect(listed);
        scene
    }

    /// Connects, and is live if the list tells all.
    fn connect(&mut self, listed: impl IntoIterator<Item = Container>) -> Vec<String> {
        self.take(Input::Connected);
        self.list(listed)
    }

    fn list(&mut self, listed: impl IntoIterator<Item = Container>) -> Vec<String> {
        self.take(Input::Listed(listed.into_iter().map(Sighting::Whole).collect(), nobody()))
    }

    fn disconnect(&mut self) {
        let error = EngineError::new(ErrorKind::Disconnected, "gone");
        self.take(Input::Disconnected(Arc::new(error)));
    }

    /// What is told in consequence: of containers `NAME PID@TIME`, with the exit code if there is one.
    fn take(&mut self, input: Input) -> Vec<String> {
        self.0.handle(input, time(NOW));
        let told = |event: Event| {
            let container = event.container()?;
            let seconds = event.time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
            let code = match event.kind {
                EventKind::Exited { code: Some(code), .. } => format!(" with {code}"),
                _ => String::new(),
            };
            Some(format!("{} {}@{seconds}{code}", event.kind.name(), container.pid()))
        };
        self.0.take_published().into_iter().filter_map(told).collect()
    }

    fn event(&mut self, event: EngineEvent) -> Vec<String> {
        self.take(Input::Event(event))
    }

    /// Whether an inspection is asked for; it counts as asked from now on.
    fn asks(&mut self) -> bool {
        self.0.next_inspection().is_some()
    }

    fn answer(&mut self, truth: Option<Container>) -> Vec<String> {
        self.take(Input::Inspected("a".into(), Answer::Truth(truth)))
    }

    /// Asks, and answers that.
    fn inspect(&mut self, truth: Option<Container>) -> Vec<String> {
        assert!(self.asks(), "nothing is asked");
        self.answer(truth)
    }

    /// The inspection fails.
    fn fail(&mut self) -> Vec<String> {
        let error = EngineError::new(ErrorKind::Failed, "scripted failure");
        self.take(Input::Inspected("a".into(), Answer::Unknown(Arc::new(error))))
    }

    /// The life that is known turns out to be over, and no event tells how.
    fn vanish(&mut self) -> Vec<String> {
        self.event(changed());
        let mut told = self.inspect(None);
        for suspect in self.0.take_suspects() {
            told.extend(self.take(Input::Suspect(suspect)));
        }
        told
    }

    fn records(&self) -> usize {
        self.0.records.len()
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_list_that_tells_all_needs_no_inspection() {
    let mut scene = Scene::live([dated(1, 10)]);
    assert!(scene.0.is_live() && !scene.asks());
    assert_eq!((scene.0.portfolio().total(), scene.records()), (1, 0));
}

#[test]
fn who_is_being_asked_about_is_not_asked_about_again_because_it_is_listed() {
    let mut scene = Scene::default();
    scene.take(Input::Connected);
    scene.event(started(0, 11));
    assert!(scene.asks());
    assert_eq!(scene.list([dated(1, 10)]), NOTHING, "the answer tells");
    assert!(!scene.0.is_live(), "before that");
    assert_eq!(scene.answer(Some(dated(1, 10))), ["started 1@10"]);
    assert!(!scene.asks() && scene.0.is_live());
}

#[test]
fn who_stays_suspicious_is_asked_about_once_and_after_the_first_grace() {
    let mut scene = Scene::live([dated(1, 10)]);
    for listed in [vec![dated(1, 10).with_paused(true)], vec![]] {
        scene.take(Input::Audit);
        scene.list(listed);
    }
    assert_eq!(scene.0.take_suspects().len(), 1);
    scene.take(Input::Suspect("a".into()));
    assert!(scene.asks());
    scene.take(Input::Suspect("a".into()));
    assert_eq!(scene.answer(Some(dated(1, 10))), NOTHING);
    assert!(!scene.asks());
    assert_eq!((scene.0.divergences(), scene.records()), (0, 0), "it was as known");
}

#[test]
fn a_grace_that_began_before_does_not_cut_that_of_another_suspicion_short() {
    let mut scene = Scene::live([dated(1, 10)]);
    for listed in [vec![dated(1, 10).with_paused(true)], vec![dated(1, 10)], vec![]] {
        scene.take(Input::Audit);
        scene.list(listed);
    }
    assert_eq!(scene.0.take_suspects().len(), 2);
    scene.take(Input::Suspect("a".into()));
    assert!(!scene.asks(), "the first one was cleared meanwhile, the other one's time is not over");
    scene.take(Input::Suspect("a".into()));
    assert_eq!(scene.inspect(None), ["exited 1@1000"]);
    assert_eq!(scene.0.divergences(), 1);
}

#[test]
fn what_an_event_spoke_of_since_an_audit_is_asked_about_but_no_divergence() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.take(Input::Audit);
    scene.list([]);
    assert_eq!(scene.event(paused(20)), ["paused 1@20"]);
    scene.take(Input::Suspect("a".into()));
    assert_eq!(scene.inspect(Some(dated(1, 10))), ["unpaused 1@1000"]);
    assert_eq!(scene.0.divergences(), 0);
}

#[test]
fn what_an_event_spoke_of_while_the_list_was_awaited_is_asked_about_but_no_divergence() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.take(Input::Audit);
    assert_eq!(scene.event(paused(20)), ["paused 1@20"]);
    scene.list([dated(1, 10)]);
    scene.take(Input::Suspect("a".into()));
    assert_eq!(scene.inspect(Some(dated(1, 10))), ["unpaused 1@1000"]);
    assert_eq!(scene.0.divergences(), 0);
}

#[test]
fn what_an_event_led_to_before_an_audit_is_no_divergence_however_long_it_takes() {
    for (is_asked, fails) in [(false, false), (true, false), (true, true)] {
        let mut scene = Scene::live([]);
        scene.event(started(1, None));
        if is_asked {
            assert!(scene.asks());
        }
        if fails {
            scene.fail();
        }
        scene.take(Input::Audit);
        scene.list([plain(1)]);
        assert_eq!(scene.0.take_suspects(), ["a".into()]);
        scene.take(Input::Suspect("a".into()));
        if fails {
            scene.take(Input::Retry("a".into()));
        } else if is_asked {
            assert_eq!(scene.answer(Some(plain(1))), NOTHING, "it may be older than the list");
        }
        assert_eq!(scene.inspect(Some(plain(1))), ["started 1@1000"]);
        assert_eq!(scene.0.divergences(), 0, "asked: {is_asked}, fails: {fails}");
    }
}

#[test]
fn an_audit_suspects_nobody_who_is_listed_as_known() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.take(Input::Audit);
    scene.list([dated(1, 10)]);
    assert!(scene.0.take_suspects().is_empty());
}

#[test]
fn who_differs_and_is_being_asked_about_is_suspected_once() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(changed());
    assert!(scene.asks());
    scene.take(Input::Audit);
    scene.list([]);
    assert_eq!(scene.0.take_suspects(), ["a".into()]);
}

#[test]
fn who_is_unknown_unlisted_and_being_asked_about_is_asked_about_again_after_an_audit() {
    let mut scene = Scene::live([]);
    scene.event(started(1, None));
    assert!(scene.asks());
    scene.take(Input::Audit);
    scene.list([]);
    assert_eq!(scene.0.take_suspects(), ["a".into()]);
    scene.take(Input::Suspect("a".into()));
    assert_eq!(scene.answer(Some(plain(1))), NOTHING, "it may be over since, and its exit lost");
    assert!(scene.asks());
    assert_eq!(scene.answer(None), NOTHING);
    assert!(!scene.asks());
}

#[test]
fn who_is_unknown_unlisted_and_was_answered_for_meanwhile_is_not_asked_about_again() {
    let mut scene = Scene::live([]);
    scene.event(started(1, None));
    assert!(scene.asks());
    scene.take(Input::Audit);
    scene.list([]);
    assert_eq!(scene.answer(None), NOTHING);
    assert_eq!(scene.0.take_suspects(), ["a".into()]);
    scene.take(Input::Suspect("a".into()));
    assert!(!scene.asks());
}

#[test]
fn who_an_event_spoke_of_is_not_suspected_any_more() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.take(Input::Audit);
    scene.list([dated(1, 10).with_paused(true)]);
    assert_eq!(scene.0.take_suspects(), ["a".into()]);
    assert_eq!(scene.event(paused(20)), ["paused 1@20"]);
    scene.take(Input::Suspect("a".into()));
    assert!(!scene.asks());
}

#[test]
fn an_exit_that_an_inspection_was_ahead_to_see_is_not_told_with_the_code_of_an_earlier_one() {
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
fn a_start_of_the_process_that_is_known_is_no_news() {
    let mut scene = Scene::live([plain(1)]);
    assert_eq!(scene.event(started(1, None)), NOTHING);
    assert!(!scene.asks());
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
    assert_eq!(scene.vanish(), ["exited 1@1000"]);
    scene.event(started(0, 11));
    assert_eq!(scene.event(exited(0, 12)), NOTHING, "no other life");
}

#[test]
fn after_a_reconnect_too_only_the_second_start_after_the_beginning_of_a_life_is_another_lifes() {
    for (own_start_told, at, told) in
        [(false, 10, vec![]), (false, 20, vec![]), (true, 10, vec![]), (true, 20, vec!["exited 1@20"])]
    {
        let mut scene = Scene::live([dated(1, 10)]);
        if own_start_told {
            scene.event(started(0, 11));
            scene.inspect(Some(dated(1, 10)));
        }
        scene.disconnect();
        scene.take(Input::Connected);
        assert_eq!(scene.event(started(0, at)), told, "told: {own_start_told}, started at {at}");
        assert!(scene.asks());
    }
}

#[test]
fn without_times_another_process_ends_only_a_life_from_an_earlier_connection() {
    for (reconnected, pid, told) in
        [(true, 2, vec!["exited 1@1000"]), (true, 1, vec![]), (true, 0, vec![]), (false, 2, vec![])]
    {
        let mut scene = Scene::live([plain(1)]);
        if reconnected {
            scene.disconnect();
            scene.take(Input::Connected);
        }
        assert_eq!(scene.event(started(pid, None)), told, "PID {pid}, reconnected: {reconnected}");
        assert!(scene.asks());
    }
}

#[test]
fn an_older_exit_that_comes_later_is_not_the_newest() {
    let mut scene = Scene::live([]);
    for at in [15, 20, 18] {
        scene.event(exited(0, at));
    }
    // It was over by then, and whatever was to be told of it was.
    scene.event(started(0, 19));
    assert_eq!(scene.inspect(None), NOTHING);
    assert_eq!(scene.event(exited(0, 20)), NOTHING);
}

#[test]
fn of_two_exits_of_one_moment_the_one_told_later_is_the_newest() {
    let mut scene = Scene::live([]);
    scene.event(exited(7, 20));
    scene.event(exited(8, 20));
    scene.event(started(8, None));
    assert_eq!(scene.event(exited(8, 20)), NOTHING, "told again");
}

#[test]
fn an_exit_has_its_code_unless_it_may_be_that_of_another_life() {
    for (reconnected, pid, told) in [
        (false, 0, "exited 1@20 with 7"),
        (false, 1, "exited 1@20 with 7"),
        (true, 1, "exited 1@20 with 7"),
        (true, 0, "exited 1@20"),
    ] {
        let mut scene = Scene::live([dated(1, 10)]);
        if reconnected {
            scene.disconnect();
            scene.take(Input::Connected);
        }
        assert_eq!(scene.event(exited(pid, 20)), [told], "PID {pid}, reconnected: {reconnected}");
    }
}

#[test]
fn an_exit_that_an_audit_found_is_told_at_once_and_counted() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.take(Input::Audit);
    scene.list([]);
    scene.take(Input::Suspect("a".into()));
    assert_eq!(scene.inspect(None), ["exited 1@1000"]);
    assert_eq!(scene.0.divergences(), 1);
}

#[test]
fn an_exit_of_a_life_from_an_earlier_connection_is_told_at_once() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.disconnect();
    scene.take(Input::Connected);
    let (container, started_within) = (Container::new("a", "a", 0), None);
    scene.take(Input::Listed(vec![Sighting::Partial { container, started_within }], nobody()));
    assert!(scene.asks());
    scene.fail();
    assert!(scene.0.is_live() && scene.0.unresolved().total() == 1);
    scene.take(Input::Retry("a".into()));
    assert_eq!(scene.inspect(None), ["exited 1@1000"]);
}

#[test]
fn after_a_life_that_vanished_the_next_one_leaves_its_trace_however_brief() {
    let next = |scene: &mut Scene| {
        scene.event(started(0, 20));
        scene.event(exited(0, 21))
    };
    // Its own start was told.
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(started(0, 11));
    scene.inspect(Some(dated(1, 10)));
    assert_eq!(scene.vanish(), ["exited 1@1000"]);
    assert_eq!(next(&mut scene), ["started 0@20", "exited 0@21 with 7"]);
    // Its exit was told, later.
    let mut scene = Scene::live([dated(1, 10)]);
    scene.vanish();
    assert_eq!(scene.event(exited(0, 15)), NOTHING);
    assert_eq!(next(&mut scene), ["started 0@20", "exited 0@21 with 7"]);
    // Neither was, so that this start may be its own.
    let mut scene = Scene::live([dated(1, 10)]);
    scene.vanish();
    assert_eq!(next(&mut scene), NOTHING);
    // By its PID it is told apart.
    let mut scene = Scene::live([plain(1)]);
    scene.vanish();
    scene.event(started(2, None));
    assert_eq!(scene.event(exited(2, 21)), ["started 2@1000", "exited 2@21 with 7"]);
}

#[test]
fn an_exit_of_the_moment_in_which_a_life_began_is_of_the_life_before() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.vanish();
    scene.event(exited(0, 10));
    scene.event(started(0, 11));
    assert_eq!(scene.event(exited(0, 12)), NOTHING, "the start was that of the life that vanished");
}

#[test]
fn a_life_whose_end_the_engine_takes_back_is_told_again_and_dated_after_that_end() {
    for (restart, dated_at) in [(started(0, 30), 30), (started(0, 15), 20), (paused(25), 20)] {
        let mut scene = Scene::live([dated(1, 10)]);
        assert_eq!(scene.event(exited(0, 20)), ["exited 1@20 with 7"]);
        scene.event(restart);
        assert_eq!(scene.inspect(Some(dated(1, 10))), [format!("started 1@{dated_at}")]);
    }
}

#[test]
fn a_start_before_the_last_life_began_brings_none_back() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.vanish();
    scene.event(exited(0, 15));
    scene.event(started(0, 9));
    assert_eq!(scene.event(exited(0, 16)), NOTHING);
}

#[test]
fn a_start_before_the_last_life_began_brings_none_back_after_another_connection_either() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.vanish();
    scene.disconnect();
    scene.connect([]);
    scene.event(started(0, 9));
    assert_eq!(scene.event(exited(0, 10)), NOTHING);
}

#[test]
fn an_exit_of_the_moment_in_which_the_known_life_began_is_not_believed_untested() {
    let mut scene = Scene::live([dated(1, 10)]);
    assert_eq!(scene.event(exited(0, 10)), NOTHING);
    assert_eq!(scene.inspect(Some(dated(1, 10))), NOTHING);
}

#[test]
fn a_life_whose_start_has_no_time_leaves_its_trace() {
    let mut scene = Scene::live([]);
    scene.event(started(7, None));
    assert_eq!(scene.inspect(None), NOTHING);
    assert_eq!(scene.event(exited(7, 12)), ["started 7@1000", "exited 7@12 with 7"]);
}

#[test]
fn an_exit_that_overtakes_a_start_is_remembered() {
    let mut scene = Scene::live([]);
    scene.event(exited(7, None));
    scene.event(started(7, None));
    assert_eq!(scene.inspect(None), NOTHING);
    assert_eq!(scene.event(exited(7, None)), NOTHING, "told again");
}

#[test]
fn an_exit_with_a_pid_is_told_by_its_time_where_the_start_told_no_pid() {
    let mut scene = Scene::live([]);
    scene.event(started(0, 10));
    assert_eq!(scene.event(exited(7, 12)), ["started 0@10", "exited 0@12 with 7"]);
}

#[test]
fn a_pause_is_believed_only_if_it_is_newer_than_all_that_is_known() {
    let mut scene = Scene::live([dated(1, 10)]);
    assert_eq!(scene.event(paused(20)), ["paused 1@20"]);
    let unpaused = |at| EngineEvent::Unpaused { id: "a".into(), at };
    assert_eq!(scene.event(unpaused(Some(time(20)))), NOTHING);
    assert_eq!(scene.inspect(Some(dated(1, 10))), ["unpaused 1@1000"]);
    let mut scene = Scene::live([dated(1, 10)]);
    assert_eq!(scene.event(paused(10)), NOTHING);
    assert!(scene.asks());
    let mut scene = Scene::live([plain(1).with_paused(true)]);
    assert_eq!(scene.event(unpaused(None)), ["unpaused 1@1000"], "without a time in the order they come");
}

#[test]
fn a_life_that_replaced_another_unseen_is_dated_by_its_beginning() {
    for (began, ended) in [(20, 20), (NOW + 5, NOW)] {
        let mut scene = Scene::live([dated(1, 10)]);
        scene.event(changed());
        let told = scene.inspect(Some(dated(2, began)));
        assert_eq!(told, [format!("exited 1@{ended}"), format!("started 2@{began}")]);
    }
}

#[test]
fn a_life_that_was_told_before_the_connection_was_lost_is_not_told_again() {
    let mut scene = Scene::live([]);
    let life = [started(7, 10), exited(7, 12)];
    let told: Vec<_> = life.clone().into_iter().flat_map(|event| scene.event(event)).collect();
    assert_eq!(told, ["started 7@10", "exited 7@12 with 7"]);
    scene.disconnect();
    scene.connect([]);
    for event in life {
        assert_eq!(scene.event(event), NOTHING);
    }
}

#[test]
fn of_what_was_asked_nothing_is_left_after_the_connection() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(changed());
    scene.disconnect();
    assert!(!scene.asks());
    assert_eq!(scene.records(), 0);
}

#[test]
fn what_is_not_alive_and_has_no_past_is_forgotten() {
    let mut scene = Scene::live([]);
    scene.event(paused(20));
    assert_eq!(scene.inspect(None), NOTHING);
    assert_eq!(scene.records(), 0);
    scene.event(changed());
    assert!(!scene.asks(), "and of whom nothing is known nothing is asked");
    assert_eq!(scene.records(), 0);
}

/// Lets that many containers exit that nobody knew.
fn bury(scene: &mut Scene, ids: std::ops::Range<usize>) {
    for id in ids {
        let id = ContainerId::from(id.to_string());
        scene.event(EngineEvent::Exited { id, pid: None, at: Some(time(20)), code: None });
    }
}

#[test]
fn so_many_of_the_dead_are_remembered_and_the_newest_of_them() {
    let mut scene = Scene::live([]);
    bury(&mut scene, 0..REMEMBERED + 5);
    assert_eq!((scene.records(), scene.0.remembered.len()), (REMEMBERED, REMEMBERED));
    assert!(!scene.0.records.contains_key("4") && scene.0.records.contains_key("5"));
    bury(&mut scene, 5..REMEMBERED + 5);
    assert_eq!(scene.0.remembered.len(), REMEMBERED, "each once");
}

#[test]
fn while_a_list_is_awaited_nobody_who_died_is_forgotten() {
    let mut audited = Scene::live([]);
    audited.take(Input::Audit);
    let mut connecting = Scene::default();
    connecting.take(Input::Connected);
    for mut scene in [audited, connecting] {
        bury(&mut scene, 0..REMEMBERED + 5);
        assert_eq!(scene.records(), REMEMBERED + 5);
        scene.list([]);
        bury(&mut scene, 0..1);
        assert_eq!(scene.records(), REMEMBERED);
    }
}

#[test]
fn the_pids_of_the_newest_lives_are_remembered() {
    let mut scene = Scene::live([]);
    for pid in 1..=20 {
        scene.event(started(pid, None));
        scene.inspect(Some(plain(pid)));
        scene.event(exited(pid, None));
    }
    for pid in 13..=20 {
        scene.event(started(pid, None));
        assert_eq!(scene.inspect(None), NOTHING);
        assert_eq!(scene.event(exited(pid, None)), NOTHING, "PID {pid}");
    }
    let past = scene.0.records["a"].past.as_ref().expect("it lived");
    assert_eq!(past.remembered_pids(), 8);
}
