//! The publication of snapshots and events by one writer, which never waits for readers or subscribers.
//!
//! The writer publishes batches of numbered events, and the state after each batch: the portfolio of an
//! engine, or that of a fleet. Readers load the newest snapshot from an atomic pointer. Subscribers share a
//! log of the batches that at least one of them has not received. The log contains no snapshots: a subscriber
//! takes all batches that it has not received at once, together with the snapshot that they lead to.
//!
//! The log has room for a number of events, or for as many as containers are alive. A subscriber that is
//! further behind lags: it receives the difference between its last snapshot and the newest. So the memory
//! for a subscriber is bounded by the number of containers, not by the number of events.

use std::collections::{BTreeMap, VecDeque};
use std::mem::{replace, take};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use arc_swap::ArcSwap;

mod lagged;
mod reader;

pub(crate) use lagged::Lagged;
pub(crate) use reader::Reader;

/// A state, with events that lead from one to the next.
pub(crate) trait Published: Default {
    /// What subscribers receive.
    type Event: Clone;

    /// Returns how many containers are alive.
    fn total(&self) -> usize;

    /// Returns the events that a lagging subscriber receives in place of those that it missed.
    fn catch_up(before: &Snapshot<Self>, after: &Snapshot<Self>) -> Vec<Self::Event>;
}

/// The state after all events up to a number.
#[derive(Default)]
pub(crate) struct Snapshot<S> {
    /// The number of the newest event in it.
    pub(crate) upto: u64,
    pub(crate) state: S,
}

/// Events that were published at once.
type Batch<S> = Arc<[<S as Published>::Event]>;

/// Connects one writer with any number of readers and subscribers.
pub(crate) struct Publication<S: Published> {
    newest: ArcSwap<Snapshot<S>>,
    log: Mutex<Log<S>>,
    /// The least number of events that a subscriber may lag behind.
    queue: usize,
    /// How many times a subscriber lagged.
    lagged: Lagged,
}

/// The state that subscribers share.
struct Log<S: Published> {
    /// The snapshot that subscribers may receive.
    visible: Arc<Snapshot<S>>,
    /// The snapshot and events that readers may see, but subscribers not yet.
    staged: Option<(Arc<Snapshot<S>>, Batch<S>)>,
    /// The batches that some subscriber has not received, oldest first; each with the number of its newest event.
    batches: VecDeque<(u64, Batch<S>)>,
    /// The number of events in these.
    held: usize,
    /// How many subscribers have received the events up to a number, without those that lag.
    places: BTreeMap<u64, usize>,
    /// The wakers of waiting subscribers and followers, by number.
    waiting: BTreeMap<u64, Waker>,
    subscribers: u64,
    ended: bool,
    spent: Spent<S>,
}

/// Values to drop after the lock is released, because that may run code of the application.
struct Spent<S: Published>(Vec<Batch<S>>, Option<Arc<Snapshot<S>>>, Option<Waker>);

impl<S: Published> Default for Spent<S> {
    fn default() -> Self {
        Self(Vec::new(), None, None)
    }
}

/// The subscribers to wake, and what to drop: both run code of the application, so the caller holds no lock then.
#[must_use]
pub(crate) struct Wakers<S: Published> {
    waiting: BTreeMap<u64, Waker>,
    spent: [Spent<S>; 2],
}

impl<S: Published> Wakers<S> {
    pub(crate) fn none() -> Self {
        Self { waiting: BTreeMap::new(), spent: Default::default() }
    }

    pub(crate) fn wake(self) {
        drop(self.spent);
        self.waiting.into_values().for_each(Waker::wake);
    }
}

/// The events that a subscriber has not received.
pub(crate) struct Unread<S: Published> {
    /// The events; `None` if the subscriber lags. None at all if the snapshot was only replaced by an equal one.
    pub(crate) batches: Option<Vec<Batch<S>>>,
    /// The snapshot that they lead to.
    pub(crate) snapshot: Arc<Snapshot<S>>,
}

impl<S: Published> Publication<S> {
    /// Creates a publication of the empty state. Subscribers may lag behind by `queue` events, or by as many
    /// as containers are alive.
    pub(crate) fn new(queue: usize) -> Self {
        let first = Arc::<Snapshot<S>>::default();
        Self {
            newest: ArcSwap::new(first.clone()),
            log: Mutex::new(Log::new(first)),
            queue: queue.max(1),
            lagged: Lagged::default(),
        }
    }

