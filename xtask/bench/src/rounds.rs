//! Measuring several things in turn, so that whatever disturbs the machine disturbs all of them.

use anyhow::Result;
use futures_util::future::LocalBoxFuture;
use whalewatcher_bench::sample::Sample;

/// Something to be awaited once a round, which says how long it took.
pub(crate) type Measure<'a> = Box<dyn Fn() -> LocalBoxFuture<'a, Result<f64>> + 'a>;

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

/// Measures all of them in each round, and which of them comes first in turn; a first round, in which all is cold, does not
/// count. What each took is returned in the order of the measures, round by round.
pub(crate) async fn each_in_turn<const N: usize>(
    rounds: usize,
    measures: [Measure<'_>; N],
) -> Result<[Vec<f64>; N]> {
    let mut all = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for turn in 0..N {
            let which = (round + turn) % N;
            let took = measures[which]().await?;
            if round > 0 {
                all[which].push(took);
            }
        }
    }
    Ok(all)
}

/// Of what was measured in each round: of the thing, and of its floor.
pub(crate) fn of_columns(measured: &[f64], floor: &[f64]) -> Pair {
    let pairs: Vec<_> = measured.iter().copied().zip(floor.iter().copied()).collect();
    of_pairs(&pairs)
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

    #[test]
    fn what_is_awaited_comes_first_in_turn_too() {
        let order = std::cell::RefCell::new(String::new());
        let note = |letter: char| -> Measure<'_> {
            let order = &order;
            Box::new(move || {
                Box::pin(async move {
                    order.borrow_mut().push(letter);
                    Ok(order.borrow().len() as f64)
                })
            })
        };
        let measuring = each_in_turn(3, [note('a'), note('b'), note('c')]);
        let [a, b, c] = futures_util::FutureExt::now_or_never(measuring).unwrap().unwrap();
        assert_eq!(*order.borrow(), "abcbcacababc");
        assert_eq!((a, b, c), (vec![6.0, 8.0, 10.0], vec![4.0, 9.0, 11.0], vec![5.0, 7.0, 12.0]));
    }

    #[test]
    fn columns_are_compared_round_by_round() {
        let pair = of_columns(&[2.0, 30.0, 4.0], &[1.0, 10.0, 4.0]);
        assert_eq!((pair.measured.median, pair.floor.median, pair.ratio.median), (4.0, 4.0, 2.0));
    }
}
