//! The rules one by one, and random histories against a naive model.

mod naive;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::model::{EngineError, ErrorKind, Labels, POD_NAME_LABEL, POD_UID_LABEL};

const MINUTE: u64 = 60;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn docker() -> EngineKey {
    EngineKey::new("docker.com", "unix:///run/docker.sock")
}

fn containerd() -> EngineKey {
    EngineKey::new("containerd.io", "unix:///run/containerd.sock")
}

/// A life that began then.
fn life(id: &str, name: &str, started: u64) -> Arc<Container> {
    Arc::new(Container::new(id, name, 1).with_started_at(at(started)))
}

fn started(container: &Arc<Container>) -> EventKind {
    EventKind::Started(container.clone())
}

fn exited(container: &Arc<Container>, code: impl Into<Option<i32>>) -> EventKind {
    EventKind::Exited { container: container.clone(), code: code.into() }
}

fn synced() -> EventKind {
    EventKind::Synced { containers: 0, unresolved: 0 }
}

fn disconnected() -> EventKind {
    EventKind::Disconnected { error: Arc::new(EngineError::new(ErrorKind::Disconnected, "gone")) }
}

/// A history of Docker's events, and the crash loops so far.
struct Subject {
    history: History,
    loops: Vec<String>,
}

impl Subject {
    fn new(settings: HistorySettings) -> Self {
        let mut subject = Self { history: History::new(settings), loops: Vec::new() };
        subject.take(0, EventKind::Joined);
        subject.take(0, synced());
        subject
    }

    fn take(&mut self, seconds: u64, kind: EventKind) {
        self.take_from(&docker(), seconds, kind);
    }

    fn take_from(&mut self, key: &EngineKey, seconds: u64, kind: EventKind) {
        self.history.handle_event(key, &Event::new(at(seconds), kind), at(seconds));
        self.drain();
    }

    fn wait(&mut self, seconds: u64) {
        self.history.handle_timeout(at(seconds));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some((_, event)) = self.history.poll_event() {
            let EventKind::CrashLoop(it) = &event.kind else { panic!("{event}") };
            let is = if it.is_over { "over" } else { "began" };
            self.loops.push(format!("{} {is} after {}", it.container.name(), it.lives));
        }
    }

    /// A life from one second to another.
    fn live(&mut self, id: &str, name: &str, (from, to): (u64, u64), code: i32) {
        let container = life(id, name, from);
        self.take(from, started(&container));
        self.take(to, exited(&container, code));
    }

    fn lives(&self) -> Vec<(&str, Option<i32>, bool)> {
        let all = self.history.lives();
        all.map(|life| (life.container().name(), life.exit_code(), life.is_certain())).collect()
    }
}

impl Default for Subject {
    fn default() -> Self {
        Self::new(HistorySettings::default())
    }
}

#[test]
fn a_life_is_kept_with_its_times_and_exit_code() {
    let mut subject = Subject::default();
    subject.live("1", "web", (5, 9), 137);
    let kept = subject.history.by_name("web").next().unwrap();
    assert_eq!((kept.started_at(), kept.ended_at(), kept.exit_code()), (Some(at(5)), at(9), Some(137)));
    assert_eq!((kept.key(), kept.was_found(), kept.is_certain()), (&docker(), false, true));
    assert_eq!((subject.history.by_id("1").count(), subject.history.by_project("").count()), (1, 1));
    assert_eq!(subject.history.by_id("web").count() + subject.history.by_project("shop").count(), 0);
}

#[test]
fn what_runs_before_the_first_synced_was_found_and_what_starts_later_was_seen() {
    let mut history = History::default();
    let mut take =
        |seconds, kind| history.handle_event(&docker(), &Event::new(at(seconds), kind), at(seconds));
    // Without start times, as containerd's.
    let (found, new) = (Arc::new(Container::new("1", "found", 1)), Arc::new(Container::new("2", "new", 2)));
    take(0, EventKind::Joined);
    take(1, started(&found));
    take(2, synced());
    take(3, started(&new));
    take(4, exited(&found, 0));
    take(5, exited(&new, 0));
    let all: Vec<_> = history.lives().map(|life| (life.was_found(), life.started_at())).collect();
    assert_eq!(all, [(true, None), (false, Some(at(3)))]);
}

