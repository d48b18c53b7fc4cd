//! The lives that a client saw, from one connection to the next: when one ended meanwhile, the engine may still know how.
//!
//! Of a container that is still there an inspection shows the end of its newest life. Of others the engine may remember the
//! events: dockerd the last 256. Whether one that is missing was ever there cannot be seen, so they prove something only
//! from the first one on that is remembered.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::timeout;
use whalewatcher_core::adapter::{EngineEvent, ListingEntry};
use whalewatcher_core::{Container, ContainerId, EngineError};

use crate::api::clock::SLACK;
use crate::api::events;
use crate::connection::Connection;

/// Which part of what is left of a list's time limit all questions about ends may take together: of 30 s by default 3 s.
const PART: u32 = 10;

/// The containers that were alive when last seen. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lives(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    engine: String,
    /// How many connections there were.
    connections: u64,
    lives: HashMap<ContainerId, Life>,
    /// The containers that are being inspected, with the newest end of each that was reported meanwhile.
    inspected: HashMap<ContainerId, Option<SystemTime>>,
    newest: Option<Newest>,
}

/// The newest event of that engine: on which connection it came, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Newest {
    connection: u64,
    at: SystemTime,
}

/// Which life of its container it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pid: u32,
    pub(crate) began: SystemTime,
    /// On which connection it was seen last.
    connection: u64,
}

/// When and how a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) at: SystemTime,
    pub(crate) code: Option<i32>,
}

impl Lives {
    fn locked(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a new connection. Forgets the lives of any other engine.
    pub(crate) fn connected(&self, engine: &str) {
        let known = &mut *self.locked();
        known.connections += 1;
        if known.engine != engine {
            *known = Known { engine: engine.to_owned(), connections: known.connections, ..Known::default() };
        }
    }

    /// Notes that an inspection begins.
    pub(crate) fn inspect<'a>(&'a self, id: &'a ContainerId) -> Inspecting<'a> {
        self.locked().inspected.insert(id.clone(), None);
        Inspecting { lives: self, id }
    }

    /// Notes what the event stream brings.
    pub(crate) fn saw(&self, event: &EngineEvent) {
        let known = &mut *self.locked();
        if let Some(at) = event.at()
            && known.newest.is_none_or(|newest| newest.at <= at)
        {
            known.newest = Some(Newest { connection: known.connections, at });
        }
        if let EngineEvent::Exited { id, at, .. } = event {
            if let Some(ended) = known.inspected.get_mut(id) {
                *ended = (*ended).max(*at);
            }
            if known.lives.get(id).is_some_and(|life| at.is_none_or(|at| at > life.began)) {
                known.lives.remove(id);
            }
        }
    }

    /// Forgets what a list that was made at that time should name and does not.
    pub(crate) fn compare(&self, entries: &[ListingEntry], now: Option<SystemTime>) {
        let Some(before) = now.and_then(|now| now.checked_sub(SLACK)) else { return };
        let listed: HashSet<_> = entries.iter().map(|entry| entry.container().id()).collect();
        self.locked().lives.retain(|id, life| life.began >= before || listed.contains(id));
    }
}

/// An inspection that is under way, until it is dropped.
pub(crate) struct Inspecting<'a> {
    lives: &'a Lives,
    id: &'a ContainerId,
}

impl Inspecting<'_> {
    /// Notes what the inspection says. A life whose end was reported meanwhile is over.
    pub(crate) fn answered(self, container: Option<&Container>) {
        let known = &mut *self.lives.locked();
        let ended = known.inspected.get(self.id).copied().flatten();
        let alive = container.and_then(|container| Some((container.pid(), container.started_at()?)));
        match alive.filter(|(_, began)| ended.is_none_or(|ended| ended <= *began)) {
            Some((pid, began)) => {
                known.lives.insert(self.id.clone(), Life { pid, began, connection: known.connections });
            }
            None => _ = known.lives.remove(self.id),
        }
    }
}

impl Drop for Inspecting<'_> {
    fn drop(&mut self) {
        self.lives.locked().inspected.remove(self.id);
    }
}

