//! What can be the ID of a container or a sandbox at all.

use crate::limits::MAX_ID;

/// Whether it can be an ID. Runtimes use hexadecimal digits; ASCII letters, digits, `-`, `_` and `.` are taken too, in
/// any order that does not begin with one of the last three: nothing that a path or a terminal could mistake.
pub(crate) fn is_id(text: &str) -> bool {
    let punctuation = |byte: &u8| matches!(byte, b'-' | b'_' | b'.');
    text.len() <= MAX_ID
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || punctuation(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_and_plain() {
        for id in ["a", "0123456789abcdef", "k8s_pod-1.2", &"f".repeat(MAX_ID)] {
            assert!(is_id(id), "{id}");
        }
        for other in ["", ".", "-a", "a/b", "a b", "a\n", "\u{1b}[2J", "ü", &"f".repeat(MAX_ID + 1)] {
            assert!(!is_id(other), "{other:?}");
        }
    }
}
