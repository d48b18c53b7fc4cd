//! What was measured several times, and how far it spreads.

use serde::{Deserialize, Serialize};

/// Several measurements of the same: their median, and between what half of them lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The one in the middle.
    pub median: f64,
    /// A quarter of the measurements lie below.
    pub low: f64,
    /// A quarter of the measurements lie above.
    pub high: f64,
}

impl Sample {
    /// Of these measurements, of which there must be one at least; in any order.
    #[must_use]
    pub fn of(mut measurements: Vec<f64>) -> Self {
        measurements.sort_by(f64::total_cmp);
        let at = |part: f64| quantile(&measurements, part);
        Self { median: at(0.5), low: at(0.25), high: at(0.75) }
    }

    /// What was measured once, or is no matter of measuring.
    #[must_use]
    pub fn once(value: f64) -> Self {
        Self { median: value, low: value, high: value }
    }
}

/// The measurement below which that part of them lies; `sorted` must not be empty.
#[must_use]
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    // Between two measurements it is the nearer one.
    let at = (last as f64 * part).round() as usize;
    sorted.get(at.min(last)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_measurements_lie_between_low_and_high() {
        let sample = Sample::of((0..=100).rev().map(f64::from).collect());
        assert_eq!(sample, Sample { median: 50.0, low: 25.0, high: 75.0 });
        assert_eq!(Sample::of(vec![7.0]), Sample::once(7.0));
    }

    #[test]
    fn a_quantile_is_one_of_the_measurements() {
        let sorted: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!([0.0, 0.99, 1.0].map(|part| quantile(&sorted, part)), [1.0, 990.0, 1000.0]);
    }
}
