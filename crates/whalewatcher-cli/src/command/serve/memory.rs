//! How much memory answers take that clients have not read yet.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most bytes of all answers that are not read yet, and how they are counted. Small answers are not.
const MOST: usize = 256 * 1024 * 1024;
const UNIT: usize = 1024;
const SMALL: usize = 16 * 1024;

/// The memory for the answers of a server. Clones are the same.
#[derive(Clone)]
pub(super) struct Memory(Arc<Semaphore>);

/// Makes an answer from a status and the reason.
pub(super) type Refuse = fn(StatusCode, String) -> Response;

/// Counts the bytes for as long as they are there.
struct Counted {
    bytes: Bytes,
    _units: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Memory {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST / UNIT)))
    }

    /// Limits the answers of an application, which refuses others in its own form. Streams, of which the client holds a
    /// piece only, are not limited.
    pub(super) fn limit(&self, app: Router, refuse: Refuse) -> Router {
        app.layer(from_fn_with_state((self.clone(), refuse), limit))
    }
}

async fn limit(State((memory, refuse)): State<(Memory, Refuse)>, request: Request, next: Next) -> Response {
    let (head, body) = next.run(request).await.into_parts();
    let size = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
    let Some(size) = size.filter(|size| *size > SMALL) else { return Response::from_parts(head, body) };
    let units = u32::try_from(size.div_ceil(UNIT)).ok().map(|units| memory.0.try_acquire_many_owned(units));
    let (Some(Ok(units)), Some(Ok(bytes))) = (units, to_bytes(body, size).now_or_never()) else {
        let reason = "too many answers are not read yet: try again, or select fewer containers".to_owned();
        return ([(RETRY_AFTER, "1")], refuse(StatusCode::SERVICE_UNAVAILABLE, reason)).into_response();
    };
    Response::from_parts(head, Body::from(Bytes::from_owner(Counted { bytes, _units: units })))
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    #[tokio::test]
    async fn large_answers_are_refused_while_too_many_bytes_are_not_read() {
        let large = Bytes::from(vec![b'x'; MOST / 2]);
        let app = Router::new().route("/large", get(async || large)).route("/small", get(async || "small"));
        let app = TowerToHyperService::new(
            Memory::new().limit(app, |status, reason| (status, reason).into_response()),
        );
        let get = async |path: &str| app.call(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let unread = [get("/large").await, get("/large").await];
        assert!(unread.iter().all(|answer| answer.status() == StatusCode::OK));
        let refused = get("/large").await;
        assert_eq!(
            (refused.status(), refused.headers()["retry-after"].as_bytes()),
            (StatusCode::SERVICE_UNAVAILABLE, &b"1"[..])
        );
        assert_eq!(get("/small").await.status(), StatusCode::OK);
        let [first, _second] = unread;
        // hyper holds the bytes of an answer until they are written.
        let bytes = to_bytes(first.into_body(), usize::MAX).await.unwrap();
        assert_eq!(get("/large").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(bytes);
        assert_eq!(get("/large").await.status(), StatusCode::OK);
    }
}
