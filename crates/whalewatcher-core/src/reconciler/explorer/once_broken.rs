//! Violations that the explorer once found.

use super::bounds::Action::*;
use super::*;

const MORE: Bounds = Bounds { renames: 1, doubled: 1, failures: 1, connections: 2, ..SMALL };
const LOSSY: Bounds = Bounds { lost: 2, audits: 2, ..SMALL };

#[test]
fn late_events_of_a_life_that_was_inspected_do_not_bring_it_back() {
    #[rustfmt::skip]
    let script = [
        Connect, LookForList, AnswerList, Start(0), Deliver(0), Ask, Exit(0), Start(0), Look(0), Answer(0), Deliver(0),
        Ask, Exit(0), Look(0), Answer(0), Deliver(0), Deliver(0),
    ];
    replay(SMALL, &script);
}

#[test]
fn a_repeated_start_event_does_not_bring_a_life_back() {
    #[rustfmt::skip]
    let script = [
        Connect, LookForList, AnswerList, Start(0), Deliver(0), Ask, Look(0), Answer(0), Rename(0), Deliver(0), Ask,
        Exit(0), Deliver(0), Start(0), Look(0), Answer(0), DeliverTwice(0), Ask, Exit(0), Look(0), Answer(0),
        Deliver(0), Deliver(0),
    ];
    replay(MORE, &script);
}

#[test]
fn the_first_of_two_exits_during_an_inspection_counts() {
    #[rustfmt::skip]
    let script = [
        Connect, LookForList, AnswerList, Start(0), Deliver(0), Ask, Look(0), Answer(0), Rename(0), Deliver(0), Ask,
        Look(0), Exit(0), Deliver(0), Start(0), Exit(0), Swap(0), Deliver(0), Answer(0),
    ];
    replay(Bounds { kind: Kind::Containerd, ..MORE }, &script);
}

#[test]
fn a_repeated_pause_event_is_not_newer_than_what_came_since() {
    #[rustfmt::skip]
    let script = [
        Connect, LookForList, AnswerList, Start(0), Deliver(0), Ask, Look(0), Pause(0), Unpause(0), DeliverTwice(0),
        Answer(0), Ask, Look(0), Deliver(0), Answer(0), Ask, Look(0), Answer(0), Deliver(0),
    ];
    replay(MORE, &script);
    replay(Bounds { kind: Kind::Containerd, ..MORE }, &script);
}

#[test]
fn an_audit_verifies_inspections_that_began_before_it() {
    #[rustfmt::skip]
    let script = [
        Connect, Start(0), LookForList, Lose(0), Pause(0), Unpause(0), Exit(0), Start(0), AnswerList, Ask, Look(0), Answer(0),
        Audit, Deliver(0), Deliver(0), Deliver(0), Ask, Deliver(0), Look(0), LookForList, Answer(0), Ask, AnswerList,
        DriftDue(0), Look(0), Exit(0), Lose(0), Audit, LookForList, AnswerList, Answer(0), DriftDue(0), Ask, Look(0),
        Answer(0),
    ];
    replay(LOSSY, &script);
}

#[test]
fn a_tombstone_survives_a_reconnect_during_an_inspection() {
    #[rustfmt::skip]
    let script = [
        Connect, LookForList, AnswerList, Start(0), Exit(0), Deliver(0), Ask, Deliver(0), Start(0), Look(0), Answer(0),
        Deliver(0), Exit(0), Deliver(0), Ask, Disconnect, ConnectWithReplay, LookForList, AnswerList, Deliver(0), Deliver(0),
    ];
    replay(Bounds { replays: 1, connections: 2, ..SMALL }, &script);
}

#[test]
fn a_late_event_does_not_resolve_a_mismatch() {
    #[rustfmt::skip]
    let script = [
        Connect, Start(0), LookForList, AnswerList, Ask, Look(0), Answer(0), Exit(0), Swap(0), Lose(0), Audit, LookForList,
        AnswerList, Deliver(0), DriftDue(0), Ask, Look(0), Answer(0), DriftDue(0),
    ];
    replay(Bounds { kind: Kind::Containerd, ..LOSSY }, &script);
}

#[test]
fn a_life_from_before_the_connection_does_not_get_the_exit_code_of_a_later_one() {
    #[rustfmt::skip]
    let scripts = [
        [
            Connect, Start(0), LookForList, AnswerList, Deliver(0), Ask, Look(0), Answer(0), Disconnect, Exit(0),
            Connect, Start(0), Deliver(0), Exit(0), Deliver(0),
        ],
        [
            Connect, Start(0), LookForList, AnswerList, Deliver(0), Ask, Look(0), Answer(0), Disconnect, Exit(0),
            Start(0), Connect, Exit(0), Deliver(0), LookForList,
        ],
    ];
    for script in scripts {
        replay(MORE, &script);
    }
}
