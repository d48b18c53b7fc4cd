//! What an engine answers to a request: the status looked at, the body read up to a limit, the JSON decoded.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use serde::Deserialize;
use whalewatcher_core::{EngineError, ErrorKind};

use crate::http::failure::{self, Excerpt};
use crate::http::memory::{Body, Memory};
use crate::limits::{MAX_COMPLAINT, MAX_DAMAGED};

/// Says what was wrong, for an answer that is not a success; `what` names the request.
pub(crate) async fn succeeded(
    what: &str,
    response: Response<Incoming>,
    memory: &Memory,
) -> Result<Response<Incoming>, EngineError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    match read(what, response, MAX_COMPLAINT, memory).await {
        Ok(complaint) => Err(refused(what, status, &complaint)),
        Err(_) => Err(refused(what, status, b"")),
    }
}

/// The whole body, if it has no more than `limit` bytes. Of one that announces more nothing is read.
pub(crate) async fn read(
    what: &str,
    response: Response<Incoming>,
    limit: usize,
    memory: &Memory,
) -> Result<Body, EngineError> {
    let mut incoming = response.into_body();
    let announced =
        incoming.size_hint().exact().map(|announced| usize::try_from(announced).unwrap_or(usize::MAX));
    if announced.is_some_and(|announced| announced > limit) {
        return Err(failure::too_large(what, limit));
    }
    if announced.is_some_and(|announced| announced > memory.limit()) {
        return Err(failure::no_memory(what, memory.limit()));
    }
    let mut body = Body::new(memory);
    // Each piece is copied and let go: many small ones would take many times what is in them.
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| failure::of_body(what, error))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - body.len() {
            return Err(failure::too_large(what, limit));
        }
        body.add(what, &data, announced.unwrap_or(limit))?;
    }
    Ok(body)
}

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
        Err(_) if body.len() > MAX_DAMAGED => Err(failure::malformed(what, "it was damaged on the way")),
        Err(_) => Ok(String::from_utf8_lossy(body)),
    }
}

/// The same of what is text already, and may be borrowed from.
pub(crate) fn parse<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, EngineError> {
    // Not as the error's source: it may quote any length of what the engine wrote.
    serde_json::from_str(text).map_err(|error| failure::malformed(what, error))
}

/// Whether it was damaged on the way: engines write valid UTF-8. What is damaged never proves that something is over.
pub(crate) fn is_damaged(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_err()
}

pub(crate) fn refused(what: &str, status: StatusCode, complaint: &[u8]) -> EngineError {
    let text = self::complaint(complaint);
    let (kind, verb) = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (ErrorKind::PermissionDenied, "refuses"),
        _ => (ErrorKind::Failed, "fails"),
    };
    let reason =
        if text.trim().is_empty() { status.canonical_reason().unwrap_or("no reason given") } else { &text };
    let message = format!("the engine {verb} {what} with status {}: {}", status.as_u16(), Excerpt(reason));
    EngineError::new(kind, message).with_source(Refused(status))
}

/// What refused, as the source of the error: the status of the answer.
#[derive(Debug)]
struct Refused(StatusCode);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.0.as_u16())
    }
}

impl Error for Refused {}

/// The status with which the request was refused that failed like this.
pub(crate) fn refusal(error: &EngineError) -> Option<StatusCode> {
    error.source()?.downcast_ref::<Refused>().map(|refused| refused.0)
}

/// What an engine complains of: the message in its JSON, or else all of it.
pub(crate) fn complaint(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Complaint {
        message: String,
    }
    match serde_json::from_slice(body) {
        Ok(Complaint { message }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engines_complaint_is_passed_on() {
        for (status, body, kind, text) in [
            (
                500,
                r#"{"message":"out of\nluck."}"#,
                ErrorKind::Failed,
                r"fails GET /x with status 500: out of\nluck",
            ),
            (
                403,
                "<html>no</html>",
                ErrorKind::PermissionDenied,
                "refuses GET /x with status 403: <html>no</html>",
            ),
            (400, "", ErrorKind::Failed, "fails GET /x with status 400: Bad Request"),
        ] {
            let error = refused("GET /x", StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert_eq!((error.kind(), error.to_string()), (kind, format!("the engine {text}")));
            assert_eq!(refusal(&error).unwrap().as_u16(), status);
        }
    }

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