/// Has the event stream report how lives ended that were known before this connection, given its first list. `left` is how much time is left
/// for that list.
pub(crate) async fn report_ended(connection: &Connection, entries: &[ListingEntry], left: Duration) {
    let (lives, newest) = {
        let known = connection.lives().locked();
        (known.lives.clone(), known.newest)
    };
    if lives.is_empty() {
        return;
    }
    let (mut missing, mut over): (HashMap<_, _>, HashMap<_, _>) = (lives, HashMap::new());
    for entry in entries {
        let id = entry.container().id();
        if let Some(life) = missing.remove(id)
            && matches!(entry, ListingEntry::Partial { started_within: Some(within), .. }
                if life.began < *within.start())
        {
            over.insert(id.clone(), life);
        }
    }
    let gone = missing.clone();
    let asking = async {
        let mut inspections = stream::iter(missing)
            .map(async |(id, life)| (connection.inspect_end(&id, life).await, id, life))
            .buffer_unordered(connection.inspections());
        while let Some((end, id, life)) = inspections.next().await {
            match end {
                Ok(Some(end)) => report(connection, id, life, end),
                Ok(None) => _ = over.insert(id, life),
                Err(error) => tracing::debug!(%id, %error, "cannot ask how it ended"),
            }
        }
        if !over.is_empty()
            && let Err(error) = report_remembered(connection, over, newest).await
        {
            tracing::debug!(%error, "cannot ask for events of ends");
        }
    };
    if timeout(left / PART, asking).await.is_err() {
        tracing::debug!("no answer in time to how containers ended");
    }
    let known = &mut *connection.lives().locked();
    known.lives.retain(|id, life| gone.get(id) != Some(life));
}

fn report(connection: &Connection, id: ContainerId, life: Life, end: End) {
    connection.report(EngineEvent::Exited { id, pid: Some(life.pid), at: Some(end.at), code: end.code });
}

/// The same for those of these lives whose ends the engine remembers.
async fn report_remembered(
    connection: &Connection,
    lives: HashMap<ContainerId, Life>,
    newest: Option<Newest>,
) -> Result<(), EngineError> {
    let Some(now) = connection.clock().now() else { return Ok(()) };
    // If it is dated after now, the clock was set back since.
    let newest = newest.filter(|newest| Timestamp::try_from(newest.at).is_ok_and(|at| at <= now));
    // podman remembers everything.
    let since = match newest {
        newest if connection.is_podman() => newest.and_then(|newest| Timestamp::try_from(newest.at).ok()),
        _ => Some(Timestamp::UNIX_EPOCH),
    };
    let Some(since) = since else { return Ok(()) };
    let mut remembered = Remembered::new(lives, newest);
    events::replay(connection, since, now, |event| remembered.take(&event)).await?;
    for (id, life, end) in remembered.ends() {
        report(connection, id, life, end);
    }
    Ok(())
}

/// What the engine's events say of lives.
struct Remembered {
    lives: HashMap<ContainerId, (Life, Trace)>,
    newest: Option<Newest>,
    /// The time of the first event that is remembered.
    first: Option<SystemTime>,
    /// The latest time of an event since the clock was set back.
    latest: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug)]
enum Trace {
    Alive {
        has_begun: bool,
    },
    Ended(End),
    /// The clock was set back, so which life an end is of is not certain before its own start.
    SetBack,
    /// Another life began, and nothing said that this one was over.
    Unknown,
}

impl Remembered {
    fn new(lives: HashMap<ContainerId, Life>, newest: Option<Newest>) -> Self {
        let alive = |life| (life, Trace::Alive { has_begun: false });
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
        let (EngineEvent::Started { id, at, .. } | EngineEvent::Exited { id, at, .. }) = event else {
            return;
        };
        let Some((life, trace)) = self.lives.get_mut(id) else { return };
        let (is_certain, has_begun) = match *trace {
            Trace::Alive { has_begun } => (true, has_begun),
            Trace::SetBack => (false, false),
            Trace::Ended(_) | Trace::Unknown => return,
        };
        let at = match *at {
            Some(at) if at <= life.began => return,
            at => at,
        };
        *trace = match (event, at) {
            (EngineEvent::Exited { code, .. }, Some(at)) if is_certain => {
                Trace::Ended(End { at, code: *code })
            }
            // Its own start is reported a moment after it.
            (EngineEvent::Started { .. }, Some(at))
                if !has_begun && life.began.checked_add(SLACK).is_some_and(|latest| at <= latest) =>
            {
                Trace::Alive { has_begun: true }
            }
            _ if !is_certain => Trace::SetBack,
            _ => Trace::Unknown,
        };
    }

