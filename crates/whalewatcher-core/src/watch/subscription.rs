//! The subscription to the events of a watcher.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::watched::Watched;
use crate::model::Event;
use crate::portfolio::Portfolio;
use crate::publication::{Publication, Reader};

/// All changes after a snapshot: a [`Stream`] of [`Event`]s that ends when the watcher is closed.
///
/// The snapshot that was returned with it, with each event [applied](Portfolio::apply) in turn, equals the
/// watcher's portfolio. A subscriber that reads too slowly does not block the watcher and stays subscribed:
/// it receives [`EventKind::Lagged`], then the difference between its last snapshot and now, and then the
/// newest [`EventKind::Synced`] or [`EventKind::Disconnected`] if it missed that.
///
/// An unread subscription holds its last snapshot and a bounded number of events: at most twice the larger of
/// [`Settings::with_subscriber_queue`] and the number of live containers. Further events are not kept for it.
///
/// When a watch ends and the watcher is not closed, the subscription continues: its last event is
/// [`EventKind::Disconnected`] with the reason, until the watcher is watched again.
///
/// [`EventKind::Disconnected`]: crate::EventKind::Disconnected
/// [`EventKind::Lagged`]: crate::EventKind::Lagged
/// [`EventKind::Synced`]: crate::EventKind::Synced
/// [`Settings::with_subscriber_queue`]: crate::Settings::with_subscriber_queue
pub struct Subscription(Reader<Watched>);

impl Subscription {
    /// Returns a snapshot, and a subscription to all changes after it.
    pub(crate) fn new(publication: &Arc<Publication<Watched>>) -> (Portfolio, Self) {
        let reader = Reader::new(publication);
        (reader.seen().portfolio.clone(), Self(reader))
    }

