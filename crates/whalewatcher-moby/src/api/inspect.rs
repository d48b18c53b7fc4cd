//! Inspects one container.

use std::time::SystemTime;

use http::StatusCode;
use whalewatcher_core::{Container, ContainerId, EngineError};

use crate::api::session::{Session, escape};
use crate::decode::inspection::{self, End, decode, decode_end};
use crate::decode::raw_inspection::Packer;
use crate::http::answer;
use crate::http::budget::Body;
use crate::limits::{MAX_ERROR, MAX_INSPECTION};

const WHAT: &str = "GET /containers/ID/json";

/// Returns the container as it is now; `None` if it has no process.
pub(crate) async fn inspect(
    session: &Session,
    id: &ContainerId,
    packer: Option<&Packer>,
) -> Result<Option<Container>, EngineError> {
    match request(session, id).await? {
        Some(body) => decode(WHAT, id, &body, session.clock().horizon(), session.details(), packer),
        None => Ok(None),
    }
}

/// Returns how the life that began then ended; `None` if the engine shows no life or another one.
pub(crate) async fn inspect_end(
    session: &Session,
    id: &ContainerId,
    began: SystemTime,
) -> Result<Option<End>, EngineError> {
    match request(session, id).await? {
        Some(body) => decode_end(WHAT, id, &body, session.clock().horizon(), began),
        None => Ok(None),
    }
}

/// Returns the answer; `None` if the engine has no such container.
async fn request(session: &Session, id: &ContainerId) -> Result<Option<Body>, EngineError> {
    let _turn = session.turn().await;
    let response = session.get(&format!("/containers/{}/json", escape(id))).await?;
    if response.status() == StatusCode::NOT_FOUND {
        let body = answer::read(WHAT, response, MAX_ERROR, session.budget()).await?;
        let error = answer::refused(WHAT, StatusCode::NOT_FOUND, &body);
        return if inspection::is_gone(id, &body) { Ok(None) } else { Err(error) };
    }
    let response = answer::succeeded(WHAT, response, session.budget()).await?;
    answer::read(WHAT, response, MAX_INSPECTION, session.budget()).await.map(Some)
}
