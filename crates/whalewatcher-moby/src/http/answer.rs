//! Answers to requests: checks the status, reads the body up to a limit.

use std::error::Error;
use std::fmt;

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use serde::Deserialize;
use whalewatcher_adapter::Excerpt;
use whalewatcher_core::{EngineError, ErrorKind};

use crate::http::budget::{Body, Budget};
use crate::http::error;
use crate::limits::MAX_ERROR;

/// Returns an answer with a status of success; any other is an error. `what` names the request.
pub(crate) async fn succeeded(
    what: &str,
    response: Response<Incoming>,
    budget: &Budget,
) -> Result<Response<Incoming>, EngineError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    match read(what, response, MAX_ERROR, budget).await {
        Ok(body) => Err(refused(what, status, &body)),
        Err(_) => Err(refused(what, status, b"")),
    }
}

/// Reads the whole body, which may have up to `limit` bytes. If it announces more, nothing is read.
pub(crate) async fn read(
    what: &str,
    response: Response<Incoming>,
    limit: usize,
    budget: &Budget,
) -> Result<Body, EngineError> {
    let mut incoming = response.into_body();
    let announced =
        incoming.size_hint().exact().map(|announced| usize::try_from(announced).unwrap_or(usize::MAX));
    if announced.is_some_and(|announced| announced > limit) {
        return Err(error::too_large(what, limit));
    }
    if announced.is_some_and(|announced| announced > budget.limit()) {
        return Err(error::over_budget(what, budget.limit()));
    }
    let mut body = Body::new(budget);
    // Each piece is copied and dropped: many small ones would take many times the memory of their content.
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| error::of_body(what, error))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - body.len() {
            return Err(error::too_large(what, limit));
        }
        body.add(what, &data, announced.unwrap_or(limit))?;
    }
    Ok(body)
}

/// The error for an answer with this status and body.
pub(crate) fn refused(what: &str, status: StatusCode, body: &[u8]) -> EngineError {
    let text = reason(body);
    let (kind, verb) = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (ErrorKind::PermissionDenied, "refuses"),
        _ => (ErrorKind::Failed, "fails"),
    };
    let reason =
        if text.trim().is_empty() { status.canonical_reason().unwrap_or("no reason given") } else { &text };
    let message = format!("the engine {verb} {what} with status {}: {}", status.as_u16(), Excerpt(reason));
    EngineError::new(kind, message).with_source(Refused(status))
}

/// The status of an answer that is no success, as the source of the error.
#[derive(Debug)]
struct Refused(StatusCode);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.0.as_u16())
    }
}

impl Error for Refused {}

/// Returns the status of the answer that caused this error.
pub(crate) fn refusal(error: &EngineError) -> Option<StatusCode> {
    error.source()?.downcast_ref::<Refused>().map(|refused| refused.0)
}

/// Returns the reason in the body of an error: the message in its JSON, or else all of it.
pub(crate) fn reason(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    match serde_json::from_slice(body) {
        Ok(Refusal { message }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engines_reason_is_passed_on() {
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
}
