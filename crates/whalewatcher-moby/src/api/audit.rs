//! The list that an audit compares with the portfolio.
//!
//! A list says `Up About a minute`, which fits a life and the next one. But the engine remembers its last 256
//! events, including those that it skipped for a listener that was too slow: a container that is alive was
//! started after its newest exit.

use std::collections::HashMap;
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};
use whalewatcher_core::adapter::{EngineEvent, ListingEntry};
use whalewatcher_core::{ContainerId, EngineError};

use crate::api::clock::SLACK;
use crate::api::events;
use crate::api::list::{Purpose, list};
use crate::api::session::Session;
use crate::decode::identity::Dialect;

/// How far back to request events: longer than the words of a list are vague about a young container. podman
/// remembers all its events.
const BACK: SignedDuration = SignedDuration::from_mins(10);

/// The containers that are alive, with their earliest possible starts, and when that was.
pub(crate) async fn audit(session: &Session) -> Result<(Vec<ListingEntry>, Option<SystemTime>), EngineError> {
    let (mut entries, listed_at) = list(session, Purpose::Audit).await?;
    // podman's own list contains PIDs and start times.
    if session.dialect() != Dialect::Libpod
        && let Some(now) = listed_at.and_then(|now| Timestamp::try_from(now).ok())
    {
        // A list alone is still an audit.
        match newest_exits(session, now).await {
            Ok(exits) => narrow(&mut entries, &exits),
            Err(error) => tracing::debug!(%error, "auditing without recent events"),
        }
    }
    Ok((entries, listed_at))
}

async fn newest_exits(
    session: &Session,
    now: Timestamp,
) -> Result<HashMap<ContainerId, SystemTime>, EngineError> {
    // Events from before the connection do not matter. Those dated after now are ignored: the clock was set back since.
    let back = now.saturating_sub(BACK).unwrap_or(now);
    let since = session.clock().since().map_or(back, |since| back.max(since));
    let latest = SystemTime::try_from(now).ok().and_then(|now| now.checked_add(SLACK));
    let mut exits = HashMap::new();
    if now > since {
        let note = |event| {
            if let EngineEvent::Exited { id, at: Some(at), .. } = event
                && latest.is_none_or(|latest| at <= latest)
            {
                let newest = exits.entry(id).or_insert(at);
                *newest = at.max(*newest);
            }
        };
        events::replay(session, since, now, note).await?;
    }
    Ok(exits)
}

/// Limits when containers may have started to after their newest exits.
fn narrow(entries: &mut [ListingEntry], exits: &HashMap<ContainerId, SystemTime>) {
    for entry in entries {
        if let ListingEntry::Partial { container, started_within: Some(within) } = entry
            && let Some(exit) = exits.get(container.id())
        {
            *within = *within.start().max(exit)..=*within.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use whalewatcher_core::Container;

    use super::*;

    #[test]
    fn a_container_started_after_its_newest_exit() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let up = |id: &str| ListingEntry::Partial {
            container: Container::new(id, id, 0),
            started_within: Some(at(100)..=at(200)),
        };
        let mut entries = [up("before"), up("within"), up("never")];
        narrow(&mut entries, &HashMap::from([("before".into(), at(50)), ("within".into(), at(150))]));
        let starts = entries.map(|entry| match entry {
            ListingEntry::Partial { started_within: Some(within), .. } => within,
            other => panic!("{other:?}"),
        });
        assert_eq!(starts, [at(100)..=at(200), at(150)..=at(200), at(100)..=at(200)]);
    }
}
