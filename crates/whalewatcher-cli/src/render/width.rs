//! Text made to fit into columns of a terminal: counted in cells, not in characters, and cut with an ellipsis.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

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
    fn marks_that_take_no_cell_of_their_own_do_not_shift_a_column() {
        assert_eq!(cells("cafe\u{301}"), 4);
        assert_eq!(left("cafe\u{301}", 5), "cafe\u{301} ");
    }
}
