//! Every interleaving of small worlds, tried on the real reconciler.
//!
//! A world has a few containers, each with an event queue and at most one inspection in flight, and at most
//! one list in flight. A list or an inspection looks at the world at one moment and is delivered at a later
//! one. Any pending deadline may become due at any moment, in any order: the monotonic clock stands still,
//! and instants are no part of a state. From each state all that can happen next is tried, and what the
//! reconciler publishes is checked against the history of the world.
//!
//! A violation is printed as a script. Put into [`once_broken`], it stays as a test.

use std::collections::HashSet;

mod act;
mod bounds;
mod checks;
mod once_broken;
mod state;
mod subject;
mod world;

use bounds::{Action, Bounds, Kind};
use world::World;

/// Tries all interleavings within bounds, or as many as are allowed. Returns the number of distinct states.
fn explore(bounds: Bounds) -> usize {
    let mut seen = HashSet::new();
    let mut todo = vec![(World::new(bounds), Vec::new())];
    // Where not all states are tried, those that are differ widely, and are the same each time.
    let mut order = fastrand::Rng::with_seed(1);
    while !todo.is_empty() {
        // Mostly on from where it is, now and then from somewhere else: both what is deep and what is near gets tried.
        let next = if order.u8(..16) == 0 { order.usize(..todo.len()) } else { todo.len() - 1 };
        let (world, path) = todo.swap_remove(next);
        let mut possible = world.possible();
        order.shuffle(&mut possible);
        for action in possible {
            let mut next = world.clone();
            let mut path: Vec<Action> = path.clone();
            path.push(action);
            if let Err(broken) = next.act(action) {
                panic!("{broken}\nafter {path:?}\nin {bounds:?}");
            }
            if seen.len() < bounds.states && seen.insert(next.fingerprint()) {
                todo.push((next, path));
            }
        }
    }
    seen.len()
}

const SMALL: Bounds = Bounds {
    kind: Kind::Docker,
    final_ids: false,
    containers: 1,
    lives: 2,
    pauses: 1,
    has_health: false,
    packs: false,
    ooms: 0,
    renames: 0,
    doubled: 0,
    failures: 0,
    malformed: 0,
    lost: 0,
    audits: 0,
    gaps: 0,
    connections: 1,
    crashes: 0,
    partial: 0,
    replays: 0,
    lags: 0,
    ends: 0,
    lies: 0,
    same_pid: false,
    states: 60_000,
};

/// With every kind of engine. `WHALEWATCHER_STATES` sets how many states to try at most.
fn explore_all(bounds: Bounds) {
    let states = std::env::var("WHALEWATCHER_STATES").ok();
    let states = states.map_or(bounds.states, |states| states.parse().expect("a number of states"));
    for (kind, final_ids) in Kind::ALL {
        let bounds = match kind.has_one_life_per_id() {
            false => Bounds { kind, states, ..bounds },
            // As many lives as else.
            true => Bounds {
                kind,
                final_ids,
                states,
                lives: 1,
                containers: bounds.containers * usize::from(bounds.lives),
                pauses: 0,
                ooms: 0,
                renames: 0,
                ..bounds
            },
        };
        explore_kind(bounds);
    }
}

fn explore_kind(bounds: Bounds) {
    let visited = explore(bounds);
    let extent = if visited < bounds.states { "all" } else { "some" };
    eprintln!("{visited} states, {extent} of {bounds:?}");
    assert!(visited > 1000, "hardly anything can happen");
}

#[test]
fn every_interleaving_of_one_container() {
    explore_all(SMALL);
}

#[test]
fn every_interleaving_with_healthchecks_and_oom_kills() {
    explore_all(Bounds { has_health: true, ooms: 1, connections: 2, replays: 1, ..SMALL });
}

#[test]
fn every_interleaving_with_packers_and_failing_inspections() {
    explore_all(Bounds { packs: true, failures: 2, connections: 2, ..SMALL });
}

#[test]
fn every_interleaving_of_one_container_and_two_connections() {
    explore_all(Bounds { connections: 2, pauses: 0, ..SMALL });
}

#[test]
fn every_interleaving_with_an_engine_that_dies_and_comes_back() {
    explore_all(Bounds { connections: 2, crashes: 1, ..SMALL });
}

#[test]
fn every_interleaving_with_events_reported_twice_and_failing_inspections() {
    explore_all(Bounds { doubled: 1, failures: 1, renames: 1, ..SMALL });
}

