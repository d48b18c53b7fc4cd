//! Lists the containers that are alive.

use std::time::SystemTime;

use tokio::task::spawn_blocking;
use whalewatcher_core::adapter::ListingEntry;
use whalewatcher_core::{ContainerId, EngineError, ErrorKind};

use crate::api::session::{Session, escape};
use crate::decode::identity::Dialect;
use crate::decode::libpod::Form;
use crate::decode::{self, Details};
use crate::http::answer;
use crate::http::budget::Body;

const WHAT: &str = "GET /containers/json";

/// Up to what size a list is decoded between two events: that of some hundred containers takes a millisecond.
const INLINE: usize = 256 * 1024;

/// What a list is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To take over what it contains.
    Resync,
    /// To compare it with what is known.
    Audit,
}

/// The containers that are alive, and when that was by the engine's clock, where that is known.
pub(crate) async fn list(
    session: &Session,
    purpose: Purpose,
) -> Result<(Vec<ListingEntry>, Option<SystemTime>), EngineError> {
    let listed = request(session, &path(session.dialect()), purpose).await?;
    if session.dialect() == Dialect::Libpod {
        session.pods().replace(&listed.0);
    }
    Ok(listed)
}

/// One container as podman's own list shows it; `None` if it is not alive.
pub(crate) async fn list_one(
    session: &Session,
    id: &ContainerId,
) -> Result<Option<ListingEntry>, EngineError> {
    let filters = format!(r#"{{"id":["{}"]}}"#, id.as_str());
    let path = format!("{}&filters={}", path(Dialect::Libpod), escape(&filters));
    let (entries, _) = request(session, &path, Purpose::Resync).await?;
    // The filter takes the beginning of an ID too.
    let entry = entries.into_iter().find(|entry| entry.container().id() == id);
    entry.iter().for_each(|entry| session.pods().add(entry.container()));
    Ok(entry)
}

async fn request(
    session: &Session,
    path: &str,
    purpose: Purpose,
) -> Result<(Vec<ListingEntry>, Option<SystemTime>), EngineError> {
    let response = session.get(path).await?;
    let response = answer::succeeded(WHAT, response, session.budget()).await?;
    let now = session.clock().of(response.headers()).and_then(|now| SystemTime::try_from(now).ok());
    let details = session.details();
    let form = Form {
        listed_until: session.listed_until(),
        is_audit: purpose == Purpose::Audit,
        networks: details.networks,
        horizon: session.clock().horizon(),
    };
    let decode = match session.dialect() {
        Dialect::Docker => Decode::Docker(Some(details)),
        // Those of its list differ: it omits ports that are not published, for one.
        Dialect::Podman => Decode::Docker(None),
        Dialect::Libpod => Decode::Libpod(form),
    };
    let mut body = answer::read(WHAT, response, usize::MAX, session.budget()).await?;
    let entries = if body.len() <= INLINE {
        decode.entries(&mut body, now)?
    } else {
        // Events must not wait for it: dockerd skips listeners that are too slow to take them.
        let decoding = spawn_blocking(move || decode.entries(&mut body, now));
        decoding.await.map_err(|error| EngineError::new(ErrorKind::Failed, error.to_string()))??
    };
    Ok((entries, now))
}

/// How to decode a list.
enum Decode {
    Docker(Option<Details>),
    Libpod(Form),
}

impl Decode {
    fn entries(&self, body: &mut Body, now: Option<SystemTime>) -> Result<Vec<ListingEntry>, EngineError> {
        match self {
            Self::Docker(details) => decode::list::decode(WHAT, body, now, *details),
            Self::Libpod(form) => decode::libpod::decode(WHAT, body, *form),
        }
    }
}

/// Returns the path that lists live containers only, because an engine may have many more that are not alive.
///
/// podman is asked for all containers: one in its state `stopping` still has a process, and that state cannot be
/// filtered for (4.3.1 answers with status 500).
fn path(dialect: Dialect) -> String {
    match dialect {
        Dialect::Podman | Dialect::Libpod => "/containers/json?all=true".into(),
        Dialect::Docker => {
            format!("/containers/json?filters={}", escape(r#"{"status":["running","paused"]}"#))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_podman_is_asked_for_all() {
        let filtered = "/containers/json?filters=%7B%22status%22%3A%5B%22running%22%2C%22paused%22%5D%7D";
        assert_eq!(path(Dialect::Docker), filtered);
        assert_eq!(path(Dialect::Podman), "/containers/json?all=true");
    }
}
