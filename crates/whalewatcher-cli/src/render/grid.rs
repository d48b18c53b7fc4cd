//! A table of texts, whose columns are as wide as these.

use crate::render::width::{cells, left};

const GAP: usize = 2;

/// Returns rows as a table, the first one being the headings. Columns that are empty for all other rows are
/// left out, and those of `dropped` in this order for as long as a line is wider than the terminal. The last
/// column may be longer than the line.
pub(crate) fn grid<const N: usize>(
    rows: &[[String; N]],
    dropped: &[usize],
    terminal: Option<usize>,
) -> String {
    let [headings, others @ ..] = rows else { return String::new() };
    let mut widths: [usize; N] = std::array::from_fn(|column| {
        let widest = others.iter().map(|row| cells(&row[column])).max().unwrap_or_default();
        if widest == 0 { 0 } else { widest.max(cells(&headings[column])) }
    });
    for column in dropped {
        let mut counted = widths;
        if let (Some(last), Some(heading)) = (counted.last_mut(), headings.last()) {
            *last = cells(heading).min(*last);
        }
        let shown = counted.iter().filter(|width| **width > 0);
        let taken = shown.clone().sum::<usize>() + GAP * shown.count().saturating_sub(1);
        if terminal.is_some_and(|terminal| taken > terminal) {
            widths[*column] = 0;
        }
    }
    let mut text = String::new();
    for row in rows {
        let columns = row.iter().zip(widths).filter(|(_, width)| *width > 0);
        let line: Vec<_> = columns.map(|(text, width)| left(text, width)).collect();
        text += line.join(&" ".repeat(GAP)).trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_dropped_in_order_until_lines_fit() {
        let rows = [["A", "BB", "C", "D"], ["1", "22", "", "4444 4444"]].map(|row| row.map(str::to_owned));
        let columns = |width| grid(&rows, &[1, 0], width).lines().next().unwrap_or_default().to_owned();
        assert_eq!(columns(None), "A  BB  D");
        assert_eq!(columns(Some(8)), "A  BB  D");
        assert_eq!(columns(Some(7)), "A  D");
        assert_eq!(columns(Some(3)), "D");
        assert_eq!(grid::<4>(&[], &[], None), "");
    }
}
