//! Reports how lives ended while there was no connection.
//!
//! For a container that still exists, an inspection shows the end of its newest life. For others the engine
//! may remember the events: dockerd the last 256. Events before these may be missing, so they are proof only
//! from the first one on that is remembered.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::timeout;
use whalewatcher_core::adapter::{EngineEvent, ListingEntry};
use whalewatcher_core::{ContainerId, EngineError};

use crate::api::clock::SLACK;
use crate::api::events;
use crate::api::inspect::inspect_end;
use crate::api::lives::{Life, Lives, NewestEvent};
use crate::api::session::Session;
use crate::decode::identity::Dialect;
use crate::decode::inspection::End;

/// The part of what is left of a list's time limit that all queries about missed exits may take: 3 s of 30 s
/// by default.
const PART: u32 = 10;

/// Emits how the lives ended that were known before this connection and are not on its first list. `left` is
/// how much time is left for that list.
pub(crate) async fn report(
    session: &Session,
    lives: &Lives,
    entries: &[ListingEntry],
    left: Duration,
    mut emit: impl FnMut(EngineEvent) + Send,
) {
    let (known, newest) = lives.known();
    if known.is_empty() {
        return;
    }
    let mut missing = known;
    // Another life of these is on the list.
    let mut over = HashMap::new();
    for entry in entries {
        let id = entry.container().id();
        let began = match entry {
            ListingEntry::Partial { started_within, .. } => {
                started_within.as_ref().map(|within| *within.start())
            }
            ListingEntry::Whole(container) => container.started_at(),
        };
        if let Some(life) = missing.remove(id)
            && began.is_some_and(|began| life.began < began)
        {
            over.insert(id.clone(), life);
        }
    }
    let gone = missing.clone();
    let asking = async {
        let mut inspections = stream::iter(missing)
            .map(async |(id, life)| (inspect_end(session, &id, life.began).await, id, life))
            .buffer_unordered(session.inspections());
        while let Some((end, id, life)) = inspections.next().await {
            match end {
                Ok(Some(end)) => end_of(id, life, end).for_each(&mut emit),
                Ok(None) => _ = over.insert(id, life),
                Err(error) => tracing::debug!(%id, %error, "cannot inspect how a container exited"),
            }
        }
        if over.is_empty() {
            return;
        }
        match remembered_ends(session, over, newest).await {
            Ok(ends) => {
                ends.into_iter().flat_map(|(id, life, end)| end_of(id, life, end)).for_each(&mut emit);
            }
            Err(error) => tracing::debug!(%error, "cannot request the events of missed exits"),
        }
    };
    if timeout(left / PART, asking).await.is_err() {
        tracing::debug!("queries about missed exits timed out");
    }
    lives.forget(&gone);
}

/// Returns the events of an end.
fn end_of(id: ContainerId, life: Life, end: End) -> impl Iterator<Item = EngineEvent> {
    let at = Some(end.at);
    let oom_killed = end.oom_killed.then(|| EngineEvent::OomKilled { id: id.clone(), at });
    oom_killed.into_iter().chain([EngineEvent::Exited { id, pid: Some(life.pid), at, code: end.code }])
}

/// Returns the ends of those of these lives whose exits the engine remembers.
async fn remembered_ends(
    session: &Session,
    lives: HashMap<ContainerId, Life>,
    newest: Option<NewestEvent>,
) -> Result<Vec<(ContainerId, Life, End)>, EngineError> {
    let Some(now) = session.clock().now() else { return Ok(Vec::new()) };
    // If it is dated after now, the clock was set back since.
    let newest = newest.filter(|newest| Timestamp::try_from(newest.at).is_ok_and(|at| at <= now));
    let since = match session.dialect() {
        // It remembers all its events.
        Dialect::Podman | Dialect::Libpod => newest.and_then(|newest| Timestamp::try_from(newest.at).ok()),
        Dialect::Docker => Some(Timestamp::UNIX_EPOCH),
    };
    let Some(since) = since else { return Ok(Vec::new()) };
    let mut remembered = Remembered::new(lives, newest);
    events::replay(session, since, now, |event| remembered.take(&event)).await?;
    Ok(remembered.ends().collect())
}

/// What the events that an engine remembers show about lives.
struct Remembered {
    lives: HashMap<ContainerId, (Life, Trace)>,
    newest: Option<NewestEvent>,
    /// The time of the first event that is remembered.
    first: Option<SystemTime>,
    /// The latest time of an event, since the clock was set back if it was.
    latest: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug)]
enum Trace {
    Alive {
        has_begun: bool,
        oom_killed: bool,
    },
    Ended(End),
    /// The clock was set back: until the next start it is not certain to which life an exit belongs.
    SetBack,
    /// Another life began, and the exit of this one is missing.
    Unknown,
}

impl Remembered {
    fn new(lives: HashMap<ContainerId, Life>, newest: Option<NewestEvent>) -> Self {
        let alive = |life| (life, Trace::Alive { has_begun: false, oom_killed: false });
        let lives = lives.into_iter().map(|(id, life)| (id, alive(life))).collect();
        Self { lives, newest, first: None, latest: None }
    }

