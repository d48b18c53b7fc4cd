//! Names with wildcards, as a shell has them.

use regex_lite::Regex;

/// A text, or a glob of `*`, `?` and `[…]`.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    /// `None` without wildcards.
    glob: Option<Regex>,
}

impl Pattern {
    /// Reads a pattern. A `[` without its `]` stands for itself.
    ///
    /// # Errors
    ///
    /// With the reason, if a range of characters is the wrong way round.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let glob = text.contains(['*', '?', '[']).then(|| Regex::new(&regex(text)));
        let glob = glob.transpose().map_err(|_| format!("'{text}' is not a valid pattern"))?;
        Ok(Self { text: text.to_owned(), glob })
    }

    /// Returns the pattern as it was given.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether it may match several texts.
    pub(crate) fn has_wildcards(&self) -> bool {
        self.glob.is_some()
    }

    /// Returns whether it matches the whole text. A text always matches itself.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.text == text || self.glob.as_ref().is_some_and(|glob| glob.is_match(text))
    }
}

/// Returns the regular expression that matches what a glob does.
fn regex(glob: &str) -> String {
    let mut regex = "(?s)^".to_owned();
    let mut rest = glob;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => regex += ".*",
            '?' => regex.push('.'),
            '[' => match class(rest) {
                Some((negated, members, after)) => {
                    regex += if negated { "[^" } else { "[" };
                    for member in members.chars() {
                        // A range keeps its hyphen; all else stands for itself.
                        regex += &if member == '-' { "-".to_owned() } else { literal(member) };
                    }
                    regex.push(']');
                    rest = after;
                }
                None => regex += &literal(c),
            },
            _ => regex += &literal(c),
        }
    }
    regex + "$"
}

/// Returns whether the class is negated, its members, and what follows its `]`. A `]` that comes first is a member.
fn class(rest: &str) -> Option<(bool, &str, &str)> {
    let members = rest.strip_prefix(['!', '^']);
    let (negated, members) = (members.is_some(), members.unwrap_or(rest));
    let from = members.chars().next()?.len_utf8();
    let end = from + members[from..].find(']')?;
    Some((negated, &members[..end], &members[end + 1..]))
}

fn literal(c: char) -> String {
    regex_lite::escape(c.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_in_a_shell() {
        for (pattern, matching, others) in [
            ("web", &["web"][..], &["web-1", "aweb", "WEB", ""][..]),
            ("shop-*", &["shop-", "shop-web-1", "shop-a/b\n"], &["shop", "myshop-web"]),
            ("*", &["", "鯨"], &[]),
            ("w?b", &["web", "w鯨b"], &["wb", "weeb"]),
            ("db-[0-2]", &["db-0", "db-2"], &["db-3", "db-", "db--"]),
            ("db-[!0-2x]", &["db-3", "db-]"], &["db-1", "db-x", "db-33"]),
            ("[]a]", &["]", "a", "[]a]"], &["b"]),
            ("[^^]", &["a"], &["^"]),
            ("[&~.\\]", &["&", "\\", "."], &["a"]),
            ("a[b", &["a[b"], &["ab"]),
            ("a.(b)|*", &["a.(b)|c"], &["axb", "b"]),
        ] {
            let glob = Pattern::new(pattern).unwrap();
            for text in matching {
                assert!(glob.matches(text), "{pattern} {text}");
            }
            for text in others {
                assert!(!glob.matches(text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn a_range_the_wrong_way_round_is_named() {
        assert_eq!(Pattern::new("[z-a]").unwrap_err(), "'[z-a]' is not a valid pattern");
        for text in ["[", "[]", "[!]", "[[:x:]]", "[a-]", "[-a]", "\\", "(?i)*"] {
            assert!(Pattern::new(text).is_ok(), "{text}");
        }
    }
}
