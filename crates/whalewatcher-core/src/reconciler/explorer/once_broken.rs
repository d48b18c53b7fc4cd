//! What exploring once found wrong, and must not again.

use super::bounds::Action::*;
use super::*;

const MORE: Bounds = Bounds { renames: 1, doubled: 1, failures: 1, connections: 2, ..SMALL };
const LOSSY: Bounds = Bounds { lost: 2, audits: 2, ..SMALL };

#[test]
fn the_events_of_a_life_that_an_inspection_was_ahead_to_see_do_not_bring_it_back() {
    #[rustfmt::skip]
    let script = [
        Connect, LookForList, AnswerList, Start(0), Deliver(0), Ask, Exit(0), Start(0), Look(0), Answer(0), Deliver(0),
        Ask, Exit(0), Look(0), Answer(0), Deliver(0), Deliver(0),
    ];
    replay(SMALL, &script);
}

#[test]
fn a_start_reported_again_after_its_life_was_seen_to_be_over_does_not_bring_it_back() {
    #[rustfmt::skip]
    let script = [
        Connect, LookForList, AnswerList, Start(0), Deliver(0), Ask, Look(0), Answer(0), Rename(0), Deliver(0), Ask,
        Exit(0), Deliver(0), Start(0), Look(0), Answer(0), DeliverTwice(0), Ask, Exit(0), Look(0), Answer(0),
        Deliver(0), Deliver(0),
    ];
    replay(MORE, &script);
}

#[test]
fn of_two_exits_during_an_inspection_the_former_is_not_forgotten() {
    #[rustfmt::skip]
    let script = [
        Connect, LookForList, AnswerList, Start(0), Deliver(0), Ask, Look(0), Answer(0), Rename(0), Deliver(0), Ask,
        Look(0), Exit(0), Deliver(0), Start(0), Exit(0), Swap(0), Deliver(0), Answer(0),
    ];
    replay(Bounds { kind: Kind::Containerd, ..MORE }, &script);
}

#[test]
fn a_pause_reported_again_is_not_newer_than_what_came_since_even_if_the_container_was_not_known_then() {
    #[rustfmt::skip]
    let script = [
        Connect, LookForList, AnswerList, Start(0), Deliver(0), Ask, Look(0), Pause(0), Unpause(0), DeliverTwice(0),
        Answer(0), Ask, Look(0), Deliver(0), Answer(0), Ask, Look(0), Answer(0), Deliver(0),
    ];
    replay(MORE, &script);
    replay(Bounds { kind: Kind::Containerd, ..MORE }, &script);
}

#[test]
fn an_audit_mistrusts_the_answer_to_what_was_asked_before_it() {
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
fn what_is_over_is_remembered_across_a_reconnect_even_while_it_is_asked_about() {
    #[rustfmt::skip]
    let script = [
        Connect, LookForList, AnswerList, Start(0), Exit(0), Deliver(0), Ask, Deliver(0), Start(0), Look(0), Answer(0),
        Deliver(0), Exit(0), Deliver(0), Ask, Disconnect, ConnectWithReplay, LookForList, AnswerList, Deliver(0), Deliver(0),
    ];
    replay(Bounds { replays: 1, connections: 2, ..SMALL }, &script);
}

#[test]
fn a_late_event_does_not_explain_away_what_an_audit_found() {
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
