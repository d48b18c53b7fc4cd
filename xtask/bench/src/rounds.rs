//! Measuring several things in turn, so that whatever disturbs the machine disturbs all of them.

use whalewatcher_bench::sample::Sample;

/// A thing and its floor.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) measured: Sample,
    pub(crate) floor: Sample,
    /// Of each round the one by the other.
    pub(crate) ratio: Sample,
}

/// Measures both in each round, and which of them comes first in turn; a first round, in which all is cold, does not
/// count.
pub(crate) fn in_turn(
    rounds: usize,
    mut measured: impl FnMut() -> f64,
    mut floor: impl FnMut() -> f64,
) -> Pair {
    let round = |number: usize| match number % 2 {
        0 => {
            let measured = measured();
            (measured, floor())
        }
        _ => {
            let floor = floor();
            (measured(), floor)
        }
    };
    let all: Vec<_> = (0..=rounds).map(round).skip(1).collect();
    of_pairs(&all)
}

/// Of what was measured in pairs: the thing, then its floor.
pub(crate) fn of_pairs(all: &[(f64, f64)]) -> Pair {
    Pair {
        measured: Sample::of(all.iter().map(|(measured, _)| *measured).collect()),
        floor: Sample::of(all.iter().map(|(_, floor)| *floor).collect()),
        ratio: Sample::of(all.iter().map(|(measured, floor)| measured / floor).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbance_of_a_whole_round_does_not_show_in_the_ratio() {
        let (mut turn, mut other) = (0, 0);
        let disturbed = |of: f64, turn: &mut i32| {
            *turn += 1;
            if *turn % 3 == 0 { of * 100.0 } else { of }
        };
        let all: Vec<_> = (0..9).map(|_| (disturbed(6.0, &mut turn), disturbed(2.0, &mut other))).collect();
        assert_eq!(of_pairs(&all).ratio, Sample::once(3.0));
    }

    #[test]
    fn each_comes_first_in_turn_and_the_first_round_does_not_count() {
        let order = std::cell::RefCell::new(String::new());
        let note = |letter| {
            order.borrow_mut().push(letter);
            order.borrow().len() as f64
        };
        let pair = in_turn(3, || note('m'), || note('f'));
        assert_eq!(*order.borrow(), "mffmmffm");
        assert_eq!((pair.measured.median, pair.floor.median), (5.0, 6.0));
    }
}