    /// Returns the next event; `None` after the watcher was closed. Cancel safe: dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.0.poll_next(context)).await
    }

    /// Returns all events and the portfolio after them, for a fleet; no events if the portfolio was replaced
    /// by an equal one. `None` after the end. Without a context, the task is not woken later.
    pub(crate) fn poll_all(
        &mut self,
        context: Option<&mut Context<'_>>,
    ) -> Poll<Option<(Vec<Event>, Portfolio)>> {
        let events = ready!(self.0.poll_all(context));
        Poll::Ready(events.map(|events| (events, self.0.seen().portfolio.clone())))
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_next(context)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Barrier, Mutex, Weak};
    use std::task::{Wake, Waker};
    use std::thread;
    use std::time::SystemTime;

    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::model::{Container, EventKind};

    /// Publishes that the one container has this number for a name now.
    fn publish(publication: &Publication<Watched>, number: u32, in_between: impl FnOnce()) {
        let container = Arc::new(Container::new("a", number.to_string(), 1));
        let after = Portfolio::from_iter([Container::clone(&container)]);
        let kind = EventKind::Updated { container: container.clone(), was: container };
        let event = Event::new(SystemTime::UNIX_EPOCH, kind);
        publication.publish(&after, vec![event], in_between);
    }

    /// Returns the number that a portfolio contains, 0 if it is empty.
    fn number(portfolio: &Portfolio) -> u32 {
        portfolio.by_id("a").map_or(0, |container| container.name().parse().expect("a number"))
    }

    /// Returns the number that an event contains.
    fn reported(event: &Event) -> u32 {
        event.container().expect("about a container").name().parse().expect("a number")
    }

    /// Reads the portfolio whenever it is woken.
    struct Looking {
        publication: Arc<Publication<Watched>>,
        seen: Mutex<Vec<u32>>,
    }

    impl Wake for Looking {
        fn wake(self: Arc<Self>) {
            self.seen.lock().unwrap().push(number(&self.publication.portfolio()));
        }
    }

    #[test]
    fn a_woken_subscriber_reads_the_portfolio_after_the_event() {
        let publication = Arc::new(Publication::new(8));
        let (_, mut changes) = Subscription::new(&publication);
        let looking = Arc::new(Looking { publication: publication.clone(), seen: Mutex::default() });
        let waker = Waker::from(looking.clone());
        assert!(changes.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
        publish(&publication, 1, || {
            assert_eq!(number(&publication.portfolio()), 1, "readers see it first");
            assert!(looking.seen.lock().unwrap().is_empty(), "subscribers are woken last");
        });
        assert_eq!(*looking.seen.lock().unwrap(), [1]);
    }

    #[test]
    fn events_in_the_snapshot_are_not_repeated() {
        let publication = Arc::new(Publication::new(8));
        let mut joined = None;
        publish(&publication, 1, || joined = Some(Subscription::new(&publication)));
        let (now, mut changes) = joined.expect("called in between");
        assert_eq!(number(&now), 1);
        assert!(changes.next().now_or_never().is_none());
        publish(&publication, 2, || {});
        assert_eq!(changes.next().now_or_never().flatten().as_ref().map(reported), Some(2));
    }

    /// Publishes `Synced`.
    fn sync(publication: &Publication<Watched>) {
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
                _ => reported(&event).to_string(),
            });
        }
        events
    }

    #[test]
    fn a_lagging_subscriber_receives_the_count_and_the_difference() {
        let publication = Arc::new(Publication::new(1));
        let lagged = || publication.lagged().total();
        publish(&publication, 1, || {});
        let (_, mut changes) = Subscription::new(&publication);
        sync(&publication);
        publish(&publication, 2, || {});
        publish(&publication, 3, || {});
        assert_eq!(unread(&mut changes), ["lagged 3", "3", "synced"]);
        (4..=6).for_each(|number| publish(&publication, number, || {}));
        assert_eq!(unread(&mut changes), ["lagged 3", "6"], "what it received before is no news");
        sync(&publication);
        assert_eq!(unread(&mut changes), ["synced"]);
        (7..=9).for_each(|number| publish(&publication, number, || {}));
        assert_eq!(unread(&mut changes), ["lagged 3", "9"], "not even the last that it received");
        assert_eq!(lagged(), 3);
    }

    #[test]
    fn subscribers_receive_what_readers_see_if_the_end_comes_in_between() {
        let publication = Arc::new(Publication::new(8));
        let (mut fold, mut changes) = Subscription::new(&publication);
        publish(&publication, 1, || publication.end().wake());
        publish(&publication, 2, || panic!("nothing is published after the end"));
        while let Some(event) = changes.next().now_or_never().expect("all is there") {
            fold.apply(&event.kind);
        }
        assert_eq!((number(&publication.portfolio()), fold), (1, publication.portfolio()));
    }

    #[test]
    fn the_fold_is_the_portfolio_when_another_thread_ends_it() {
        for _ in 0..500 {
            let publication = Arc::new(Publication::new(4));
            let (mut fold, mut changes) = Subscription::new(&publication);
            let begin = Barrier::new(2);
            thread::scope(|scope| {
                scope.spawn(|| {
                    begin.wait();
                    (1..20).for_each(|number| publish(&publication, number, || {}));
                });
                begin.wait();
                publication.end().wake();
            });
            while let Some(event) = changes.next().now_or_never().expect("all is there") {
                fold.apply(&event.kind);
            }
            assert_eq!(fold, publication.portfolio());
        }
    }

    /// Publishes so many events in batches of a hundred; what they are about.
    fn publish_many(publication: &Publication<Watched>, count: u32) -> Vec<Weak<Container>> {
        let mut all = Vec::new();
        for batch in 0..count / 100 {
            let containers: Vec<_> = (0..100)
                .map(|nth| Arc::new(Container::new("a", (100 * batch + nth).to_string(), 1)))
                .collect();
            let after = Portfolio::from_iter(containers.last().map(|last| Container::clone(last)));
            all.extend(containers.iter().map(Arc::downgrade));
            let events = containers
                .into_iter()
                .map(|container| EventKind::Updated { container: container.clone(), was: container })
                .map(|kind| Event::new(SystemTime::UNIX_EPOCH, kind));
            publication.publish(&after, events.collect(), || {});
        }
        all
    }

    #[test]
    fn memory_for_an_unread_subscription_is_bounded() {
        const QUEUE: usize = 1000;
        let held = |all: &[Weak<Container>]| all.iter().filter(|it| it.strong_count() > 0).count();
        let publication = Arc::new(Publication::new(QUEUE));
        let (mut fold, mut never_read) = Subscription::new(&publication);
        let all = publish_many(&publication, 900);
        assert_eq!(held(&all), 900, "what fits is kept");
        fold.apply(&never_read.next().now_or_never().flatten().expect("an event").kind);
        let all = [all, publish_many(&publication, 100_000)].concat();
        assert!(held(&all) <= 2 * QUEUE + 1, "{} are held", held(&all));
        let mut kinds = Vec::new();
        while let Some(Some(event)) = never_read.next().now_or_never() {
            fold.apply(&event.kind);
            kinds.push(event.kind.name());
        }
        assert_eq!((kinds.len(), &kinds[899..]), (901, &["lagged", "updated"][..]));
        assert_eq!(fold, publication.portfolio());
        assert_eq!(held(&all), 0);
        publish_many(&publication, 500);
        drop(never_read);
        assert_eq!(held(&publish_many(&publication, 500)), 0, "nothing is kept without subscribers");
    }

    #[test]
    fn a_short_queue_keeps_as_many_events_as_containers_are_alive() {
        let publication = Arc::new(Publication::new(1));
        let (mut fold, mut changes) = Subscription::new(&publication);
        let mut after = Portfolio::default();
        for nth in 0..50 {
            let kind = EventKind::Started(Arc::new(Container::new(nth.to_string(), "name", 1)));
            after.apply(&kind);
            publication.publish(&after, vec![Event::new(SystemTime::UNIX_EPOCH, kind)], || {});
        }
        while let Some(Some(event)) = changes.next().now_or_never() {
            assert_eq!(event.kind.name(), "started");
            fold.apply(&event.kind);
        }
        assert_eq!(fold, after);
    }

    #[test]
    fn events_before_the_end_are_read() {
        let publication = Arc::new(Publication::new(8));
        let (_, mut changes) = Subscription::new(&publication);
        assert_eq!(format!("{changes:?}"), "Subscription { .. }");
        publish(&publication, 1, || {});
        publication.end().wake();
        assert_eq!(changes.next().now_or_never().flatten().as_ref().map(reported), Some(1));
        assert!(matches!(changes.next().now_or_never(), Some(None)));
        let (now, mut after) = Subscription::new(&publication);
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
            let (now, mut changes) = Subscription::new(&publication);
            let next = runtime.block_on(changes.next()).expect("no end");
            if !matches!(next.kind, EventKind::Lagged { .. }) {
                assert_eq!(reported(&next), number(&now) + 1);
            }
        }
        enough.store(true, Ordering::Relaxed);
        publisher.join().unwrap();
    }
}
