//! The events of the fleet as all clients receive them: rendered once, numbered, and the newest of them kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use whalewatcher_core::Container;
use whalewatcher_core::fleet::{FleetEvent, FleetMember, FleetPortfolio};

use super::form::Form;
use super::ids::Ids;
use super::pieces::{Piece, Pieces};
use crate::changes::Changes;
use crate::render::json;

/// The most events, and bytes of them, that a client may be behind before it receives the difference. The
/// newest event is kept, however large it is.
pub(super) const MAX_EVENTS: usize = 4_096;
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The most events that a client is sent at once, and about the most bytes of them, unless one is larger.
pub(super) const BATCH: usize = 256;
pub(super) const PIECE: usize = 64 * 1024;

/// About half as many clients as are woken and written to in this time.
const CLIENTS_PER_MILLISECOND: usize = 50;

/// What all clients read from. Clones are the same.
#[derive(Clone)]
pub(super) struct Feed(Arc<Shared>);

struct Shared {
    /// Differs between two runs of the program, so that numbers of another run are recognized.
    epoch: String,
    kept: Mutex<Kept>,
    /// The number of the next event; closed with the fleet.
    next: watch::Sender<u64>,
}

struct Kept {
    /// After all events before the next one.
    now: FleetPortfolio,
    /// Those in it.
    ids: Ids,
    next: u64,
    events: VecDeque<Arc<Entry>>,
    bytes: usize,
    pieces: Pieces,
}

/// An event, and the line that reports it.
pub(super) struct Entry {
    pub(super) number: u64,
    /// When it was recorded, which is after it happened.
    pub(super) recorded: SystemTime,
    pub(super) change: FleetEvent,
    /// JSON, without an end of line.
    pub(super) line: Bytes,
}

/// The events that a client has not received.
pub(super) enum Unread {
    Some(Vec<Arc<Entry>>),
    /// All of them, and what is alive after them.
    All(Vec<Arc<Entry>>, FleetPortfolio),
    /// Some are not kept any more.
    TooOld,
}

/// A position in the events of a run: before the event with that number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    epoch: String,
    next: u64,
}

impl Feed {
    /// Creates a feed that begins with this snapshot. Events are read by [`record`](Self::record).
    pub(super) fn new(now: FleetPortfolio) -> Self {
        let epoch = format!("{:016x}", fastrand::u64(..));
        let ids = Ids::of(&now);
        let (events, pieces) = (VecDeque::new(), Pieces::default());
        let kept = Kept { now, ids, next: 1, events, bytes: 0, pieces };
        Self(Arc::new(Shared { epoch, kept: Mutex::new(kept), next: watch::Sender::new(1) }))
    }

    /// Reads all changes, until the fleet is closed.
    pub(super) async fn record(&self, mut changes: Changes) {
        let (mut has_news, mut may_wake) = (false, Instant::now());
        loop {
            tokio::select! {
                change = changes.next() => {
                    let Some(change) = change else { break };
                    let mut line = Vec::new();
                    // Writing to memory does not fail.
                    let _ = json::write_event(&mut line, &*change.watcher, &change.event);
                    line.pop();
                    self.push(change, line.into());
                    has_news = true;
                }
                () = sleep_until(may_wake), if has_news => {
                    self.wake();
                    has_news = false;
                    may_wake = Instant::now() + self.rest();
                }
            }
        }
        self.wake();
    }

    /// Wakes the clients, each of which then reads all that is new.
    fn wake(&self) {
        let next = self.kept().next;
        self.0.next.send_replace(next);
    }

    /// Returns for how long clients are not woken again. The more of them there are, the longer it takes to
    /// serve them all, and the more each is to be served at once.
    fn rest(&self) -> Duration {
        Duration::from_millis((self.0.next.receiver_count() / CLIENTS_PER_MILLISECOND) as u64)
    }

    /// Keeps an event. Clients that wait for one are not woken.
    pub(super) fn push(&self, change: FleetEvent, line: Bytes) {
        let mut guard = self.kept();
        let kept = &mut *guard;
        kept.now.apply(&change);
        kept.ids.handle(&change, &kept.now);
        kept.bytes += line.len();
        let number = kept.next;
        kept.next += 1;
        kept.events.push_back(Arc::new(Entry { number, recorded: SystemTime::now(), change, line }));
        let mut spent = Vec::new();
        while kept.events.len() > 1 && (kept.events.len() > MAX_EVENTS || kept.bytes > MAX_BYTES) {
            if let Some(oldest) = kept.events.pop_front() {
                kept.bytes -= oldest.line.len();
                spent.push(oldest);
            }
        }
    }

    /// Returns what is alive, and the position of the events after that.
    pub(super) fn now(&self) -> (FleetPortfolio, Position) {
        let kept = self.kept();
        (kept.now.clone(), self.position(kept.next))
    }