    /// Returns the counter of lagging subscribers.
    pub(crate) fn lagged(&self) -> Lagged {
        self.lagged.clone()
    }

    /// Returns what `read` returns for the newest state, without waiting.
    pub(crate) fn newest<T>(&self, read: impl FnOnce(&S) -> T) -> T {
        read(&self.newest.load().state)
    }

    /// Publishes events and the state after them, which `after` returns for the snapshot before them: first
    /// readers see the state, then `in_between` runs, then subscribers receive the events. Does nothing after
    /// the end, so that the snapshot matches the events. Must not be called concurrently. The caller wakes
    /// the subscribers.
    pub(crate) fn publish_events(
        &self,
        events: Vec<S::Event>,
        after: impl FnOnce(&Snapshot<S>, &[S::Event]) -> S,
        in_between: impl FnOnce(),
    ) -> Wakers<S> {
        let (is_staged, spent) = self.change(|log| self.stage(log, events, after));
        if !is_staged {
            return Wakers { waiting: BTreeMap::new(), spent: [spent, Spent::default()] };
        }
        in_between();
        let (waiting, shown) = self.change(|log| {
            log.show(self.queue);
            take(&mut log.waiting)
        });
        Wakers { waiting, spent: [spent, shown] }
    }

    /// Publishes an equal state with other rucksacks. Returns the wakers: of followers, and of subscribers,
    /// which find no event.
    pub(crate) fn replace(&self, after: impl FnOnce(&S) -> S) -> Wakers<S> {
        let (waiting, spent) = self.change(|log| {
            log.show(self.queue);
            if log.ended {
                return BTreeMap::new();
            }
            let Snapshot { upto, state } = &*log.visible;
            let snapshot = Arc::new(Snapshot { upto: *upto, state: after(state) });
            self.newest.store(snapshot.clone());
            log.spent.1 = Some(replace(&mut log.visible, snapshot));
            take(&mut log.waiting)
        });
        Wakers { waiting, spent: [spent, Spent::default()] }
    }

    /// Stages a batch for readers; returns `false` after the end.
    fn stage(
        &self,
        log: &mut Log<S>,
        events: Vec<S::Event>,
        after: impl FnOnce(&Snapshot<S>, &[S::Event]) -> S,
    ) -> bool {
        if log.ended {
            return false;
        }
        // Something is staged only if `in_between` panicked before.
        log.show(self.queue);
        let before = &log.visible;
        let snapshot =
            Arc::new(Snapshot { upto: before.upto + events.len() as u64, state: after(before, &events) });
        self.newest.store(snapshot.clone());
        log.staged = Some((snapshot, events.into()));
        true
    }

    /// Ends all subscriptions after the events that were published so far. The caller wakes the subscribers.
    pub(crate) fn end(&self) -> Wakers<S> {
        let (waiting, spent) = self.change(|log| {
            log.show(self.queue);
            log.ended = true;
            take(&mut log.waiting)
        });
        Wakers { waiting, spent: [spent, Spent::default()] }
    }

    /// Adds a subscriber; returns its place, and the snapshot that all its events come after.
    fn join(self: &Arc<Self>) -> (Place<S>, Arc<Snapshot<S>>) {
        let (subscriber, seen) = self.with(|log| {
            // Only the holder of the lock stores the newest.
            let seen = self.newest.load_full();
            log.enter(seen.upto);
            log.subscribers += 1;
            (log.subscribers, seen)
        });
        (Place { publication: self.clone(), subscriber, upto: seen.upto }, seen)
    }

    /// Adds one that waits for states and receives no events.
    pub(crate) fn waiter(self: &Arc<Self>) -> Waiter<S> {
        let number = self.with(|log| {
            log.subscribers += 1;
            log.subscribers
        });
        Waiter { publication: self.clone(), number }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Log<S>) -> T) -> T {
        self.change(change).0
    }

    /// Changes the log. Dropping what is spent may run code of the application: the lock is released before.
    fn change<T>(&self, change: impl FnOnce(&mut Log<S>) -> T) -> (T, Spent<S>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut log);
        (result, take(&mut log.spent))
    }
}

impl<S: Published> Log<S> {
    fn new(first: Arc<Snapshot<S>>) -> Self {
        Self {
            visible: first,
            staged: None,
            batches: VecDeque::new(),
            held: 0,
            places: BTreeMap::new(),
            waiting: BTreeMap::new(),
            subscribers: 0,
            ended: false,
            spent: Spent::default(),
        }
    }

