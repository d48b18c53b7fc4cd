//! Lists the containers that are alive.

use std::time::SystemTime;

use tokio::task::spawn_blocking;
use whalewatcher_core::adapter::ListingEntry;
use whalewatcher_core::{EngineError, ErrorKind};

use crate::api::session::{Session, escape};
use crate::decode::identity::Dialect;
use crate::decode::list::decode;
use crate::http::answer;

const WHAT: &str = "GET /containers/json";

/// Up to what size a list is decoded between two events: that of some hundred containers takes a millisecond.
const INLINE: usize = 256 * 1024;

/// The containers that are alive, and when that was by the engine's clock, where that is known.
pub(crate) async fn list(session: &Session) -> Result<(Vec<ListingEntry>, Option<SystemTime>), EngineError> {
    let response = session.get(&path(session.dialect())).await?;
    let response = answer::succeeded(WHAT, response, session.budget()).await?;
    let now = session.clock().of(response.headers()).and_then(|now| SystemTime::try_from(now).ok());
    // Those of podman's list differ: it omits ports that are not published, for one.
    let details = Some(session.details()).filter(|_| session.dialect() == Dialect::Docker);
    let mut body = answer::read(WHAT, response, usize::MAX, session.budget()).await?;
    let entries = if body.len() <= INLINE {
        decode(WHAT, &mut body, now, details)?
    } else {
        // Events must not wait for it: dockerd skips listeners that are too slow to take them.
        let decoding = spawn_blocking(move || decode(WHAT, &mut body, now, details));
        decoding.await.map_err(|error| EngineError::new(ErrorKind::Failed, error.to_string()))??
    };
    Ok((entries, now))
}

/// Returns the path that lists live containers only, because an engine may have many more that are not alive.
///
/// podman is asked for all containers: one in its state `stopping` still has a process, and that state cannot be
/// filtered for (4.3.1 answers with status 500).
fn path(dialect: Dialect) -> String {
    match dialect {
        Dialect::Podman => "/containers/json?all=true".into(),
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
