//! How readers and subscribers get at the picture without ever holding up who paints it.
//!
//! The writer publishes batches: the portfolio as it is after the batch's events, and the events, which are numbered
//! through. A reader loads the newest portfolio from an atomic pointer. A subscriber has a place in a ring of batches;
//! it first takes its place and then loads the portfolio, so that whatever is not in the one comes by the other, and
//! drops by number what is in both. If the ring laps it, it compares the portfolio that it saw last with the newest:
//! the difference is what it missed.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::difference::difference;
use crate::event::{Event, EventKind};
use crate::portfolio::Portfolio;
use crate::status::Status;

/// A batch of events, and what the picture is with them.
#[derive(Clone)]
struct Batch {
    /// How many events were ever published, with these.
    upto: u64,
    after: Portfolio,
    events: Arc<[Event]>,
    /// The newest event, of all that were ever published, that is about the watch and not about a container, and its
    /// number: no difference of portfolios shows it.
    about_watch: Option<(u64, Event)>,
}

/// Where one writer publishes and any number of readers and subscribers look.
pub(crate) struct Publication {
    newest: ArcSwap<Batch>,
    /// Gone when the publication has ended.
    ring: Mutex<Option<broadcast::Sender<Batch>>>,
    /// How many times a subscriber lagged.
    lagged: AtomicU64,
}

impl Publication {
    /// An empty picture; `capacity` is how many batches a subscriber may lie behind.
    pub(crate) fn new(capacity: usize) -> Self {
        let nothing = Batch { upto: 0, after: Portfolio::default(), events: Arc::new([]), about_watch: None };
        Self {
            newest: ArcSwap::from_pointee(nothing),
            ring: Mutex::new(Some(broadcast::Sender::new(capacity.max(1)))),
            lagged: AtomicU64::new(0),
        }
    }

    /// The status with what only subscribers know.
    pub(crate) fn complete(&self, mut status: Status) -> Status {
        status.counters.lagged = self.lagged.load(Ordering::Relaxed);
        status
    }

    /// The newest picture; waits for nobody.
    pub(crate) fn portfolio(&self) -> Portfolio {
        self.newest.load().after.clone()
    }

    /// Publishes events and the picture after them: first readers see the picture, then `in_between` runs, then
    /// subscribers are told. Not to be called concurrently.
    pub(crate) fn publish(&self, after: &Portfolio, events: Vec<Event>, in_between: impl FnOnce()) {
        if events.is_empty() {
            return in_between();
        }
        let before = self.newest.load();
        let numbered = (before.upto + 1..).zip(&events);
        let about_watch = numbered.filter(|(_, event)| event.container().is_none()).last();
        let batch = Batch {
            upto: before.upto + events.len() as u64,
            about_watch: about_watch
                .map(|(number, event)| (number, event.clone()))
                .or_else(|| before.about_watch.clone()),
            after: after.clone(),
            events: events.into(),
        };
        // In this order, for subscribers join in the opposite one.
        self.newest.store(Arc::new(batch.clone()));
        in_between();
        if let Some(ring) = &*self.ring.lock().unwrap_or_else(PoisonError::into_inner) {
            // Fails if there is no subscriber, which is fine.
            let _ = ring.send(batch);
        }
    }