    /// Moves the staged batch to the log, for subscribers.
    fn show(&mut self, queue: usize) {
        let Some((snapshot, events)) = self.staged.take() else { return };
        let room = queue.max(snapshot.state.total()) + events.len();
        self.held += events.len();
        self.batches.push_back((snapshot.upto, events));
        self.spent.1 = Some(replace(&mut self.visible, snapshot));
        // The size of the newest batch makes no subscriber lag.
        while self.held > room {
            self.drop_oldest();
        }
        self.places = self.places.split_off(&self.begin());
        self.trim();
    }

    /// Returns the number of the newest event that the log dropped.
    fn begin(&self) -> u64 {
        self.batches.front().map_or(self.visible.upto, |(upto, events)| upto - events.len() as u64)
    }

    /// Records that a subscriber waits for the next batch.
    fn wait(&mut self, subscriber: u64, context: &Context<'_>) {
        if !self.waiting.get(&subscriber).is_some_and(|waker| waker.will_wake(context.waker())) {
            self.spent.2 = self.waiting.insert(subscriber, context.waker().clone());
        }
    }

    fn enter(&mut self, upto: u64) {
        *self.places.entry(upto).or_default() += 1;
    }

    fn leave(&mut self, upto: u64) {
        if let Some(subscribers) = self.places.get_mut(&upto) {
            *subscribers -= 1;
            if *subscribers == 0 {
                self.places.remove(&upto);
            }
        }
    }

    /// Drops the batches that all subscribers have received.
    fn trim(&mut self) {
        let received = self.places.keys().next().copied().unwrap_or(u64::MAX);
        while self.batches.front().is_some_and(|(upto, _)| *upto <= received) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, events)) = self.batches.pop_front() {
            self.held -= events.len();
            self.spent.0.push(events);
        }
    }
}

/// One that waits for states. It has no place in the log, so no events are kept for it.
pub(crate) struct Waiter<S: Published> {
    publication: Arc<Publication<S>>,
    number: u64,
}

impl<S: Published> Waiter<S> {
    /// Returns what `read` returns for the newest state once that is something; `None` after the end if it is not.
    pub(crate) fn poll_newest<T>(
        &mut self,
        context: &mut Context<'_>,
        read: impl FnOnce(&S) -> Option<T>,
    ) -> Poll<Option<T>> {
        self.publication.with(|log| {
            if let Some(newest) = read(&log.visible.state) {
                return Poll::Ready(Some(newest));
            }
            if log.ended {
                return Poll::Ready(None);
            }
            log.wait(self.number, context);
            Poll::Pending
        })
    }
}

impl<S: Published> Drop for Waiter<S> {
    fn drop(&mut self) {
        self.publication.with(|log| log.spent.2 = log.waiting.remove(&self.number));
    }
}

/// A subscriber's place in the log.
struct Place<S: Published> {
    publication: Arc<Publication<S>>,
    subscriber: u64,
    /// The number of the newest event that it has received.
    upto: u64,
}

impl<S: Published> Place<S> {
    /// Takes all events that the subscriber has not received, or the snapshot that replaced the one that it
    /// has seen; `None` after the end. Without a context, it is not woken later.
    fn poll_take(
        &mut self,
        seen: &Arc<Snapshot<S>>,
        context: Option<&mut Context<'_>>,
    ) -> Poll<Option<Unread<S>>> {
        let Self { publication, subscriber, upto } = self;
        let unread = publication.with(|log| {
            let is_replaced = *upto == log.visible.upto && !Arc::ptr_eq(seen, &log.visible);
            if *upto >= log.visible.upto && !is_replaced {
                if log.ended {
                    return Poll::Ready(None);
                }
                if let Some(context) = context {
                    log.wait(*subscriber, context);
                }
                return Poll::Pending;
            }
            let batches = (*upto >= log.begin()).then(|| {
                let unread = log.batches.iter().skip_while(|(number, _)| number <= upto);
                unread.map(|(_, events)| events.clone()).collect()
            });
            log.leave(*upto);
            *upto = log.visible.upto;
            log.enter(*upto);
            log.trim();
            Poll::Ready(Some(Unread { batches, snapshot: log.visible.clone() }))
        });
        if let Poll::Ready(Some(Unread { batches: None, .. })) = &unread {
            publication.lagged.increment();
        }
        unread
    }
}

impl<S: Published> Drop for Place<S> {
    fn drop(&mut self) {
        self.publication.with(|log| {
            log.spent.2 = log.waiting.remove(&self.subscriber);
            log.leave(self.upto);
            log.trim();
        });
    }
}