#[test]
fn every_interleaving_with_malformed_events() {
    explore_all(Bounds { malformed: 2, audits: 1, ..SMALL });
}

#[test]
fn every_interleaving_with_malformed_events_and_oom_kills() {
    explore_all(Bounds { malformed: 2, ooms: 1, pauses: 0, ..SMALL });
}

#[test]
fn every_interleaving_with_malformed_events_and_a_reconnect() {
    explore_all(Bounds { malformed: 1, connections: 2, replays: 1, pauses: 0, ..SMALL });
}

#[test]
fn every_interleaving_of_two_containers() {
    explore_all(Bounds { containers: 2, lives: 1, ..SMALL });
}

#[test]
fn every_interleaving_with_audits_and_lost_events() {
    explore_all(Bounds { lost: 2, audits: 2, ..SMALL });
}

#[test]
fn every_interleaving_with_audits_and_no_lost_event() {
    explore_all(Bounds { audits: 2, failures: 1, ..SMALL });
}

#[test]
fn every_interleaving_with_events_reported_again_after_a_reconnect() {
    explore_all(Bounds { connections: 2, replays: 1, pauses: 0, ..SMALL });
}

#[test]
fn every_interleaving_with_incomplete_lists() {
    explore_all(Bounds {
        containers: 2,
        lives: 1,
        pauses: 0,
        partial: 2,
        audits: 1,
        connections: 2,
        ..SMALL
    });
}

#[test]
fn every_interleaving_with_gaps_lost_events_and_failing_audits() {
    explore_all(Bounds { gaps: 2, lost: 1, failures: 1, ..SMALL });
}

#[test]
fn every_interleaving_of_three_containers() {
    explore_all(Bounds { containers: 3, renames: 1, connections: 2, ..SMALL });
}

#[test]
fn every_interleaving_with_lists_and_inspections_that_lag_behind() {
    explore_all(Bounds { lags: 2, audits: 1, doubled: 1, pauses: 0, ..SMALL });
}

#[test]
fn every_interleaving_with_failing_inspections_that_lag_behind_after_a_reconnect() {
    explore_all(Bounds { lags: 2, audits: 1, failures: 1, connections: 2, replays: 1, pauses: 0, ..SMALL });
}

/// Only lives with a start time are distinguished without their PID.
fn with_one_pid(bounds: Bounds) {
    explore_kind(Bounds { same_pid: true, ..bounds });
}

#[test]
fn every_interleaving_with_a_witness() {
    explore_all(Bounds { ends: 2, failures: 1, ..SMALL });
    with_one_pid(Bounds { ends: 2, ..SMALL });
}

#[test]
fn every_interleaving_with_a_witness_and_two_connections() {
    explore_all(Bounds { ends: 2, connections: 2, crashes: 1, replays: 1, pauses: 0, ..SMALL });
    with_one_pid(Bounds { ends: 3, connections: 2, pauses: 0, ..SMALL });
}

#[test]
fn every_interleaving_with_a_witness_and_an_engine_that_is_wrong() {
    explore_all(Bounds { ends: 2, lies: 2, audits: 1, pauses: 0, ..SMALL });
    explore_all(Bounds { ends: 2, lies: 2, connections: 2, pauses: 0, ..SMALL });
}

#[test]
fn every_interleaving_with_a_witness_and_an_engine_that_shows_what_has_ended() {
    explore_all(Bounds { ends: 2, lags: 2, audits: 1, connections: 2, pauses: 0, ..SMALL });
}

/// Plays a script, as a violation prints it. Actions that are not possible are skipped.
fn replay(bounds: Bounds, script: &[Action]) {
    let mut world = World::new(bounds);
    for action in script {
        let happened = if world.possible().contains(action) { world.act(*action) } else { Ok(()) };
        if let Err(broken) = happened {
            panic!("{broken}\nat {action:?} of {script:?}");
        }
    }
}

#[test]
fn a_container_that_is_alive_has_no_record() {
    use Action::{Answer, AnswerList, Ask, Connect, Look, LookForList, Start};
    let mut world = World::new(SMALL);
    for action in [Start(0), Connect, LookForList, AnswerList, Ask, Look(0), Answer(0)] {
        world.act(action).expect("nothing broken");
    }
    assert_eq!((world.reconciler.portfolio().total(), world.reconciler.records.len()), (1, 0));
}