#[test]
fn the_containers_of_a_snapshot_were_found() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (snapshot, key) = runtime.block_on(async {
        let engine = crate::scripted::Engine::new();
        engine.start(Container::new("1", "web", 7));
        let fleet = crate::Fleet::new();
        let key = fleet.add(crate::EngineWatcher::new(engine)).unwrap().key();
        fleet.ready(Duration::from_secs(60)).await;
        (fleet.portfolio(), key)
    });
    let mut history = History::default();
    history.handle_snapshot(&snapshot);
    assert!(history.was_found(&key, "1") && !history.was_found(&key, "2"));
    let web = Arc::new(Container::new("1", "web", 7));
    history.handle_event(&key, &Event::new(at(1), exited(&web, 0)), at(1));
    assert!(history.lives().all(|life| life.was_found() && life.is_certain()));
}

#[test]
fn a_container_that_moves_to_another_engine_has_not_ended() {
    let mut subject = Subject::default();
    let (was, now) = (life("moby/1", "moby/1", 1), life("1", "web", 1));
    subject.take_from(&containerd(), 0, EventKind::Joined);
    subject.take_from(&containerd(), 1, started(&was));
    subject.take_from(&containerd(), 1, synced());
    subject.take(2, EventKind::Moved { container: now.clone(), was, from: containerd() });
    assert_eq!(subject.lives(), []);
    assert!(subject.history.was_found(&docker(), "1"));
    subject.take(3, exited(&now, 1));
    assert_eq!(subject.lives(), [("web", Some(1), true)]);
}

#[test]
fn an_end_in_an_outage_is_certain_only_with_an_exit_code_or_by_the_kernel() {
    let mut subject = Subject::default();
    let (known, unknown) = (life("1", "known", 1), life("2", "unknown", 1));
    let seen = life("3", "seen", 1);
    subject.take(1, started(&known));
    subject.take(1, started(&seen));
    subject.take(1, started(&unknown));
    subject.take(2, disconnected());
    subject.take(3, disconnected());
    assert_eq!(subject.history.gaps().next().unwrap().until, None);
    subject.take(4, exited(&known, 1));
    let end = Event::new(at(5), exited(&seen, None)).with_seen_by(SeenBy::Kernel);
    subject.history.handle_event(&docker(), &end, at(5));
    subject.take(9, exited(&unknown, None));
    subject.take(9, synced());
    let lives = [("known", Some(1), true), ("seen", None, true), ("unknown", None, false)];
    assert_eq!(subject.lives(), lives);
    let seen_by: Vec<_> = subject.history.lives().map(PastLife::seen_by).collect();
    assert_eq!(seen_by, [SeenBy::Engine, SeenBy::Kernel, SeenBy::Engine]);
    let gaps: Vec<_> = subject.history.gaps().map(|gap| (gap.since, gap.until)).collect();
    assert_eq!(gaps, [(at(2), Some(at(9)))]);
}

#[test]
fn an_end_among_missed_events_is_not_certain() {
    let mut subject = Subject::default();
    let (missed, later) = (life("1", "missed", 1), life("2", "later", 1));
    subject.take(1, started(&missed));
    subject.take(2, started(&later));
    subject.take(5, EventKind::Lagged { missed: 3 });
    subject.take(5, exited(&missed, None));
    subject.take(6, exited(&later, None));
    assert_eq!(subject.lives(), [("missed", None, false), ("later", None, true)]);
    let gap = subject.history.gaps().next().unwrap();
    assert_eq!((gap.since, gap.until, &gap.cause), (at(2), Some(at(5)), &GapCause::Lagged(3)));
}

#[test]
fn an_engine_that_leaves_and_joins_again_ends_no_life() {
    let mut subject = Subject::default();
    let (web, gone) = (life("1", "web", 1), life("2", "gone", 1));
    subject.take(1, started(&web));
    subject.take(1, started(&gone));
    subject.take(2, exited(&gone, 3));
    for round in 0..20 {
        subject.take(10 + round, exited(&web, None));
        subject.take(10 + round, EventKind::Left);
        assert_eq!(subject.lives(), [("gone", Some(3), true), ("web", None, false)]);
        subject.take(10 + round, EventKind::Joined);
        subject.take(10 + round, started(&web));
        subject.take(10 + round, synced());
        assert_eq!(subject.lives(), [("gone", Some(3), true)]);
    }
    subject.take(50, exited(&web, 1));
    assert_eq!(subject.lives(), [("gone", Some(3), true), ("web", Some(1), true)]);
    assert!(!subject.history.lives().last().unwrap().was_found(), "its start was seen");
    assert_eq!(subject.loops.len(), 0);
}

