//! Escaping of engines' text for terminals and logs.

use std::fmt::{self, Write};
use std::ops::RangeInclusive;

/// Displays text from an engine safely on a terminal or in a log: escapes control characters, and characters that are
/// invisible, reorder text, or break lines.
///
/// ```
/// use whalewatcher_core::Printable;
/// assert_eq!(Printable("web\u{1b}[31m\n").to_string(), r"web\u{1b}[31m\n");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

impl Printable<'_> {
    /// Returns whether a character is escaped: control and format characters (Unicode's Cc, Cf, Zl and Zp),
    /// and all others that are invisible by default, such as variation selectors and fillers.
    #[must_use]
    pub fn escapes(c: char) -> bool {
        c.is_control() || (c >= '\u{ad}' && INVISIBLE.iter().any(|range| range.contains(&c)))
    }
}

/// Cf, Zl, Zp and Default_Ignorable_Code_Point of Unicode 17, merged.
const INVISIBLE: [RangeInclusive<char>; 25] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{600}'..='\u{605}',
    '\u{61c}'..='\u{61c}',
    '\u{6dd}'..='\u{6dd}',
    '\u{70f}'..='\u{70f}',
    '\u{890}'..='\u{891}',
    '\u{8e2}'..='\u{8e2}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{110bd}'..='\u{110bd}',
    '\u{110cd}'..='\u{110cd}',
    '\u{13430}'..='\u{1343f}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\n' | '\r' | '\t' => write!(f, "{}", c.escape_default())?,
                c if Self::escapes(c) => write!(f, "{}", c.escape_unicode())?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_control_and_invisible_characters_are_escaped() {
        let reorder =
            "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
        let invisible = "\u{ad}\u{34f}\u{115f}\u{180e}\u{200b}\u{200c}\u{200d}\u{2060}\u{3164}\u{fe0f}\u{feff}\u{e0041}\u{e0100}";
        for c in ('\0'..='\u{1f}')
            .chain("\u{7f}\u{85}\u{9b}\u{2028}\u{2029}".chars())
            .chain(reorder.chars())
            .chain(invisible.chars())
        {
            let shown = Printable(&c.to_string()).to_string();
            assert!(Printable::escapes(c) && shown.starts_with('\\') && shown.is_ascii(), "{c:?} {shown:?}");
        }
        let visible = "aZ ~¡éе鯨の歌한글שלוםمرحبا👍🏽🐳e\u{301}\u{a0}\u{2010}\u{e000}\u{fffd}";
        assert_eq!(Printable(visible).to_string(), visible);
        assert!(INVISIBLE.is_sorted_by(|one, next| one.end() < next.start()));
    }
}
