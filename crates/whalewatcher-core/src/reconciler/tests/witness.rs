//! The word of the witness.

use super::*;

fn ended(life: Container) -> Input {
    Input::Ended { life: Arc::new(life), is_silent: true }
}

/// The life that the witness is to be asked about.
fn doubted(scene: &mut Scene) -> Option<u32> {
    match scene.0.poll_effect(Room::None) {
        Some(Effect::Verify(life)) => Some(life.pid()),
        None => None,
        Some(effect) => panic!("{effect:?} is no question"),
    }
}

#[test]
fn a_report_about_a_former_pid_or_life_changes_nothing() {
    let mut scene = Scene::live([dated(7, 10)]);
    for former in [dated(6, 10), dated(7, 9), plain(7)] {
        assert_eq!(scene.take(ended(former)), NOTHING);
    }
    assert_eq!((scene.pending(), scene.records()), (vec![], 0));
    assert_eq!(scene.take(ended(dated(7, 10))), ["exited 7@1000"]);
}

#[test]
fn an_answer_from_before_the_end_is_no_contradiction() {
    let mut scene = Scene::live([dated(7, 10)]);
    scene.event(changed());
    assert!(scene.inspects());
    assert_eq!(scene.take(Input::Ended { life: Arc::new(dated(7, 10)), is_silent: false }), NOTHING);
    assert_eq!((scene.answer(Some(dated(7, 10))), scene.pending()), (vec![], vec![exit()]));
    assert_eq!(scene.due(exit()), ["exited 7@1000"]);
    assert_eq!(scene.0.contradictions(), 0);
}

#[test]
fn where_pids_are_used_again_the_witness_decides_whether_it_is_another_life() {
    for goes_on in [false, true] {
        let mut scene = Scene::live([plain(7)]);
        assert_eq!(scene.take(ended(plain(7))), ["exited 7@1000"]);
        scene.disconnect();
        scene.subscribe();
        let listed = Input::Listed(vec![ListingEntry::Whole(plain(7))], all_scopes());
        scene.0.handle_input(listed, now());
        assert_eq!(doubted(&mut scene), Some(7));
        let verified = scene.take(Input::Verified { life: Box::new(plain(7)), goes_on });
        assert_eq!(verified.iter().any(|event| event == "started 7@1000"), goes_on, "{verified:?}");
        assert_eq!(scene.0.contradictions(), u64::from(!goes_on));
        assert_eq!(scene.0.portfolio().total(), usize::from(goes_on));
        // The one that goes on is not doubted again.
        scene.event(changed());
        if goes_on {
            assert_eq!((scene.inspect(Some(plain(7))), doubted(&mut scene)), (vec![], None));
        }
    }
}

#[test]
fn a_container_whose_exit_is_final_is_over_by_the_word_of_the_witness_too() {
    let mut scene = Scene::final_live([dated(7, 10)]);
    assert_eq!(scene.take(ended(dated(7, 10))), ["exited 7@1000"]);
    assert_eq!((scene.event(started(7, 11)), scene.inspects()), (vec![], false));
    assert_eq!(scene.event(exited(7, 12)), NOTHING);
}

#[test]
fn an_exit_of_a_former_life_is_no_contradiction() {
    let mut scene = Scene::live([dated(7, 10)]);
    assert_eq!(scene.take(Input::Disputed(exited(0, 9))), NOTHING);
    assert_eq!((scene.0.contradictions(), scene.inspects()), (0, false));
    assert_eq!(scene.take(Input::Disputed(exited(0, 11))), NOTHING);
    assert_eq!((scene.0.contradictions(), scene.inspects()), (1, true));
    assert_eq!((scene.take(Input::Inspected("a".into(), Answer::Disputed)), scene.records()), (vec![], 0));
    assert_eq!((scene.0.contradictions(), scene.0.portfolio().total()), (2, 1));
}
