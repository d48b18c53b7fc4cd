//! Single decisions of the reconciler, each where it could easily be another one.

use std::mem::replace;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::model::{ErrorKind, Labels};
use crate::settings::Backoff;

/// When all is handled here.
const NOW: u64 = 1000;

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn now() -> Now {
    Now { instant: Instant::now(), time: time(NOW) }
}

fn retry() -> Deadline {
    Deadline::Retry("a".into())
}

fn exit() -> Deadline {
    Deadline::Exit("a".into())
}

fn drift() -> Deadline {
    Deadline::Drift("a".into())
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
    let (reported, at) = (Some(pid).filter(|pid| *pid != 0), at.into().map(time));
    EngineEvent::Started { id: "a".into(), at, pid: reported, preview: Some(Box::new(plain(0))) }
}

/// An exit at that time, of the process with this PID, 0 where it is not told; its exit code is 7.
fn exited(pid: u32, at: impl Into<Option<u64>>) -> EngineEvent {
    let (pid, at) = (Some(pid).filter(|pid| *pid != 0), at.into().map(time));
    EngineEvent::Exited { id: "a".into(), pid, at, code: Some(7) }
}

fn paused(at: u64) -> EngineEvent {
    EngineEvent::Paused { id: "a".into(), at: Some(time(at)) }
}

fn unpaused(at: u64) -> EngineEvent {
    EngineEvent::Unpaused { id: "a".into(), at: Some(time(at)) }
}

fn changed() -> EngineEvent {
    EngineEvent::Changed { id: "a".into(), at: None }
}