    /// Ends all subscriptions once they have read what was published so far.
    pub(crate) fn end(&self) {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The picture, and all that happens from exactly there on.
    pub(crate) fn subscribe(self: &Arc<Self>) -> (Portfolio, Subscription) {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = ring.as_ref().map(broadcast::Sender::subscribe);
        drop(ring);
        let seen = self.newest.load_full();
        let now = seen.after.clone();
        let Some(receiver) = receiver else {
            return (now, Subscription { events: futures_util::stream::empty().boxed() });
        };
        let follower = Follower {
            publication: self.clone(),
            receiver,
            upto: seen.upto,
            seen: now.clone(),
            queue: VecDeque::new(),
        };
        let events = unfold(follower, |mut follower| async move {
            let event = follower.next().await?;
            Some((event, follower))
        });
        (now, Subscription { events: events.boxed() })
    }
}

/// The changes from the moment of subscribing on: a [`Stream`] of [`Event`]s that ends when the watcher is closed.
///
/// The snapshot that came with it, and each event applied in turn, are the watcher's portfolio. Who reads too slowly
/// is neither waited for nor cut off: it gets [`EventKind::Lagged`] and then the difference between what it last saw
/// and now, and after it the newest [`EventKind::Synced`] or [`EventKind::Disconnected`] if it missed that. A
/// subscription that is not read costs no memory but that of the last picture it saw.
pub struct Subscription {
    events: BoxStream<'static, Event>,
}

impl Subscription {
    /// The next event; `None` after the watcher was closed. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.next().await
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_next_unpin(context)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

/// A subscription's place in the stream of batches.
struct Follower {
    publication: Arc<Publication>,
    receiver: broadcast::Receiver<Batch>,
    /// The number of the last event that `seen` contains.
    upto: u64,
    /// The picture with everything that is handed out or queued.
    seen: Portfolio,
    queue: VecDeque<Event>,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            match self.receiver.recv().await {
                // Also seen when joining, or when catching up.
                Ok(batch) if batch.upto <= self.upto => {}
                Ok(batch) => {
                    self.queue.extend(batch.events.iter().cloned());
                    (self.upto, self.seen) = (batch.upto, batch.after);
                }
                Err(RecvError::Lagged(_)) => self.catch_up(),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn catch_up(&mut self) {
        self.publication.lagged.fetch_add(1, Ordering::Relaxed);
        self.receiver = self.receiver.resubscribe();
        let newest = self.publication.newest.load_full();
        let now = SystemTime::now();
        let missed = newest.upto - self.upto;
        self.queue.push_back(Event::new(now, EventKind::Lagged { missed }));
        self.queue
            .extend(difference(&self.seen, &newest.after).into_iter().map(|kind| Event::new(now, kind)));
        let about_watch = newest.about_watch.as_ref().filter(|(number, _)| *number > self.upto);
        self.queue.extend(about_watch.map(|(_, event)| match event.kind {
            // It still holds, but of what was just told.
            EventKind::Synced { unresolved, .. } => {
                let containers = newest.after.total();
                Event::new(event.time, EventKind::Synced { containers, unresolved })
            }
            _ => event.clone(),
        }));
        (self.upto, self.seen) = (newest.upto, newest.after.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::task::{Wake, Waker};
    use std::thread;

    use futures_util::FutureExt;

    use super::*;
    use crate::container::Container;

    /// Publishes that the one container has this number for a name now.
    fn publish(publication: &Publication, number: u32, in_between: impl FnOnce()) {
        let container = Arc::new(Container::new("a", number.to_string(), 1));
        let after = Portfolio::from_iter([Container::clone(&container)]);
        let event = Event::new(SystemTime::UNIX_EPOCH, EventKind::Updated(container));
        publication.publish(&after, vec![event], in_between);
    }

    /// The number that a picture shows, 0 if it is empty.
    fn number(portfolio: &Portfolio) -> u32 {
        portfolio.by_id("a").map_or(0, |container| container.name().parse().expect("a number"))
    }

    /// The number that an event told.
    fn told(event: &Event) -> u32 {
        event.container().expect("about a container").name().parse().expect("a number")
    }

    /// Looks at the picture whenever it is woken.
    struct Looking {
        publication: Arc<Publication>,
        seen: Mutex<Vec<u32>>,
    }

    impl Wake for Looking {
        fn wake(self: Arc<Self>) {
            self.seen.lock().unwrap().push(number(&self.publication.portfolio()));
        }
    }

    #[test]
    fn whoever_is_woken_by_an_event_finds_the_picture_that_it_led_to() {
        let publication = Arc::new(Publication::new(8));
        let (_, mut changes) = publication.subscribe();
        let looking = Arc::new(Looking { publication: publication.clone(), seen: Mutex::default() });
        let waker = Waker::from(looking.clone());
        assert!(changes.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
        publish(&publication, 1, || {
            assert_eq!(number(&publication.portfolio()), 1, "readers see it first");
            assert!(looking.seen.lock().unwrap().is_empty(), "and subscribers hear of it last");
        });
        assert_eq!(*looking.seen.lock().unwrap(), [1]);
    }

    #[test]
    fn what_is_in_the_snapshot_does_not_come_again() {
        let publication = Arc::new(Publication::new(8));
        let mut joined = None;
        publish(&publication, 1, || joined = Some(publication.subscribe()));
        let (now, mut changes) = joined.expect("called in between");
        assert_eq!(number(&now), 1);
        assert!(changes.next().now_or_never().is_none());
        publish(&publication, 2, || {});
        assert_eq!(changes.next().now_or_never().flatten().as_ref().map(told), Some(2));
    }

    /// Publishes that the picture is synced.
    fn sync(publication: &Publication) {
        let event = Event::new(SystemTime::UNIX_EPOCH, EventKind::Synced { containers: 1, unresolved: 0 });
        publication.publish(&publication.portfolio(), vec![event], || {});
    }

    /// All that a subscriber can read now, in short.
    fn unread(changes: &mut Subscription) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = changes.next().now_or_never() {
            let event = event.expect("no end");
            events.push(match &event.kind {
                EventKind::Lagged { missed } => format!("lagged {missed}"),
                EventKind::Synced { .. } => "synced".to_owned(),
                _ => told(&event).to_string(),
            });
        }
        events
    }

    #[test]
    fn who_lags_is_told_how_much_it_missed_and_what_it_does_not_know_yet() {
        let publication = Arc::new(Publication::new(1));
        let lagged = || publication.complete(Status::new(crate::Phase::Idle)).counters.lagged;
        publish(&publication, 1, || {});
        let (_, mut changes) = publication.subscribe();
        sync(&publication);
        publish(&publication, 2, || {});
        publish(&publication, 3, || {});
        assert_eq!(unread(&mut changes), ["lagged 3", "3", "synced"]);
        publish(&publication, 4, || {});
        publish(&publication, 5, || {});
        assert_eq!(unread(&mut changes), ["lagged 2", "5"], "what it was told before is no news");
        sync(&publication);
        assert_eq!(unread(&mut changes), ["synced"]);
        publish(&publication, 6, || {});
        publish(&publication, 7, || {});
        assert_eq!(unread(&mut changes), ["lagged 2", "7"], "nor is the last that it was told");
        assert_eq!(lagged(), 3);
    }

    #[test]
    fn what_was_published_is_read_to_its_end() {
        let publication = Arc::new(Publication::new(8));
        let (_, mut changes) = publication.subscribe();
        assert_eq!(format!("{changes:?}"), "Subscription { .. }");
        publish(&publication, 1, || {});
        publication.end();
        assert_eq!(changes.next().now_or_never().flatten().as_ref().map(told), Some(1));
        assert!(matches!(changes.next().now_or_never(), Some(None)));
        let (now, mut after) = publication.subscribe();
        assert_eq!(number(&now), 1);
        assert!(matches!(after.next().now_or_never(), Some(None)));
    }

    #[test]
    fn snapshot_and_events_join_while_another_thread_publishes() {
        let publication = Arc::new(Publication::new(1024));
        let enough = Arc::new(AtomicBool::new(false));
        let publisher = thread::spawn({
            let (publication, enough) = (publication.clone(), enough.clone());
            move || {
                let numbers = (1..).take_while(|_| !enough.load(Ordering::Relaxed));
                numbers.for_each(|number| publish(&publication, number, || {}));
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for _ in 0..2000 {
            let (now, mut changes) = publication.subscribe();
            let next = runtime.block_on(changes.next()).expect("no end");
            if !matches!(next.kind, EventKind::Lagged { .. }) {
                assert_eq!(told(&next), number(&now) + 1);
            }
        }
        enough.store(true, Ordering::Relaxed);
        publisher.join().unwrap();
    }
}
