//! JSON as engines write it.

use std::borrow::Cow;

use serde::Deserialize;
use whalewatcher_core::EngineError;

use crate::http::error;
use crate::limits::MAX_DAMAGED;

/// Decodes JSON.
///
/// Engines write valid UTF-8, even of names that are not; should one not, then what is invalid is replaced, for it must
/// not hide all else.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(what: &str, body: &[u8]) -> Result<T, EngineError> {
    parse(what, &text(what, body)?)
}

/// The body as text, with what is not valid UTF-8 replaced: in what is not too large for that.
pub(crate) fn text<'a>(what: &str, body: &'a [u8]) -> Result<Cow<'a, str>, EngineError> {
    match std::str::from_utf8(body) {
        // Which is far quicker than to look for what is not valid.
        Ok(text) => Ok(text.into()),
        // What replaces a byte has three.
        Err(_) if body.len() > MAX_DAMAGED => Err(error::malformed(what, "it was damaged on the way")),
        Err(_) => Ok(String::from_utf8_lossy(body)),
    }
}

/// The same of what is text already, and may be borrowed from.
pub(crate) fn parse<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, EngineError> {
    // Not as the error's source: it may quote any length of what the engine wrote.
    serde_json::from_str(text).map_err(|error| error::malformed(what, error))
}

/// Whether it was damaged on the way: engines write valid UTF-8. What is damaged never proves that something is over.
pub(crate) fn is_damaged(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_err()
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use http::StatusCode;
    use whalewatcher_core::ErrorKind;

    use super::*;
    use crate::http::answer::refused;

    #[test]
    fn what_an_engine_writes_is_quoted_in_errors_as_one_line_of_bounded_length() {
        let long = format!("{{\"a\":\"\\u001b[2J{}\\n\"}}", "x".repeat(1_000_000));
        let decoding = decode::<u8>("GET /x", long.as_bytes()).unwrap_err();
        let quoting =
            decode::<Vec<u8>>("GET /x", format!("[\"\\u001b{}\"]", "x".repeat(1_000_000)).as_bytes());
        let refusal = refused("GET /x", StatusCode::IM_A_TEAPOT, long.as_bytes());
        for error in [decoding, quoting.unwrap_err(), refusal] {
            let text = error.to_string();
            assert!(text.len() < 1000 && !text.contains(char::is_control), "{text}");
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            assert!(source.is_empty() || source == "status 418", "{source}");
        }
    }

    #[test]
    fn invalid_utf8_is_replaced_and_other_garbage_refused() {
        assert_eq!(decode::<String>("GET /x", b"\"a\xffb\"").unwrap(), "a\u{fffd}b");
        for garbage in [&b""[..], b"{", b"<html>", b"\"\\ud800\"", b"\x00"] {
            let error = decode::<String>("GET /x", garbage).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed);
            assert!(error.to_string().starts_with("GET /x: the answer cannot be understood"), "{error}");
        }
    }
}