/// Of whom a list does not tell that tells of all.
fn nobody() -> UnlistedScopes {
    UnlistedScopes::of(Vec::new(), ContainerId::as_str)
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
        self.subscribe();
        self.list(listed)
    }

    fn list(&mut self, listed: impl IntoIterator<Item = Container>) -> Vec<String> {
        self.take(Input::Listed(listed.into_iter().map(ListingEntry::Whole).collect(), nobody()))
    }

    fn disconnect(&mut self) {
        let error = EngineError::new(ErrorKind::Disconnected, "gone");
        self.take(Input::Disconnected(Arc::new(error)));
    }

    /// What is told in consequence: of containers `NAME PID@TIME`, with the exit code if there is one.
    fn take(&mut self, input: Input) -> Vec<String> {
        self.0.handle_input(input, now());
        self.published()
    }

    /// An audit is due, and its list requested.
    fn audit(&mut self) {
        self.due(Deadline::Audit);
        assert!(matches!(self.0.poll_effect(Room::None), Some(Effect::Audit)), "no audit begins");
    }

    /// Connects, and requests the list.
    fn subscribe(&mut self) {
        self.take(Input::Connected);
        assert!(matches!(self.0.poll_effect(Room::None), Some(Effect::List)), "no list is requested");
    }

    /// The container to inspect next, and whether its last inspection failed.
    fn next(&mut self, room: Room) -> Option<(ContainerId, bool)> {
        match self.0.poll_effect(room) {
            Some(Effect::Inspect { id, is_retry }) => Some((id, is_retry)),
            None => None,
            Some(effect) => panic!("{effect:?} is not an inspection"),
        }
    }

    /// Lets a pending deadline become due.
    fn due(&mut self, deadline: Deadline) -> Vec<String> {
        assert!(self.0.deadlines.cancel(deadline.clone()), "{deadline:?} is not pending");
        self.0.due(deadline, now());
        self.published()
    }

    /// The pending deadlines but that of the next audit.
    fn pending(&self) -> Vec<Deadline> {
        self.0.deadlines.all().filter(|deadline| **deadline != Deadline::Audit).cloned().collect()
    }

    fn published(&mut self) -> Vec<String> {
        let reported = |event: Event| {
            let container = event.container()?;
            let seconds = event.time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
            let code = match event.kind {
                EventKind::Exited { code: Some(code), .. } => format!(" with {code}"),
                _ => String::new(),
            };
            Some(format!("{} {}@{seconds}{code}", event.kind.name(), container.pid()))
        };
        self.0.take_events().into_iter().filter_map(reported).collect()
    }

    fn event(&mut self, event: EngineEvent) -> Vec<String> {
        self.take(Input::Event(event))
    }

    /// Whether an inspection is asked for; it counts as asked from now on.
    fn asks(&mut self) -> bool {
        self.next(Room::Any).is_some()
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
        let mut reported = self.inspect(None);
        for deadline in self.pending() {
            reported.extend(self.due(deadline));
        }
        reported
    }

    fn records(&self) -> usize {
        self.0.records.len()
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_list_that_reports_all_needs_no_inspection() {
    let mut scene = Scene::live([dated(1, 10)]);
    assert!(scene.0.is_live() && !scene.asks());
    assert_eq!((scene.0.portfolio().total(), scene.records()), (1, 0));
}

#[test]
fn who_is_being_asked_about_is_not_asked_about_again_because_it_is_listed() {
    let mut scene = Scene::default();
    scene.subscribe();
    scene.event(started(0, 11));
    assert!(scene.asks());
    assert_eq!(scene.list([dated(1, 10)]), NOTHING, "the answer reports");
    assert!(!scene.0.is_live(), "before that");
    assert_eq!(scene.answer(Some(dated(1, 10))), ["started 1@10"]);
    assert!(!scene.asks() && scene.0.is_live());
}

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
fn an_exit_that_an_inspection_was_ahead_to_see_is_not_reported_with_the_code_of_an_earlier_one() {
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
        assert!(scene.asks());
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
fn of_two_exits_of_one_moment_the_one_reported_later_is_the_newest() {
    let mut scene = Scene::live([]);
    scene.event(exited(7, 20));
    scene.event(exited(8, 20));
    scene.event(started(8, None));
    assert_eq!(scene.event(exited(8, 20)), NOTHING, "reported again");
}

#[test]
fn an_exit_has_its_code_unless_it_may_be_that_of_another_life() {
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
fn an_exit_that_an_audit_found_is_reported_at_once_and_counted() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.audit();
    scene.list([]);
    scene.due(drift());
    assert_eq!(scene.inspect(None), ["exited 1@1000"]);
    assert_eq!(scene.0.drifted(), 1);
}

#[test]
fn an_exit_of_a_life_from_an_earlier_connection_is_reported_at_once() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.disconnect();
    scene.subscribe();
    let (container, started_within) = (Container::new("a", "a", 0), None);
    scene.take(Input::Listed(vec![ListingEntry::Partial { container, started_within }], nobody()));
    assert!(scene.asks());
    scene.fail();
    assert!(scene.0.is_live() && scene.0.unresolved().total() == 1);
    scene.due(retry());
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
fn a_life_whose_end_the_engine_takes_back_is_reported_again_and_dated_after_that_end() {
    for (restart, dated_at) in [(started(0, 30), 30), (started(0, 15), 20), (paused(25), 20)] {
        let mut scene = Scene::live([dated(1, 10)]);
        assert_eq!(scene.event(exited(0, 20)), ["exited 1@20 with 7"]);
        scene.event(restart);
        assert_eq!(scene.inspect(Some(dated(1, 10))), [format!("started 1@{dated_at}")]);
    }
}

#[test]
fn a_life_that_was_not_announced_before_is_dated_by_its_beginning_also_if_an_end_is_reported_twice() {
    let mut scene = Scene::live([dated(1, 10)]);
    assert_eq!(scene.event(exited(0, 20)), ["exited 1@20 with 7"]);
    assert_eq!(scene.event(exited(0, 40)), NOTHING);
    scene.disconnect();
    assert_eq!(scene.connect([dated(2, 30)]), ["started 2@30"]);
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
    assert_eq!(scene.event(exited(7, None)), NOTHING, "reported again");
}

#[test]
fn an_exit_with_a_pid_is_reported_by_its_time_where_the_start_reported_no_pid() {
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
fn a_change_that_an_inspection_shows_is_dated_by_the_events_that_led_to_it() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(changed());
    assert!(scene.asks());
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
fn a_life_that_replaced_another_unseen_is_dated_by_its_beginning() {
    for (began, ended) in [(20, 20), (NOW + 5, NOW)] {
        let mut scene = Scene::live([dated(1, 10)]);
        scene.event(changed());
        let reported = scene.inspect(Some(dated(2, began)));
        assert_eq!(reported, [format!("exited 1@{ended}"), format!("started 2@{began}")]);
    }
}

#[test]
fn a_life_that_was_reported_before_the_connection_was_lost_is_not_reported_again() {
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
    audited.audit();
    let mut connecting = Scene::default();
    connecting.subscribe();
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

#[test]
fn an_answer_is_news_though_hints_came_since_and_one_more_inspection_follows() {
    let hints: [(fn() -> EngineEvent, u64); 4] =
        [(changed, NOW), (|| paused(20), 20), (|| started(0, 10), NOW), (|| started(0, None), NOW)];
    for (hint, at) in hints {
        let mut scene = Scene::default();
        scene.subscribe();
        scene.event(started(0, 10));
        assert!(scene.asks());
        scene.list([]);
        scene.event(hint());
        assert_eq!(scene.answer(Some(dated(1, 10))), ["started 1@10"], "{:?}", hint());
        assert!(scene.0.is_live(), "the first answer is enough");
        for nth in 0..5 {
            assert!(scene.asks(), "once more");
            scene.event(hint());
            let pause = nth % 2 == 0;
            let reported = scene.answer(Some(dated(1, 10).with_paused(pause)));
            assert_eq!(reported, [format!("{} 1@{at}", if pause { "paused" } else { "unpaused" })]);
        }
        assert_eq!(scene.inspect(Some(dated(1, 10).with_paused(true))), NOTHING);
        assert!(!scene.asks());
    }
}

#[test]
fn an_answer_older_than_the_start_of_another_life_does_not_bring_the_former_back() {
    let mut scene = Scene::live([dated(1, 10)]);
    scene.event(started(0, 11));
    scene.inspect(Some(dated(1, 10)));
    scene.event(changed());
    assert!(scene.asks());
    assert_eq!(scene.event(started(0, 20)), ["exited 1@20"]);
    assert_eq!(scene.answer(Some(dated(1, 10))), NOTHING);
    assert_eq!(scene.inspect(Some(dated(2, 20))), ["started 2@20"]);
    assert!(!scene.asks());
}

#[test]
fn an_answer_about_another_life_shows_that_the_known_one_is_over() {
    let mut scene = Scene::live([plain(1)]);
    scene.event(changed());
    assert!(scene.asks());
    scene.event(exited(2, 20));
    assert_eq!(scene.answer(Some(plain(2))), ["exited 1@1000"], "and so is the other one");
    assert_eq!(scene.inspect(None), NOTHING);
}

#[test]
fn what_starts_and_exits_faster_than_inspections_answer_is_settled_with_the_second_answer() {
    for answers in [[Some(dated(1, 10)), Some(dated(2, 12))], [None, None]] {
        let mut scene = Scene::default();
        scene.subscribe();
        scene.event(started(0, 10));
        scene.list([]);
        for (at, answer) in [11, 13].into_iter().zip(answers) {
            assert!(scene.asks() && !scene.0.is_live());
            scene.event(exited(0, at));
            scene.event(started(0, at + 1));
            assert_eq!(scene.answer(answer), NOTHING, "it is of a life before");
        }
        assert!(scene.0.is_live());
        assert_eq!(scene.inspect(Some(dated(3, 14))), ["started 3@14"]);
    }
}

#[test]
fn not_alive_is_not_believed_at_once_of_what_started_and_did_not_exit() {
    for (start, second, reported) in [
        (started(0, 10), Some(dated(1, 10)), vec!["started 1@10"]),
        (started(0, 10), None, vec![]),
        (EngineEvent::Started { id: "a".into(), at: None, pid: None, preview: None }, None, vec![]),
    ] {
        let mut scene = Scene::live([]);
        scene.event(start);
        assert_eq!(scene.inspect(None), NOTHING);
        assert!(!scene.asks(), "not at once");
        assert_eq!(scene.pending(), [retry()]);
        assert!(scene.0.unresolved().is_empty());
        scene.due(retry());
        assert_eq!(scene.inspect(second), reported);
        assert!(!scene.asks() && scene.pending().is_empty(), "once");
    }
    let mut scene = Scene::live([]);
    scene.event(started(0, 10));
    assert!(scene.asks());
    scene.event(exited(0, 11));
    assert_eq!(scene.answer(None), ["started 0@10", "exited 0@11 with 7"]);
    assert_eq!(scene.pending(), []);
}

/// The container `id` as a list contains it that needs an inspection.
fn partial(id: &str, name: &str) -> ListingEntry {
    ListingEntry::Partial { container: Container::new(id, name, 0), started_within: None }
}

#[test]
fn what_cannot_be_inspected_is_named_and_counted_when_synced() {
    let mut scene = Scene::default();
    scene.subscribe();
    scene.event(started(0, 10));
    scene.take(Input::Listed(vec![partial("b", "web")], nobody()));
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
    scene.take(Input::Listed(listed, nobody()));
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
fn what_failed_is_inspected_after_what_is_new_and_only_where_there_is_room_for_that() {
    let mut scene = Scene::live([]);
    scene.event(started(0, 10));
    assert!(scene.asks());
    scene.fail();
    scene.due(retry());
    scene.event(EngineEvent::Paused { id: "b".into(), at: None });
    assert_eq!(scene.next(Room::Any), Some(("b".into(), false)));
    assert_eq!(scene.next(Room::Fresh), None);
    scene.event(changed());
    assert_eq!(scene.next(Room::Fresh), None, "a hint does not make it new");
    assert_eq!(scene.next(Room::Any), Some(("a".into(), true)));
}

/// Lets a container start of which nothing is known.
fn begin(scene: &mut Scene, id: usize, labels: Labels) {
    let id = ContainerId::from(id.to_string());
    let preview = Container::new(id.clone(), "stranger", 0).with_labels(labels);
    scene.event(EngineEvent::Started { id, at: Some(time(19)), pid: None, preview: Some(Box::new(preview)) });
}

#[test]
fn events_of_more_containers_than_there_is_memory_for_are_forgotten_and_a_list_is_owed() {
    for exits in [false, true] {
        let mut connecting = Scene::default();
        connecting.subscribe();
        let mut audited = Scene::live([]);
        audited.audit();
        for mut scene in [Scene::live([]), connecting, audited] {
            for id in 0..STRANGERS + 5 {
                begin(&mut scene, id, Labels::default());
                if exits {
                    bury(&mut scene, id..id + 1);
                }
            }
            assert!(scene.records() <= STRANGERS && scene.0.strangers == scene.records());
            let is_full = scene.records() == STRANGERS;
            assert!(scene.0.poll_effect(Room::None).is_none(), "not before these are done with");
            // What a list contains may have changed since, though its event was forgotten.
            let forgotten = Container::new((STRANGERS + 4).to_string(), "late", 1);
            let is_listing = scene.0.is_listing();
            if is_listing {
                scene.list([forgotten]);
                assert_eq!(scene.0.portfolio().total(), 0);
            }
            for deadline in scene.pending() {
                scene.due(deadline);
            }
            let mut requested = false;
            while let Some(effect) = scene.0.poll_effect(Room::Any) {
                match effect {
                    Effect::Inspect { id, .. } => {
                        scene.take(Input::Inspected(id, Answer::Truth(None)));
                        for deadline in scene.pending() {
                            scene.due(deadline);
                        }
                    }
                    Effect::Audit => {
                        assert!(!replace(&mut requested, true), "once");
                        scene.list([]);
                    }
                    Effect::List | Effect::Publish(_) => panic!("{effect:?}"),
                }
            }
            assert_eq!(requested, is_full || is_listing);
            assert!(scene.records() <= REMEMBERED && scene.0.is_live());
        }
    }
}

#[test]
fn what_starts_announce_of_themselves_is_kept_within_bounds_and_the_hint_in_any_case() {
    let mut scene = Scene::live([]);
    for id in 0..40 {
        begin(&mut scene, id, Labels::from_iter([("large", "x".repeat(1 << 20))]));
    }
    assert!(
        scene.0.preview_bytes <= MAX_PREVIEW_BYTES && scene.0.preview_bytes > MAX_PREVIEW_BYTES / 2,
        "{} bytes",
        scene.0.preview_bytes
    );
    let mut inspected = 0;
    while let Some((id, _)) = scene.next(Room::Any) {
        let container = Container::new(id.clone(), "known", 1).with_started_at(time(19));
        scene.take(Input::Inspected(id, Answer::Truth(Some(container))));
        inspected += 1;
    }
    assert_eq!((inspected, scene.0.preview_bytes, scene.0.strangers, scene.records()), (40, 0, 0, 40));
    scene.disconnect();
    assert_eq!(scene.0.preview_bytes, 0);
}

#[test]
fn the_churn_of_one_container_takes_no_memory() {
    let mut scene = Scene::live([]);
    for at in 0..10_000 {
        scene.event(started(0, 20 + 2 * at));
        scene.event(exited(0, 21 + 2 * at));
    }
    let queued = scene.0.fresh.len();
    assert!(queued <= REMEMBERED + 2, "{queued} in the queue");
    scene.event(started(0, 100_000));
    assert!(scene.asks() && !scene.asks());
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
    scene.take(Input::Listed(vec![partial("a", "a")], nobody()));
    assert!(scene.asks() && scene.0.poll_effect(Room::Any).is_none(), "not before it is live");
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
