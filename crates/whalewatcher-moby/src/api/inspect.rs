//! Inspects one container.

use std::time::SystemTime;

use http::StatusCode;
use whalewatcher_core::adapter::ListingEntry;
use whalewatcher_core::{Container, ContainerId, EngineError, ErrorKind};

use crate::api::list::list_one;
use crate::api::session::{Session, escape};
use crate::decode::identity::Dialect;
use crate::decode::inspection::{self, End, decode, decode_end};
use crate::decode::libpod;
use crate::decode::raw_inspection::Packer;
use crate::http::answer;
use crate::http::budget::Body;
use crate::limits::{MAX_ERROR, MAX_INSPECTION};

const WHAT: &str = "GET /containers/ID/json";

/// How many lives of a container to look at, if others begin meanwhile. Younger ones than those in a list
/// need only one look.
const LIVES: usize = 2;

/// Returns the container as it is now; `None` if it has no process.
pub(crate) async fn inspect(
    session: &Session,
    id: &ContainerId,
    packer: Option<&Packer>,
) -> Result<Option<Container>, EngineError> {
    for _ in 0..LIVES {
        let Some(body) = request(session, id).await? else { return Ok(None) };
        let inspected = decode(WHAT, id, &body, session.clock().horizon(), session.details(), packer)?;
        drop(body);
        let container = match inspected {
            Some(container) if session.dialect() == Dialect::Libpod => container,
            inspected => return Ok(inspected),
        };
        match complete(session, container).await? {
            Completed::Container(container) => return Ok(container),
            Completed::Another => {}
        }
    }
    Err(EngineError::new(
        ErrorKind::Failed,
        format!("{WHAT}: the container changes faster than it can be inspected"),
    ))
}

enum Completed {
    /// As it is now; `None` if it has no process.
    Container(Option<Container>),
    /// Another life began meanwhile.
    Another,
}

/// Returns a container as podman's own API shows it. What a list has shown stays as lists show it: they
/// contain fewer details, and a container that gains some with an inspection would lose them with the next
/// list.
async fn complete(session: &Session, container: Container) -> Result<Completed, EngineError> {
    if container.pid() != 0 && libpod::is_listed(container.started_at(), session.listed_until()) {
        return Ok(match list_one(session, container.id()).await? {
            None => Completed::Container(None),
            Some(ListingEntry::Whole(listed)) => Completed::Container(Some(listed)),
            Some(ListingEntry::Partial { .. }) => Completed::Another,
        });
    }
    let (mut container, is_named) = session.pods().name(container);
    if !is_named {
        // Its pod's name is in the list only.
        list_one(session, container.id()).await?;
        container = session.pods().name(container).0;
    }
    Ok(Completed::Container(Some(container)))
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
