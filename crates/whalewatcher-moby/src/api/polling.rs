//! Changes without an event stream: lists are requested regularly and compared.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until, timeout};
use whalewatcher_core::adapter::{EngineEvent, ListingEntry};
use whalewatcher_core::{ContainerId, EngineError, ErrorKind};

use crate::api;
use crate::api::list::Purpose;
use crate::api::session::{POLL_EVERY, Session};

/// After how many failed lists in a row the connection ends.
const FAILURES: u32 = 3;

/// How old a container may be to be inspected after each list. It may be another life than the one on the
/// list before: in the first minute of a life a list says to the second how old it is, and later lists are
/// less precise than polls are apart.
const YOUNG: Duration = Duration::from_secs(75);

/// Lists regularly, and compares each list with the one before.
pub(crate) struct Polling<'a> {
    session: &'a Session,
    newest: HashMap<ContainerId, ListingEntry>,
    due: Instant,
    /// The list in flight.
    listing: Option<BoxFuture<'a, Listed>>,
    failures: u32,
}

impl<'a> Polling<'a> {
    /// Requests the list that the first poll is compared with.
    pub(crate) async fn begin(session: &'a Session) -> Result<Self, EngineError> {
        let (newest, _) = list(session).await?;
        Ok(Self { session, newest, due: Instant::now() + POLL_EVERY, listing: None, failures: 0 })
    }

    /// Returns what has changed by the next list, which may be nothing. Dropping the future loses nothing: a
    /// list in flight is continued. Otherwise one that takes longer than the attempts to get the event stream
    /// are apart would never end.
    pub(crate) async fn next(&mut self) -> Result<Vec<EngineEvent>, EngineError> {
        let listing = match &mut self.listing {
            Some(listing) => listing,
            listing => {
                sleep_until(self.due).await;
                listing.insert(Box::pin(list(self.session)))
            }
        };
        let listed = listing.await;
        self.listing = None;
        self.due = Instant::now() + POLL_EVERY;
        match listed {
            Ok((list, now)) => {
                self.failures = 0;
                let changes = difference(&self.newest, &list, now);
                self.newest = list;
                Ok(changes)
            }
            Err(error) => {
                self.failures += 1;
                let broken = matches!(
                    error.kind(),
                    ErrorKind::Disconnected | ErrorKind::TimedOut | ErrorKind::Unreachable
                );
                if broken || self.failures == FAILURES {
                    return Err(error);
                }
                tracing::warn!(%error, "skipped a poll");
                Ok(Vec::new())
            }
        }
    }
}

type List = HashMap<ContainerId, ListingEntry>;
type Listed = Result<(List, Option<SystemTime>), EngineError>;

async fn list(session: &Session) -> Listed {
    let limit = session.list_limit();
    let (entries, now) =
        timeout(limit, api::list::list(session, Purpose::Resync)).await.unwrap_or_else(|_| {
            let message = format!("polling: no list within {} s", limit.as_secs_f32());
            Err(EngineError::new(ErrorKind::TimedOut, message))
        })?;
    let list = entries.into_iter().map(|entry| (entry.container().id().clone(), entry)).collect();
    Ok((list, now))
}

/// Returns a change for each container that differs or may be another life. The time of a change is not known.
fn difference(before: &List, list: &List, now: Option<SystemTime>) -> Vec<EngineEvent> {
    let changed = |id: &ContainerId| EngineEvent::Changed { id: id.clone(), at: None };
    let gone = before.keys().filter(|id| !list.contains_key(*id)).map(changed);
    let here = list.iter().filter_map(|(id, entry)| match before.get(id) {
        None => Some(EngineEvent::Touched { id: id.clone(), at: None }),
        Some(known) if known.container() != entry.container() || is_young(entry, now) => Some(changed(id)),
        Some(_) => None,
    });
    gone.chain(here).collect()
}

fn is_young(entry: &ListingEntry, now: Option<SystemTime>) -> bool {
    match entry {
        ListingEntry::Partial { started_within: Some(within), .. } => {
            now.and_then(|now| now.checked_sub(YOUNG)).is_some_and(|then| *within.start() >= then)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::Container;

    use super::*;
    use crate::decode::uptime::started_within;

    #[test]
    fn a_container_that_differs_or_is_young_has_changed() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
        let up = |name: &str, status: &str, paused: bool| {
            let container = Container::new("a", name, 0).with_paused(paused);
            ListingEntry::Partial { container, started_within: started_within(status, now) }
        };
        let list = |entry: Option<ListingEntry>| {
            let entry = entry.map(|entry| (entry.container().id().clone(), entry));
            List::from_iter(entry)
        };
        let changed = EngineEvent::Changed { id: "a".into(), at: None };
        let started = EngineEvent::Touched { id: "a".into(), at: None };
        let old = || Some(up("web", "Up 3 hours", false));
        for (before, after, expected) in [
            (old(), old(), None),
            (old(), Some(up("web", "Up 3 hours (healthy)", false)), None),
            (old(), Some(up("web", "Up 3 hours (Paused)", true)), Some(&changed)),
            (old(), Some(up("shop", "Up 3 hours", false)), Some(&changed)),
            (old(), Some(up("web", "Up 1 second", false)), Some(&changed)),
            (old(), Some(up("web", "Up 59 seconds", false)), Some(&changed)),
            (old(), Some(up("web", "Up About a minute", false)), None),
            (old(), Some(up("web", "up and away", false)), None),
            (old(), None, Some(&changed)),
            (None, old(), Some(&started)),
            (None, None, None),
        ] {
            let changes = difference(&list(before), &list(after.clone()), Some(now));
            assert_eq!(changes, Vec::from_iter(expected.cloned()), "{after:?}");
        }
    }
}
