//! What is kept of containers beyond the portfolio, and how much of it.

use super::*;

#[test]
fn a_container_that_is_not_alive_and_has_no_tombstone_is_forgotten() {
    let mut scene = Scene::live([]);
    scene.event(paused(20));
    assert_eq!(scene.inspect(None), NOTHING);
    assert_eq!(scene.records(), 0);
    scene.event(changed());
    assert!(!scene.inspects(), "a change of an unknown container does not matter");
    assert_eq!(scene.records(), 0);
}

/// Delivers exits of containers that are not known.
fn exit_unknown(scene: &mut Scene, ids: std::ops::Range<usize>) {
    for id in ids {
        let id = ContainerId::from(id.to_string());
        scene.event(EngineEvent::Exited { id, pid: None, at: Some(time(20)), code: None });
    }
}

#[test]
fn the_newest_tombstones_are_kept() {
    let mut scene = Scene::live([]);
    exit_unknown(&mut scene, 0..MAX_TOMBSTONES + 5);
    assert_eq!((scene.records(), scene.0.tombstones.len()), (MAX_TOMBSTONES, MAX_TOMBSTONES));
    assert!(!scene.0.records.contains_key("4") && scene.0.records.contains_key("5"));
    exit_unknown(&mut scene, 5..MAX_TOMBSTONES + 5);
    assert_eq!(scene.0.tombstones.len(), MAX_TOMBSTONES, "each once");
}

#[test]
fn no_tombstone_is_forgotten_while_a_list_is_in_flight() {
    let mut audited = Scene::live([]);
    audited.audit();
    let mut connecting = Scene::default();
    connecting.subscribe();
    for mut scene in [audited, connecting] {
        exit_unknown(&mut scene, 0..MAX_TOMBSTONES + 5);
        assert_eq!(scene.records(), MAX_TOMBSTONES + 5);
        scene.list([]);
        exit_unknown(&mut scene, 0..1);
        assert_eq!(scene.records(), MAX_TOMBSTONES);
    }
}

#[test]
fn a_tombstone_has_the_pids_of_the_newest_lives() {
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
    let tombstone = scene.0.records["a"].tombstone.as_ref().expect("it lived");
    assert_eq!(tombstone.pids(), 8);
}

/// Delivers the start of a container that is not known.
fn start_unverified(scene: &mut Scene, id: usize, labels: Labels) {
    let id = ContainerId::from(id.to_string());
    let preview = Container::new(id.clone(), "unverified", 0).with_labels(labels);
    scene.event(EngineEvent::Started { id, at: Some(time(19)), pid: None, preview: Some(Box::new(preview)) });
}

#[test]
fn events_beyond_the_memory_limit_are_forgotten_and_lead_to_a_list() {
    for exits in [false, true] {
        let mut connecting = Scene::default();
        connecting.subscribe();
        let mut audited = Scene::live([]);
        audited.audit();
        for mut scene in [Scene::live([]), connecting, audited] {
            for id in 0..MAX_UNVERIFIED + 5 {
                start_unverified(&mut scene, id, Labels::default());
                if exits {
                    exit_unknown(&mut scene, id..id + 1);
                }
            }
            assert!(scene.records() <= MAX_UNVERIFIED && scene.0.unverified == scene.records());
            let is_full = scene.records() == MAX_UNVERIFIED;
            assert!(scene.0.poll_effect(Room::None).is_none(), "not before these are done with");
            // What a list contains may have changed since, though its event was forgotten.
            let forgotten = Container::new((MAX_UNVERIFIED + 4).to_string(), "late", 1);
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
                    Effect::Verify(life) => panic!("there is no witness to ask about {life}"),
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
            assert!(scene.records() <= MAX_TOMBSTONES && scene.0.is_live());
        }
    }
}

#[test]
fn previews_are_bounded_and_hints_are_kept() {
    let mut scene = Scene::live([]);
    for id in 0..40 {
        start_unverified(&mut scene, id, Labels::from_iter([("large", "x".repeat(1 << 20))]));
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
    assert_eq!((inspected, scene.0.preview_bytes, scene.0.unverified, scene.records()), (40, 0, 0, 40));
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
    assert!(queued <= MAX_TOMBSTONES + 2, "{queued} in the queue");
    scene.event(started(0, 100_000));
    assert!(scene.inspects() && !scene.inspects());
}

#[test]
fn memory_that_only_a_resync_needed_is_released() {
    const MANY: usize = 10_000;
    let container = |number: usize, pid| Container::new(number.to_string(), "a", pid);
    let mut scene = Scene::default();
    for _ in 0..2 {
        scene.subscribe();
        let listed = (0..MANY)
            .map(|number| ListingEntry::Partial { container: container(number, 0), started_within: None });
        scene.take(Input::Listed(listed.collect(), all_scopes()));
        assert_eq!(scene.records(), MANY);
        while let Some((id, _)) = scene.next(Room::Any) {
            let number: usize = id.as_str().parse().unwrap();
            scene.take(Input::Inspected(id, Answer::Truth(Some(container(number, 7)))));
        }
        assert_eq!((scene.records(), scene.0.portfolio.total()), (0, MANY));
        let Reconciler { records, unconfirmed, fresh, .. } = &scene.0;
        let capacities = [records.capacity(), unconfirmed.capacity(), fresh.capacity()];
        assert!(capacities.iter().all(|capacity| *capacity < 100), "{capacities:?}");
        scene.disconnect();
    }
}
