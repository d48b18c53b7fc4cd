//! JSON as engines write it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use whalewatcher_core::EngineError;

use crate::http::error;
use crate::limits::MAX_DAMAGED;

/// Decodes JSON.
///
/// Engines write valid UTF-8, even for names that are not. Invalid bytes are replaced all the same, so that
/// they hide nothing else.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(what: &str, body: &[u8]) -> Result<T, EngineError> {
    parse(what, &text(what, body)?)
}

/// Returns the body as text, with invalid UTF-8 replaced if the body is not too large for that.
pub(crate) fn text<'a>(what: &str, body: &'a [u8]) -> Result<Cow<'a, str>, EngineError> {
    match std::str::from_utf8(body) {
        // Checking first is far quicker than replacing.
        Ok(text) => Ok(text.into()),
        // A replacement character has three bytes.
        Err(_) if body.len() > MAX_DAMAGED => Err(error::malformed(what, "it is not valid UTF-8")),
        Err(_) => Ok(String::from_utf8_lossy(body)),
    }
}

/// Decodes JSON that is text already, and may be borrowed from.
pub(crate) fn parse<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, EngineError> {
    // Not as the error's source: it may quote any length of the engine's text.
    serde_json::from_str(text).map_err(|error| error::malformed(what, error))
}

/// Decodes a part that is not needed; `None` if it is malformed.
pub(crate) fn lenient<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// Whether a body was corrupted: engines write valid UTF-8. A corrupt body never proves that a container is not alive.
pub(crate) fn is_corrupt(body: &[u8]) -> bool {
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
    fn errors_quote_an_engines_text_on_one_line_of_bounded_length() {
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
    fn invalid_utf8_is_replaced_and_malformed_json_refused() {
        assert_eq!(decode::<String>("GET /x", b"\"a\xffb\"").unwrap(), "a\u{fffd}b");
        for malformed in [&b""[..], b"{", b"<html>", b"\"\\ud800\"", b"\x00"] {
            let error = decode::<String>("GET /x", malformed).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed);
            assert!(error.to_string().starts_with("GET /x: the answer cannot be understood"), "{error}");
        }
    }
}
