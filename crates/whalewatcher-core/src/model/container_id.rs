//! What can be a container's ID at all.

use crate::model::ContainerId;

impl ContainerId {
    /// How long a [plain](Self::is_plain) ID may be, in bytes. Docker's and CRI's have 64.
    pub const MAX: usize = 256;

    /// Whether it can be an ID that an engine made up. Engines use hexadecimal digits; ASCII letters, digits, `-`, `_` and
    /// `.` are taken too, in any order that does not begin with one of the last three: nothing that a path or a terminal
    /// could mistake.
    #[must_use]
    pub fn is_plain(text: &str) -> bool {
        let punctuation = |byte: &u8| matches!(byte, b'-' | b'_' | b'.');
        text.len() <= Self::MAX
            && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || punctuation(&byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_is_short_and_plain() {
        for id in ["a", "0123456789abcdef", "k8s_pod-1.2", &"f".repeat(ContainerId::MAX)] {
            assert!(ContainerId::is_plain(id), "{id}");
        }
        let too_long = "f".repeat(ContainerId::MAX + 1);
        for other in
            ["", ".", "..", "-a", "a/b", "a b", "a\n", "\u{1b}[2J", "ü", "a\u{fffd}", too_long.as_str()]
        {
            assert!(!ContainerId::is_plain(other), "{other:?}");
        }
    }
}