    fn take(&mut self, event: &EngineEvent) {
        let at = event.at();
        self.first = self.first.or(at);
        if at.and_then(|at| at.checked_add(SLACK)).is_some_and(|at| Some(at) < self.latest) {
            self.lives.values_mut().for_each(|(_, trace)| *trace = Trace::SetBack);
            self.latest = at;
        }
        self.latest = self.latest.max(at);
        let (EngineEvent::Started { id, at, .. }
        | EngineEvent::Exited { id, at, .. }
        | EngineEvent::OomKilled { id, at }
        | EngineEvent::Touched { id, at }) = event
        else {
            return;
        };
        let Some((life, trace)) = self.lives.get_mut(id) else { return };
        let (is_certain, has_begun, oom_killed) = match *trace {
            Trace::Alive { has_begun, oom_killed } => (true, has_begun, oom_killed),
            Trace::SetBack => (false, false, false),
            Trace::Ended(_) | Trace::Unknown => return,
        };
        let at = match *at {
            Some(at) if at <= life.began => return,
            at => at,
        };
        *trace = match (event, at) {
            (EngineEvent::Exited { code, .. }, Some(at)) if is_certain => {
                Trace::Ended(End { at, code: *code, oom_killed })
            }
            (EngineEvent::OomKilled { .. }, Some(_)) if is_certain => {
                Trace::Alive { has_begun, oom_killed: true }
            }
            (EngineEvent::OomKilled { .. }, _) => return,
            // The event of its own start is dated a moment after it.
            (EngineEvent::Started { .. }, Some(at))
                if !has_begun && life.began.checked_add(SLACK).is_some_and(|latest| at <= latest) =>
            {
                Trace::Alive { has_begun: true, oom_killed }
            }
            _ if !is_certain => Trace::SetBack,
            _ => Trace::Unknown,
        };
    }

    /// Returns the ends of those lives since which no event is missing: since their start, or since the
    /// newest event that was received before they were seen last.
    fn ends(self) -> impl Iterator<Item = (ContainerId, Life, End)> {
        let Self { lives, newest, first, .. } = self;
        lives.into_iter().filter_map(move |(id, (life, trace))| {
            let Trace::Ended(end) = trace else { return None };
            // The newest event of a later connection does not prove that none was missed before it.
            let newest = newest.filter(|newest| newest.connection <= life.connection);
            let seen = newest.map_or(life.began, |newest| newest.at.max(life.began));
            (first? <= seen).then_some((id, life, end))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn started(id: &str, second: u64) -> EngineEvent {
        EngineEvent::Started { id: id.into(), at: Some(at(second)), pid: None, preview: None }
    }

    fn touched(id: &str, second: Option<u64>) -> EngineEvent {
        EngineEvent::Touched { id: id.into(), at: second.map(at) }
    }

    fn exited(id: &str, second: u64) -> EngineEvent {
        EngineEvent::Exited { id: id.into(), pid: None, at: Some(at(second)), code: Some(7) }
    }

    /// The end by these events of a life that began at 100 and was seen last on this connection.
    fn end_of_life(connection: u64, events: &[EngineEvent]) -> Option<End> {
        let lives =
            HashMap::from([("a".into(), Life { pid: 1, began: at(100), connection, has_health: false })]);
        let mut remembered = Remembered::new(lives, Some(NewestEvent { connection: 1, at: at(200) }));
        events.iter().for_each(|event| remembered.take(event));
        remembered.ends().next().map(|(_, _, end)| end)
    }

    #[test]
    fn an_exit_counts_only_if_no_event_is_missing() {
        for (what, events, end) in [
            ("from the newest on", vec![started("b", 200), exited("a", 300)], Some(300)),
            ("from after it on", vec![started("b", 201), exited("a", 300)], None),
            ("from before on", vec![exited("a", 99), started("a", 101), exited("a", 300)], Some(300)),
            (
                "restarted",
                vec![started("b", 1), exited("a", 300), started("a", 301), exited("a", 302)],
                Some(300),
            ),
            ("no end between", vec![started("b", 1), started("a", 300), exited("a", 302)], None),
            (
                "begun twice",
                vec![started("b", 1), started("a", 101), started("a", 102), exited("a", 103)],
                None,
            ),
            ("perhaps restarted", vec![started("b", 1), touched("a", None), exited("a", 300)], None),
            ("touched after it", vec![started("b", 1), exited("a", 300), touched("a", None)], Some(300)),
            ("touched before it", vec![started("b", 1), touched("a", Some(99)), exited("a", 300)], Some(300)),
            ("an older end", vec![exited("a", 100)], None),
            ("the clock was set back", vec![started("b", 200), exited("a", 300), started("b", 297)], None),
            (
                "the clock was set back before it began",
                vec![started("a", 150), exited("a", 200), started("a", 101), exited("a", 102)],
                Some(102),
            ),
            (
                "the clock was set back before the next one ended",
                vec![started("a", 101), exited("a", 200), started("a", 90), exited("a", 300)],
                None,
            ),
            (
                "events overtook each other",
                vec![started("b", 200), exited("a", 300), started("b", 298)],
                Some(300),
            ),
            ("nothing", vec![], None),
        ] {
            let expected = end.map(|second| End { at: at(second), code: Some(7), oom_killed: false });
            assert_eq!(end_of_life(1, &events), expected, "{what}");
        }
        // It was not confirmed on the connection on which the newest event came.
        assert_eq!(end_of_life(0, &[started("b", 200), exited("a", 300)]), None);
        assert!(end_of_life(0, &[started("b", 100), exited("a", 300)]).is_some());
    }

    #[test]
    fn an_end_for_lack_of_memory_is_marked() {
        let killed = |second| EngineEvent::OomKilled { id: "a".into(), at: Some(at(second)) };
        for (events, expected) in [
            (&[started("b", 1), killed(200), exited("a", 300)][..], Some(true)),
            (&[started("b", 1), started("a", 101), killed(200), exited("a", 300)], Some(true)),
            (&[killed(99), started("a", 101), exited("a", 300)], Some(false)),
            (&[started("b", 1), exited("a", 300), started("a", 301), killed(302)], Some(false)),
            (&[started("b", 1), started("a", 300), killed(301), exited("a", 302)], None),
        ] {
            assert_eq!(end_of_life(1, events).map(|end| end.oom_killed), expected, "{events:?}");
        }
    }
}
