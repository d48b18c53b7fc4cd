//! Texts of engines and of errors, made fit for one line.

use std::error::Error;
use std::fmt;
use std::io;

use whalewatcher_core::{EngineError, ErrorKind, Printable};

/// The longest excerpt, in characters.
const EXCERPT: usize = 300;

/// A text of an engine in one line: control characters are escaped, and it is cut after 300 characters.
#[derive(Clone, Copy, Debug)]
pub struct Excerpt<'a>(pub &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.trim().trim_end_matches('.');
        match text.char_indices().nth(EXCERPT) {
            Some((end, _)) => write!(f, "{}…", Printable(&text[..end])),
            None => Printable(text).fmt(f),
        }
    }
}

/// Returns the error for a message, `what`, that arrived whole but cannot be decoded.
#[must_use]
pub fn malformed(what: &str, why: impl fmt::Display) -> EngineError {
    EngineError::new(
        ErrorKind::Malformed,
        format!("{what} cannot be understood: {}", Excerpt(&why.to_string())),
    )
}

/// Iterates over the error and its causes, the outermost first.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| <&'a (dyn Error + 'static)>::clone(error).source())
}

/// Finds an error of type `T` among an error and its causes, also within an [`io::Error`], which does not
/// name the error that it was made of as its source.
#[must_use]
pub fn find_cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|cause| {
        let within = || cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref();
        cause.downcast_ref().or_else(within)
    })
}

/// An error with all its causes, in one line. A gRPC status that has a cause is left out, because it repeats
/// that cause.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for cause in causes(self.0) {
            #[cfg(feature = "grpc")]
            if cause.is::<tonic::Status>() && cause.source().is_some() {
                continue;
            }
            let more = cause.to_string();
            if text.ends_with(&more) {
                continue;
            }
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&more);
        }
        Excerpt(&text).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_found_within_errors_of_io() {
        let inner = EngineError::new(ErrorKind::Failed, "inner");
        let error = EngineError::new(ErrorKind::Failed, "outer").with_source(io::Error::other(inner));
        let found: &io::Error = find_cause(&error).unwrap();
        assert_eq!(find_cause::<EngineError>(found).unwrap().to_string(), "inner");
        assert!(find_cause::<fmt::Error>(&error).is_none());
    }

    #[test]
    fn excerpts_are_one_line_of_bounded_length() {
        assert_eq!(Excerpt(" no\nluck\u{1b}. \n").to_string(), r"no\nluck\u{1b}");
        assert_eq!(Excerpt(&"ü".repeat(400)).to_string(), format!("{}…", "ü".repeat(300)));
    }
}