#[test]
fn after_an_interruption_what_is_not_reported_again_has_ended() {
    let mut subject = Subject::default();
    let (stays, gone, again) = (life("1", "stays", 1), life("2", "gone", 1), life("3", "again", 1));
    for container in [&stays, &gone, &again] {
        subject.take(1, started(container));
    }
    subject.history.handle_interruption(at(2));
    subject.take(9, started(&stays));
    subject.take(9, started(&life("3", "again", 5)));
    assert_eq!(subject.lives(), [("again", None, false)], "its ID has another life");
    subject.take(9, synced());
    assert_eq!(subject.lives(), [("again", None, false), ("gone", None, false)]);
    assert_eq!(subject.history.gaps().last().unwrap().cause, GapCause::Interrupted);
    assert!(!subject.history.was_found(&docker(), "1") && subject.history.was_found(&docker(), "3"));
}

#[test]
fn the_oldest_lives_go_first_by_count_and_by_bytes() {
    let mut few = Subject::new(HistorySettings::default().with_lives(3));
    (0..9).for_each(|nth| few.live(&nth.to_string(), &format!("c{nth}"), (nth, nth), 0));
    assert_eq!(few.lives().iter().map(|life| life.0).collect::<Vec<_>>(), ["c6", "c7", "c8"]);
    let mut small = Subject::new(HistorySettings::default().with_bytes(1 << 20));
    for nth in 0..200 {
        let labels = Labels::from_iter([("large", "x".repeat(10_000))]);
        let large = Arc::new(Container::new(nth.to_string(), "large", 1).with_labels(labels));
        small.take(nth, started(&large));
        small.take(nth, exited(&large, 0));
        assert!(small.history.past.bytes() <= 1 << 20);
    }
    assert!((80..110).contains(&small.lives().len()), "{}", small.lives().len());
}

#[test]
fn huge_labels_leave_room_for_the_lives_of_others() {
    let mut subject = Subject::default();
    let labels = Labels::from_iter([("com.docker.compose.project", "shop"), ("huge", &"x".repeat(8 << 20))]);
    let huge = Arc::new(Container::new("huge", "huge", 1).with_labels(labels));
    subject.live("1", "small", (1, 2), 0);
    for nth in 0..900 {
        subject.take(nth, started(&huge));
        subject.take(nth, exited(&huge, 1));
    }
    assert_eq!(subject.lives()[0].0, "small");
    assert_eq!(subject.history.by_project("shop").count(), 900);
    assert!(subject.history.past.bytes() < 1 << 20, "{}", subject.history.past.bytes());
}

#[test]
fn a_rucksack_is_not_kept_for_a_past_life() {
    let (mut subject, rucksack) = (Subject::default(), Arc::new(7));
    let web = Arc::new(Container::new("1", "web", 1).with_rucksack(Some(rucksack.clone())));
    subject.take(1, started(&web));
    subject.take(2, exited(&web, 0));
    drop(web);
    assert_eq!(Arc::strong_count(&rucksack), 1);
}

#[test]
fn five_ends_in_ten_minutes_are_a_crash_loop_until_ten_minutes_without_one() {
    let mut subject = Subject::default();
    for nth in 0..7 {
        subject.live("1", "web", (MINUTE * nth, MINUTE * nth + 1), 1);
        assert_eq!(subject.loops.len(), usize::from(nth >= 4), "{nth}");
    }
    assert_eq!(subject.loops, ["web began after 5"]);
    let web = life("1", "web", 400);
    let crash_loop = subject.history.crash_loop(&docker(), &web).unwrap();
    assert_eq!((crash_loop.lives, crash_loop.since, crash_loop.code), (7, at(1), Some(1)));
    assert_eq!(subject.history.crash_loops().count(), 1);
    let over = 6 * MINUTE + 1 + 10 * MINUTE;
    assert_eq!(subject.history.timeout(), Some(at(over)));
    subject.take(400, started(&web));
    subject.wait(over - 1);
    assert_eq!(subject.loops.len(), 1);
    subject.wait(over);
    assert_eq!(subject.loops[1..], ["web over after 7"]);
    assert_eq!((subject.history.timeout(), subject.history.crash_loops().count()), (None, 0));
}

#[test]
fn ends_further_apart_are_no_crash_loop() {
    let mut subject = Subject::default();
    (0..40).for_each(|nth| subject.live("1", "web", (151 * nth, 151 * nth + 1), 1));
    assert_eq!(subject.loops.len(), 0);
}

