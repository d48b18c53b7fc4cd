//! Text made to fit into columns of a terminal: counted in cells, not in characters, and cut with an ellipsis.

use std::ops::RangeInclusive;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How wide a column of names is at most, even where there is no terminal to be too narrow for it: one monstrous name must
/// not push the rest of all lines out of sight.
pub(crate) const WIDEST: usize = 128;

/// Before pods get shorter than that, other columns are left out.
const SHORTEST_POD: usize = 16;

/// How wide the columns of names and of pods are that have so much room together: as wide as their contents, else with
/// names cut to the least that they may have, then with pods cut; `None` where that does not do. Without pods the names have
/// it all.
pub(crate) fn shared(
    room: usize,
    gap: usize,
    name: RangeInclusive<usize>,
    pod: Option<usize>,
) -> Option<(usize, Option<usize>)> {
    let (least, most) = name.into_inner();
    let Some(pod) = pod else { return (room >= least).then_some((most.min(room), None)) };
    let for_pods = room.checked_sub(least + gap).filter(|room| *room >= pod.min(SHORTEST_POD))?;
    let pod = pod.min(for_pods);
    Some((most.min(room - gap - pod), Some(pod)))
}

/// How many cells a text takes.
pub(crate) fn cells(text: &str) -> usize {
    text.width()
}

/// The text in at most so many cells: where it is longer, its beginning and an ellipsis.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if cells(text) <= width {
        return text.to_owned();
    }
    let Some(room) = width.checked_sub(1) else { return String::new() };
    let mut used = 0;
    let fitting = text.chars().take_while(|c| {
        used += c.width().unwrap_or_default();
        used <= room
    });
    fitting.chain(['…']).collect()
}

/// The text in exactly so many cells, at their left.
pub(crate) fn left(text: &str, width: usize) -> String {
    let mut fitted = cut(text, width);
    let missing = width.saturating_sub(cells(&fitted));
    fitted.extend(std::iter::repeat_n(' ', missing));
    fitted
}

/// The text in exactly so many cells, at their right.
pub(crate) fn right(text: &str, width: usize) -> String {
    let fitted = cut(text, width);
    let missing = width.saturating_sub(cells(&fitted));
    " ".repeat(missing) + &fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_and_what_does_not_ends_in_an_ellipsis() {
        assert_eq!(cut("shop-web-1", 10), "shop-web-1");
        assert_eq!(cut("shop-web-1", 9), "shop-web…");
        assert_eq!(cut("shop-web-1", 1), "…");
        assert_eq!(cut("shop-web-1", 0), "");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn wide_characters_take_two_cells_and_are_never_halved() {
        assert_eq!(cells("鯨の歌"), 6);
        assert_eq!(cut("鯨の歌", 6), "鯨の歌");
        assert_eq!(cut("鯨の歌", 5), "鯨の…");
        assert_eq!(cut("鯨の歌", 4), "鯨…");
        assert_eq!((left("鯨の歌", 4).as_str(), cells(&left("鯨の歌", 4))), ("鯨… ", 4));
    }

    #[test]
    fn columns_are_filled_up_at_the_other_side() {
        assert_eq!(left("ab", 4), "ab  ");
        assert_eq!(right("ab", 4), "  ab");
        assert_eq!(right("abcde", 4), "abc…");
    }

    #[test]
    fn names_and_pods_share_what_there_is() {
        let shared = |room, pod| shared(room, 2, 5..=20, pod);
        assert_eq!(shared(usize::MAX, Some(30)), Some((20, Some(30))));
        assert_eq!(shared(52, Some(30)), Some((20, Some(30))));
        assert_eq!(shared(51, Some(30)), Some((19, Some(30))), "the names are cut");
        assert_eq!(shared(37, Some(30)), Some((5, Some(30))));
        assert_eq!(shared(36, Some(30)), Some((5, Some(29))), "then the pods");
        assert_eq!(shared(23, Some(30)), Some((5, Some(16))));
        assert_eq!(shared(22, Some(30)), None);
        assert_eq!((shared(9, Some(3)), shared(10, Some(3))), (None, Some((5, Some(3)))));
        assert_eq!(
            (shared(30, None), shared(7, None), shared(4, None)),
            (Some((20, None)), Some((7, None)), None)
        );
    }

    #[test]
    fn marks_that_take_no_cell_of_their_own_do_not_shift_a_column() {
        assert_eq!(cells("cafe\u{301}"), 4);
        assert_eq!(left("cafe\u{301}", 5), "cafe\u{301} ");
    }
}
