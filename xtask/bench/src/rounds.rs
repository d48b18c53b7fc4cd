//! Measuring a thing and its floor in turn, so that whatever disturbs the machine disturbs both.

use anyhow::Result;

use crate::sample::Sample;

/// A thing and its floor.
#[derive(Debug)]
pub struct Pair {
    /// The thing.
    pub measured: Sample,
    /// Its floor.
    pub floor: Sample,
    /// Of each round the one by the other.
    pub ratio: Sample,
}

/// Measures both in each round, and which of them comes first in turn; a first round, in which all is cold, does not
/// count.
pub fn in_turn(rounds: usize, mut measured: impl FnMut() -> f64, mut floor: impl FnMut() -> f64) -> Pair {
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

/// Measures what has to be awaited, likewise, and returns each round's pair.
///
/// # Errors
///
/// When one cannot be measured.
pub async fn each_in_turn<T>(
    rounds: usize,
    mut measured: impl AsyncFnMut() -> Result<T>,
    mut floor: impl AsyncFnMut() -> Result<T>,
) -> Result<Vec<(T, T)>> {
    let mut all = Vec::new();
    for round in 0..=rounds {
        let pair = if round % 2 == 0 {
            let measured = measured().await?;
            (measured, floor().await?)
        } else {
            let floor = floor().await?;
            (measured().await?, floor)
        };
        all.extend((round > 0).then_some(pair));
    }
    Ok(all)
}

/// Of what was measured in pairs: the thing, then its floor.
#[must_use]
pub fn of_pairs(all: &[(f64, f64)]) -> Pair {
    Pair {
        measured: Sample::of(all.iter().map(|(measured, _)| *measured).collect()),
        floor: Sample::of(all.iter().map(|(_, floor)| *floor).collect()),
        ratio: Sample::of(all.iter().map(|(measured, floor)| measured / floor).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_disturbance_of_a_whole_round_does_not_show_in_the_ratio() {
        let disturbed = |number: usize| if number.is_multiple_of(3) { 100.0 } else { 1.0 };
        let all: Vec<_> = (1..10).map(|number| (6.0 * disturbed(number), 2.0 * disturbed(number))).collect();
        assert_eq!(of_pairs(&all).ratio, Sample::once(3.0));
    }

    #[test]
    fn each_comes_first_in_turn_and_the_first_round_does_not_count() {
        let order = RefCell::new(String::new());
        let note = |letter| {
            order.borrow_mut().push(letter);
            order.borrow().len() as f64
        };
        let pair = in_turn(3, || note('m'), || note('f'));
        assert_eq!(*order.borrow(), "mffmmffm");
        assert_eq!((pair.measured.median, pair.floor.median), (5.0, 6.0));

        order.borrow_mut().clear();
        let measuring = each_in_turn(3, async || Ok(note('m')), async || Ok(note('f')));
        let all = futures_util::FutureExt::now_or_never(measuring).unwrap().unwrap();
        assert_eq!(*order.borrow(), "mffmmffm");
        assert_eq!(all, [(4.0, 3.0), (5.0, 6.0), (8.0, 7.0)]);
    }
}
