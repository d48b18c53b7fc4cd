//! What a bench found, as a line of the table and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sample::{Sample, quantile};

/// One line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// Its bench.
    pub bench: String,
    /// What was measured.
    pub what: String,
    /// Of all numbers.
    pub unit: Unit,
    /// The numbers.
    pub measured: Sample,
    /// The least that the engine or the machine makes anyone pay.
    pub floor: Option<Sample>,
    /// How many times the floor: of what was measured side by side.
    pub ratio: Option<Sample>,
    /// What is wanted.
    pub aim: Option<Aim>,
    /// Whether it is so.
    pub met: Option<bool>,
}

/// What numbers are of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "units are what they are")]
pub enum Unit {
    Nanoseconds,
    Milliseconds,
    Seconds,
    Bytes,
    PerSecond,
    Count,
}

/// What is wanted of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// At most so many times the floor.
    TimesFloor(f64),
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

impl Figure {
    /// What was measured, without a floor.
    #[must_use]
    pub fn new(bench: &str, what: impl Into<String>, unit: Unit, measured: Sample) -> Self {
        let (bench, what) = (bench.to_owned(), what.into());
        Self { bench, what, unit, measured, floor: None, ratio: None, aim: None, met: None }
    }

    /// The median of these times, and below what 99 % of them lie, which is to be so.
    #[must_use]
    pub fn of_times(bench: &str, what: &str, times: &[Duration], aim: Option<Aim>) -> [Self; 2] {
        let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1_000.0).collect();
        sorted.sort_by(f64::total_cmp);
        let [median, slowest] = [("median", 0.5), ("99 %", 0.99)].map(|(name, part)| {
            let sample = Sample::once(quantile(&sorted, part));
            Self::new(bench, format!("{what}: {name}"), Unit::Milliseconds, sample)
        });
        [median, aim.map_or(slowest.clone(), |aim| slowest.aiming_at(aim))]
    }

    /// The same, with what was measured side by side with it.
    #[must_use]
    pub fn over(mut self, floor: Sample, ratio: Sample) -> Self {
        (self.floor, self.ratio) = (Some(floor), Some(ratio));
        self
    }

    /// The same, and whether that is so.
    #[must_use]
    pub fn aiming_at(mut self, aim: Aim) -> Self {
        self.met = match aim {
            Aim::TimesFloor(times) => self.ratio.map(|ratio| ratio.median <= times),
            Aim::AtMost(most) => Some(self.measured.median <= most),
            Aim::AtLeast(least) => Some(self.measured.median >= least),
        };
        self.aim = Some(aim);
        self
    }

    fn aim(&self) -> String {
        match self.aim {
            None => String::new(),
            Some(Aim::TimesFloor(times)) => format!("≤ {times}×"),
            Some(Aim::AtMost(most)) => format!("≤ {}", self.unit.of(most)),
            Some(Aim::AtLeast(least)) => format!("≥ {}", self.unit.of(least)),
        }
    }

    fn cells(&self) -> [String; 7] {
        let spread = |of: &Sample, shown: &dyn Fn(f64) -> String| match of.low == of.high {
            true => shown(of.median),
            false => format!("{} ({} to {})", shown(of.median), shown(of.low), shown(of.high)),
        };
        [
            self.bench.clone(),
            self.what.clone(),
            spread(&self.measured, &|value| self.unit.of(value)),
            self.floor.map(|floor| self.unit.of(floor.median)).unwrap_or_default(),
            self.ratio.map(|ratio| spread(&ratio, &|value| format!("{value:.2}×"))).unwrap_or_default(),
            self.aim(),
            self.met.map(|met| if met { "met" } else { "missed" }).unwrap_or_default().to_owned(),
        ]
    }
}

impl Unit {
    fn of(self, value: f64) -> String {
        let number = digits(value);
        match self {
            Self::Nanoseconds => format!("{number} ns"),
            Self::Milliseconds => format!("{number} ms"),
            Self::Seconds => format!("{number} s"),
            Self::Bytes => format!("{number} B"),
            Self::PerSecond => format!("{number}/s"),
            Self::Count => number,
        }
    }
}

/// Three or four digits that matter, or all before the point, these in groups of three.
fn digits(value: f64) -> String {
    let places = match value.abs() {
        ..1.0 => 3,
        ..10.0 => 3,
        ..100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.places$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        let left = whole.len() - at;
        if at > 0 && left % 3 == 0 && digit.is_ascii_digit() && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

/// All figures, in Markdown, so that documents can show them as they are.
#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let head = ["bench", "what", "measured (half lie between)", "floor", "times the floor", "aim", ""];
    let rows: Vec<_> = figures.iter().map(Figure::cells).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len(), 3]).max().unwrap_or_default()
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut table = String::new();
    let mut line = |cells: &[&str; 7], fill: char| {
        for (cell, width) in cells.iter().zip(widths) {
            let missing = String::from_iter(std::iter::repeat_n(fill, width - cell.chars().count()));
            // Writing to a text does not fail.
            let _ = write!(table, "| {cell}{missing} ");
        }
        table.push_str("|\n");
    };
    line(&head, ' ');
    line(&[""; 7], '-');
    for row in &rows {
        line(&row.each_ref().map(String::as_str), ' ');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_exactly_as_they_matter() {
        let shown = [0.01234, 1.5, 12.345, 999.9, 1000.0, 1_234_567.8, -1234.0, 0.0, 2.0].map(digits);
        assert_eq!(shown, ["0.012", "1.5", "12.3", "1,000", "1,000", "1,234,568", "-1,234", "0", "2"]);
    }

    #[test]
    fn an_aim_is_met_or_missed_by_the_median() {
        let figure = |measured| {
            let of = |value| Sample { median: value, low: 0.0, high: 100.0 };
            Figure::new("b", "w", Unit::Bytes, of(measured)).over(of(10.0), of(measured / 10.0))
        };
        for (aim, met, missed) in
            [(Aim::TimesFloor(2.0), 20.0, 21.0), (Aim::AtMost(7.0), 7.0, 8.0), (Aim::AtLeast(7.0), 7.0, 6.0)]
        {
            assert_eq!(figure(met).aiming_at(aim).met, Some(true), "{aim:?}");
            assert_eq!(figure(missed).aiming_at(aim).met, Some(false), "{aim:?}");
        }
        let without_floor = Figure::new("b", "w", Unit::Bytes, Sample::once(1.0));
        assert_eq!(without_floor.aiming_at(Aim::TimesFloor(2.0)).met, None);
    }

    #[test]
    fn the_columns_of_the_table_line_up() {
        let figures = [
            Figure::new("a", "short", Unit::Count, Sample::once(1.0)),
            Figure::new("b", "rather longer", Unit::PerSecond, Sample::once(1e6))
                .aiming_at(Aim::AtLeast(1.0)),
        ];
        let table = table(&figures);
        let widths: Vec<_> = table.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 4);
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
        assert!(table.contains("| 1,000,000/s ") && table.contains("| ≥ 1/s | met "), "{table}");
    }
}