#[test]
fn a_container_that_replaces_another_one_under_its_name_continues_its_loop() {
    let mut subject = Subject::default();
    (0..5).for_each(|nth| subject.live(&nth.to_string(), "web", (nth, nth), 1));
    (0..5).for_each(|nth| subject.live(&format!("x{nth}"), &format!("job-{nth}"), (nth, nth), 1));
    assert_eq!(subject.loops, ["web began after 5"]);
}

#[test]
fn a_job_that_succeeds_under_one_name_is_no_crash_loop() {
    let mut subject = Subject::default();
    (0..50).for_each(|nth| subject.live(&nth.to_string(), "backup", (nth, nth), 0));
    assert_eq!(subject.loops.len(), 0);
    // One container that succeeds again and again is.
    (0..5).for_each(|nth| subject.live("1", "true", (nth, nth), 0));
    assert_eq!(subject.loops, ["true began after 5"]);
    // So is a job that fails, until it succeeds.
    (50..55).for_each(|nth| subject.live(&nth.to_string(), "backup", (nth, nth), 2));
    (1..40).for_each(|nth| subject.live(&format!("x{nth}"), "backup", (nth * MINUTE, nth * MINUTE), 0));
    assert_eq!(subject.loops[1..], ["backup began after 5", "true over after 5", "backup over after 5"]);
}

#[test]
fn the_containers_of_a_pod_have_their_loops_by_pod() {
    let mut subject = Subject::default();
    for nth in 0..5_u64 {
        for pod in ["a", "b"] {
            if pod == "b" && nth == 4 {
                continue;
            }
            let labels = Labels::from_iter([(POD_NAME_LABEL, pod), (POD_UID_LABEL, pod)]);
            let app = Container::new(format!("{pod}{nth}"), "app", 1).with_labels(labels);
            let app = Arc::new(app.with_started_at(at(nth)));
            subject.take(nth, started(&app));
            // A restart in a pod is another container, also after exit code 0.
            subject.take(nth, exited(&app, 0));
        }
    }
    assert_eq!(subject.loops, ["app began after 5"]);
}

#[test]
fn no_loop_is_over_while_its_engine_cannot_be_reached() {
    let mut subject = Subject::default();
    (0..5).for_each(|nth| subject.live("1", "web", (nth, nth), 1));
    subject.take(10, disconnected());
    assert_eq!(subject.history.timeout(), None);
    subject.wait(60 * MINUTE);
    subject.live("1", "web", (5, 61 * MINUTE), 1);
    subject.take(61 * MINUTE, synced());
    subject.live("1", "web", (61 * MINUTE, 62 * MINUTE), 1);
    assert_eq!(subject.loops, ["web began after 5"]);
    assert_eq!(subject.history.crash_loops().next().unwrap().1.lives, 7);
    subject.wait(72 * MINUTE);
    assert_eq!(subject.loops[1..], ["web over after 7"]);
}

#[test]
fn the_loops_of_an_engine_that_leaves_are_over() {
    let mut subject = Subject::default();
    (0..5).for_each(|nth| subject.live("1", "web", (nth, nth), 1));
    subject.take(10, EventKind::Left);
    assert_eq!(subject.loops, ["web began after 5", "web over after 5"]);
}

#[test]
fn events_that_waited_are_compared_by_their_own_times() {
    let mut subject = Subject::default();
    let late = at(100 * MINUTE);
    for nth in 0..12 {
        // Five that crash, and then one each quarter of an hour.
        let seconds = if nth < 5 { nth } else { nth * 15 * MINUTE };
        let web = life("1", "web", seconds);
        for kind in [started(&web), exited(&web, 1)] {
            subject.history.handle_event(&docker(), &Event::new(at(seconds), kind), late);
        }
    }
    subject.drain();
    assert_eq!(subject.loops, ["web began after 5", "web over after 5"]);
}

#[test]
fn the_containers_that_are_followed_are_bounded() {
    let mut subject = Subject::default();
    (0..5).for_each(|nth| subject.live("1", "web", (nth, nth), 1));
    (0..2000).for_each(|nth| subject.live(&nth.to_string(), &format!("job-{nth}"), (9, 9), 1));
    assert_eq!(subject.history.loops.tracked(), loops::MOST);
    assert_eq!(subject.loops, ["web began after 5", "web over after 5"]);
    let long = "x".repeat(2000);
    (0..9).for_each(|nth| subject.live("long", &long, (nth, nth), 1));
    assert_eq!(subject.loops.len(), 2);
    (0..300).for_each(|_| {
        subject.take(20, disconnected());
        subject.take(21, synced());
    });
    assert_eq!(subject.history.gaps().len(), gaps::MOST);
}