    /// The ends of those since whose start, or since the newest event before it was seen, no event is missing.
    fn ends(self) -> impl Iterator<Item = (ContainerId, Life, End)> {
        let Self { lives, newest, first, .. } = self;
        lives.into_iter().filter_map(move |(id, (life, trace))| {
            let Trace::Ended(end) = trace else { return None };
            // What a later connection brought says nothing of what was missed before it.
            let newest = newest.filter(|newest| newest.connection <= life.connection);
            let seen = newest.map_or(life.began, |newest| newest.at.max(life.began));
            (first? <= seen).then_some((id, life, end))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn started(id: &str, second: u64) -> EngineEvent {
        EngineEvent::Started { id: id.into(), at: Some(at(second)), pid: None, preview: None }
    }

    fn exited(id: &str, second: u64) -> EngineEvent {
        EngineEvent::Exited { id: id.into(), pid: None, at: Some(at(second)), code: Some(7) }
    }

    /// By these events, of a life that began at 100 and was seen last on this connection.
    fn end_of_life(connection: u64, events: &[EngineEvent]) -> Option<End> {
        let lives = HashMap::from([("a".into(), Life { pid: 1, began: at(100), connection })]);
        let mut remembered = Remembered::new(lives, Some(Newest { connection: 1, at: at(200) }));
        events.iter().for_each(|event| remembered.take(event));
        remembered.ends().next().map(|(_, _, end)| end)
    }

    #[test]
    fn an_end_is_believed_only_if_no_event_is_missing() {
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
            let expected = end.map(|second| End { at: at(second), code: Some(7) });
            assert_eq!(end_of_life(1, &events), expected, "{what}");
        }
        // It was not confirmed on the connection on which the newest event came.
        assert_eq!(end_of_life(0, &[started("b", 200), exited("a", 300)]), None);
        assert!(end_of_life(0, &[started("b", 100), exited("a", 300)]).is_some());
    }

    #[test]
    fn a_life_is_known_until_its_own_end() {
        let (lives, now) = (Lives::default(), Some(at(200)));
        let alive = |id: &str, second| Container::new(id, id, 1).with_started_at(Some(at(second)));
        let inspected =
            |id: &str, container: Option<&Container>| lives.inspect(&id.into()).answered(container);
        let known = || {
            let mut ids: Vec<_> = lives.locked().lives.keys().map(ToString::to_string).collect();
            ids.sort();
            ids.join(" ")
        };
        lives.connected("engine");
        for (id, second) in [("a", 100), ("b", 100), ("c", 100), ("new", 199)] {
            inspected(id, Some(&alive(id, second)));
        }
        inspected("unknown-start", Some(&Container::new("unknown-start", "", 1)));
        lives.saw(&exited("a", 100));
        assert_eq!(known(), "a b c new");
        lives.saw(&exited("a", 101));
        inspected("b", None);
        let newest = Newest { connection: 1, at: at(101) };
        assert_eq!((known(), lives.locked().newest), ("c new".to_owned(), Some(newest)));
        lives.compare(&[], None);
        assert_eq!(known(), "c new");
        lives.compare(&[], now);
        assert_eq!(known(), "new", "the list may be older than that");
        let id = "new".into();
        for (end, expected) in [(198, "new"), (199, "new"), (200, "")] {
            let inspecting = lives.inspect(&id);
            lives.saw(&exited("new", end));
            inspecting.answered(Some(&alive("new", 199)));
            assert_eq!(known(), expected, "an end at {end} came before the answer");
        }
        drop(lives.inspect(&id));
        assert!(lives.locked().inspected.is_empty());
        inspected("new", Some(&alive("new", 199)));
        lives.connected("another");
        assert_eq!((known(), lives.locked().newest), (String::new(), None));
    }
}
