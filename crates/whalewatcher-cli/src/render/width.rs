//! Text that is cut or padded to a width in terminal cells.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Returns the number of cells that a text takes.
pub(crate) fn cells(text: &str) -> usize {
    text.width()
}

/// Returns the text in at most `width` cells: if it is longer, its beginning and an ellipsis.
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

/// Returns the text in exactly `width` cells, aligned left.
pub(crate) fn left(text: &str, width: usize) -> String {
    let mut fitted = cut(text, width);
    let missing = width.saturating_sub(cells(&fitted));
    fitted.extend(std::iter::repeat_n(' ', missing));
    fitted
}

/// Returns the text in exactly `width` cells, aligned right.
pub(crate) fn right(text: &str, width: usize) -> String {
    let fitted = cut(text, width);
    let missing = width.saturating_sub(cells(&fitted));
    " ".repeat(missing) + &fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        assert_eq!(cut("shop-web-1", 10), "shop-web-1");
        assert_eq!(cut("shop-web-1", 9), "shop-web…");
        assert_eq!(cut("shop-web-1", 1), "…");
        assert_eq!(cut("shop-web-1", 0), "");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn wide_characters_take_two_cells_and_are_not_split() {
        assert_eq!(cells("鯨の歌"), 6);
        assert_eq!(cut("鯨の歌", 6), "鯨の歌");
        assert_eq!(cut("鯨の歌", 5), "鯨の…");
        assert_eq!(cut("鯨の歌", 4), "鯨…");
        assert_eq!((left("鯨の歌", 4).as_str(), cells(&left("鯨の歌", 4))), ("鯨… ", 4));
    }

    #[test]
    fn short_text_is_padded() {
        assert_eq!(left("ab", 4), "ab  ");
        assert_eq!(right("ab", 4), "  ab");
        assert_eq!(right("abcde", 4), "abc…");
    }

    #[test]
    fn combining_marks_take_no_cell() {
        assert_eq!(cells("cafe\u{301}"), 4);
        assert_eq!(left("cafe\u{301}", 5), "cafe\u{301} ");
    }
}