    /// Returns all containers that may be known by one of these texts: by their names, IDs, or, if these are
    /// so many, first characters of IDs. It looks at no others.
    pub(super) fn known_by<'a>(
        &self,
        texts: impl Iterator<Item = &'a str>,
        least: usize,
    ) -> (Vec<(FleetMember, Arc<Container>)>, Position) {
        let (kept, mut found) = (self.kept(), Vec::new());
        let now = &kept.now;
        for text in texts {
            found.extend(now.by_name(text).chain(now.by_id(text)).chain(now.by_unscoped_id(text)));
            // Many IDs begin with a shorter one.
            if text.len() >= least {
                let ids = kept.ids.beginning_with(text);
                ids.for_each(|id| found.extend(now.by_id(id).chain(now.by_unscoped_id(id))));
            }
        }
        // As in the portfolio, and each once.
        found.sort_by_cached_key(|(member, one)| {
            (member.key().clone(), one.project().to_owned(), one.name().to_owned(), one.id().clone())
        });
        found.dedup_by_key(|(member, one)| (member.key().clone(), one.id().clone()));
        let found = found.into_iter().map(|(member, one)| (member.clone(), one.clone())).collect();
        (found, self.position(kept.next))
    }

    /// Returns events after a position of this feed: up to so many, and up to so many bytes, but at least one
    /// if there is one.
    pub(super) fn after(&self, next: u64, most: usize, most_bytes: usize) -> Unread {
        let kept = self.kept();
        let Some(Ok(skipped)) = next.checked_sub(kept.oldest()).map(usize::try_from) else {
            return Unread::TooOld;
        };
        let mut bytes = 0;
        let fits = |entry: &&Arc<Entry>| {
            let before = bytes;
            bytes += entry.line.len();
            before < most_bytes
        };
        let events: Vec<_> = kept.events.iter().skip(skipped).take(most).take_while(fits).cloned().collect();
        match kept.events.len() == skipped + events.len() {
            true => Unread::All(events, kept.now.clone()),
            false => Unread::Some(events),
        }
    }

    /// Returns events after a position as a piece of a body, the number of the next one, and what is alive by
    /// then. That is known if the piece goes up to now, or if `seen`, what was alive before it, is given.
    /// `None` if there are no events, or the first ones are lost. Clients at the same position share the piece.
    pub(super) fn piece_after(
        &self,
        next: u64,
        form: Form,
        seen: Option<&FleetPortfolio>,
    ) -> Option<(Bytes, u64, Option<FleetPortfolio>)> {
        let mut kept = self.kept();
        let skipped = usize::try_from(next.checked_sub(kept.oldest())?).ok()?;
        let mut piece = match kept.pieces.take(form, next) {
            Some(piece) => piece,
            None => self.write(&kept, skipped, form)?,
        };
        if let (None, Some(seen)) = (&piece.now, seen) {
            let mut now = seen.clone();
            let all = kept.events.iter().skip(skipped).take_while(|entry| entry.number < piece.next);
            all.for_each(|entry| now.apply(&entry.change));
            piece.now = Some(now);
        }
        let found = (piece.bytes.clone(), piece.next, piece.now.clone());
        kept.pieces.put(piece);
        Some(found)
    }

    /// Writes a piece of the events after so many.
    fn write(&self, kept: &Kept, skipped: usize, form: Form) -> Option<Piece> {
        let from = kept.events.get(skipped)?.number;
        let (mut bytes, mut next) = (Vec::new(), from);
        for entry in kept.events.iter().skip(skipped).take(BATCH) {
            if bytes.len() >= PIECE {
                break;
            }
            next = entry.number + 1;
            form.write(&mut bytes, &self.position(next), entry.change.event.kind.name(), &entry.line);
        }
        let now = (next == kept.next).then(|| kept.now.clone());
        Some(Piece { form, from, next, bytes: bytes.into(), now })
    }

    /// Returns the number of the oldest event that is kept, or of the next one.
    pub(super) fn oldest(&self) -> u64 {
        self.kept().oldest()
    }

    /// Returns the number of the first event that is kept with exactly this time.
    pub(super) fn dated(&self, time: SystemTime) -> Option<u64> {
        self.kept().events.iter().find(|entry| entry.change.event.time == time).map(|entry| entry.number)
    }

    /// Returns the position that a client names, if the events after it are kept.
    pub(super) fn known(&self, text: &str) -> Option<u64> {
        let (epoch, last) = text.rsplit_once('-')?;
        let next = last.parse::<u64>().ok()?.checked_add(1)?;
        let kept = self.kept();
        (epoch == self.0.epoch && (kept.oldest()..=kept.next).contains(&next)).then_some(next)
    }

    /// Returns a receiver of the number of the next event.
    pub(super) fn follow(&self) -> watch::Receiver<u64> {
        self.0.next.subscribe()
    }

    pub(super) fn position(&self, next: u64) -> Position {
        Position { epoch: self.0.epoch.clone(), next }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Position {
    pub(super) fn next(&self) -> u64 {
        self.next
    }
}

impl Kept {
    /// Returns the number of the oldest event, or of the next one if there is none.
    fn oldest(&self) -> u64 {
        self.events.front().map_or(self.next, |entry| entry.number)
    }
}

/// The run, and the number of the last event before the position.
impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.epoch, self.next - 1)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::SystemTime;

    use whalewatcher_core::history::HistorySettings;
    use whalewatcher_core::{EngineWatcher, Event, EventKind, Fleet};
    use whalewatcher_testkit::scripted::Engine;

    use super::*;
    use crate::args::FilterArgs;
    use crate::selection::{LEAST_ID, Selection};

    /// A feed, and an event of an engine.
    pub(in super::super) fn feed() -> (Feed, FleetEvent) {
        let fleet = Fleet::new();
        let (now, mut changes) = fleet.subscribe();
        fleet.add(EngineWatcher::new(Engine::new())).unwrap();
        let joined = futures_util::FutureExt::now_or_never(changes.next()).flatten().unwrap();
        (Feed::new(now), joined)
    }

    #[tokio::test]
    async fn positions_of_other_runs_and_lost_events_are_not_known() {
        let (feed, joined) = feed();
        let begin = feed.now().1.to_string();
        assert_eq!(feed.known(&begin), Some(1));
        feed.push(joined.clone(), Bytes::from_static(b"{}"));
        assert_eq!((feed.known(&begin), feed.known(&feed.now().1.to_string())), (Some(1), Some(2)));
        for unknown in ["", "1", "-1", "x-1", &begin.replace("-0", "-9"), &begin.replace("-0", "-x")] {
            assert_eq!(feed.known(unknown), None, "{unknown}");
        }
        assert_eq!(Feed::new(FleetPortfolio::default()).known(&begin), None);
        for _ in 0..MAX_EVENTS {
            feed.push(joined.clone(), Bytes::from_static(b"{}"));
        }
        assert_eq!(feed.known(&begin), None);
        assert!(matches!(feed.after(1, 1, 1), Unread::TooOld));
        let Unread::All(all, now) = feed.after(2, usize::MAX, usize::MAX) else {
            panic!("the newest are kept")
        };
        assert_eq!((all.len(), all[0].number), (MAX_EVENTS, 2));
        assert_eq!(now, feed.now().0);
        assert!(matches!(feed.after(2, 3, usize::MAX), Unread::Some(some) if some.len() == 3));
        assert!(matches!(feed.after(2, usize::MAX, 3), Unread::Some(some) if some.len() == 2));
    }

    #[tokio::test]
    async fn large_events_take_bounded_memory_and_the_newest_is_kept() {
        let (feed, joined) = feed();
        let large = Bytes::from(vec![b'x'; MAX_BYTES]);
        for _ in 0..3 {
            feed.push(joined.clone(), large.clone());
        }
        let (events, bytes) = {
            let kept = feed.kept();
            (kept.events.len(), kept.bytes)
        };
        assert_eq!((events, bytes), (1, MAX_BYTES));
        assert!(matches!(feed.after(3, 9, 1), Unread::All(events, _) if events.len() == 1));
    }

    #[tokio::test]
    async fn what_is_found_by_name_is_what_a_look_at_all_finds() {
        let (feed, joined) = feed();
        let push = |kind| {
            feed.push(joined.with_event(Event::new(SystemTime::now(), kind)), Bytes::new());
        };
        let container = |id: &str, name: &str| Arc::new(Container::new(id, name, 7));
        let hash = |begin: &str| format!("{begin:0<64}");
        let check = || {
            for name in [
                "web",
                "db",
                "",
                "c0f",
                "c0ff",
                "c0ffee",
                "k8s.io/abcdefghijkl",
                "abcdefghijkl",
                "abcdefghijk",
                "odd",
                &hash("c0ffee"),
            ] {
                let selection = Selection::read(&[name.to_owned()], &FilterArgs::default()).unwrap();
                let now = feed.now().0;
                let all =
                    now.containers().filter(|(member, one)| selection.matches(&**member.watcher(), one));
                let all: Vec<_> = all.map(|(_, one)| one.clone()).collect();
                let (mut found, _) = feed.known_by(selection.plain_names().unwrap(), LEAST_ID);
                found.retain(|(member, one)| selection.matches(&**member.watcher(), one));
                assert_eq!(found.into_iter().map(|(_, one)| one).collect::<Vec<_>>(), all, "{name:?}");
            }
        };
        push(EventKind::Joined);
        let all = [
            (hash("c0ffee"), "web"),
            (hash("c0ff"), "db"),
            (hash("0c"), "c0ff"),
            ("odd".into(), "web"),
            ("k8s.io/abcdefghijklm".into(), "x"),
            ("moby/abcdefghijklm".into(), "y"),
            ("abcdefghijklm".into(), "abcdefghijkl"),
        ];
        let all = all.map(|(id, name)| container(&id, name));
        for one in &all {
            push(EventKind::Started(one.clone()));
            check();
        }
        push(EventKind::Updated { container: container(all[0].id(), "db"), was: all[0].clone() });
        check();
        for one in all {
            push(EventKind::Exited { container: one, code: None });
            check();
        }
        assert_eq!(feed.kept().ids.beginning_with("").count(), 0);
        push(EventKind::Started(container("a", "a")));
        push(EventKind::Left);
        assert_eq!(feed.kept().ids.beginning_with("").count(), 0);
    }

    #[tokio::test]
    async fn clients_share_what_they_are_sent_however_far_behind_they_are() {
        let (feed, joined) = feed();
        let piece_after = |next, form| feed.piece_after(next, form, None);
        assert!(piece_after(1, Form::Sse).is_none());
        feed.push(joined.clone(), Bytes::from_static(b"{}"));
        let (id, first) = (feed.now().1, feed.now().0);
        let [(one, next, now), (other, ..)] = [(); 2].map(|()| piece_after(1, Form::Sse).unwrap());
        assert_eq!((one.as_ptr(), next), (other.as_ptr(), 2));
        assert_eq!(
            (now.as_ref(), &*one),
            (Some(&first), format!("id: {id}\nevent: joined\ndata: {{}}\n\n").as_bytes())
        );
        assert_eq!(&*piece_after(1, Form::Lines).unwrap().0, b"{}\n");
        let started = EventKind::Started(Arc::new(Container::new("1", "web", 7)));
        feed.push(joined.with_event(Event::new(SystemTime::now(), started)), Bytes::from(vec![b' '; PIECE]));
        let second = feed.now().0;
        feed.push(joined.clone(), Bytes::from_static(b"{}"));
        // What another one was sent is as good as more.
        let (piece, next, now) = piece_after(1, Form::Sse).unwrap();
        assert_eq!((piece.as_ptr(), next, now), (one.as_ptr(), 2, Some(first.clone())));
        // What is alive after a piece is found out once.
        let known = [None, Some(&first), None].map(|seen| feed.piece_after(2, Form::Sse, seen).unwrap());
        assert_eq!(
            known.map(|(_, next, now)| (next, now)),
            [(3, None), (3, Some(second.clone())), (3, Some(second))]
        );
        assert_eq!(piece_after(3, Form::Sse).unwrap().1, 4);
        for _ in 0..MAX_EVENTS {
            feed.push(joined.clone(), Bytes::from_static(b"{}"));
        }
        assert!(piece_after(1, Form::Sse).is_none(), "it is lost");
    }

    #[tokio::test(start_paused = true)]
    async fn the_more_clients_there_are_the_more_rarely_they_are_woken() {
        let fleet = Fleet::new();
        let (now, changes) = Changes::subscribe(&fleet, HistorySettings::default());
        let feed = Feed::new(now);
        let mut client = feed.follow();
        let others: Vec<_> = (1..1_010).map(|_| feed.follow()).collect();
        let following = async {
            let begin = Instant::now();
            let mut woken = async |joining: std::ops::Range<u8>| {
                for name in joining {
                    fleet.add(EngineWatcher::new(Engine::at(&name.to_string()))).unwrap();
                }
                client.changed().await.unwrap();
                assert_eq!(*client.borrow_and_update(), feed.now().1.next(), "it reads all that is new");
                begin.elapsed().as_millis()
            };
            assert_eq!(woken(0..1).await, 0);
            assert_eq!(woken(1..6).await, 20);
            drop(others);
            assert_eq!(woken(6..7).await, 40);
            assert_eq!(woken(7..8).await, 40);
        };
        tokio::select! {
            biased;
            () = following => {}
            () = feed.record(changes) => panic!("the fleet is not closed"),
        }
    }

    #[tokio::test]
    async fn the_snapshot_is_that_before_the_next_event() {
        let (feed, joined) = feed();
        feed.push(joined.clone(), Bytes::new());
        let started = EventKind::Started(Arc::new(Container::new("1", "web", 7)));
        feed.push(joined.with_event(Event::new(SystemTime::now(), started)), Bytes::new());
        let (now, position) = feed.now();
        assert_eq!((now.total(), position.next()), (1, 3));
    }
}
