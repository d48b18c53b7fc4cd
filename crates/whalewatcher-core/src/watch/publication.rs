//! The publication of snapshots and events by one writer, which never waits for readers or subscribers.
//!
//! The writer publishes batches of numbered events, and the portfolio after each batch. Readers load the newest snapshot from an
//! atomic pointer. Subscribers share a log of the batches that at least one of them has not received. The log contains no
//! snapshots: a subscriber takes all batches that it has not received at once, together with the snapshot that they lead to.
//!
//! The log has room for a number of events, or for as many as containers are alive. A subscriber that is further behind lags:
//! it receives the difference between its last snapshot and the newest. So the memory for a subscriber is bounded by the
//! number of containers, not by the number of events.

use std::collections::{BTreeMap, VecDeque};
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use arc_swap::ArcSwap;

use super::status_follower::Lagged;
use crate::model::{EngineIdentity, Event};
use crate::portfolio::Portfolio;

/// The state after all events up to a number.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// The number of the newest event in it.
    pub(crate) upto: u64,
    pub(crate) portfolio: Portfolio,
    /// The engine of the newest event.
    pub(crate) engine: Option<Arc<EngineIdentity>>,
    /// The newest event about the watch, with its number: a difference of portfolios does not contain it.
    pub(crate) about_watch: Option<(u64, Event)>,
}

/// Connects one writer with any number of readers and subscribers.
pub(crate) struct Publication {
    newest: ArcSwap<Snapshot>,
    log: Mutex<Log>,
    /// The least number of events that a subscriber may lag behind.
    queue: usize,
    /// How many times a subscriber lagged.
    lagged: Lagged,
}

/// The state that subscribers share.
#[derive(Default)]
struct Log {
    /// The snapshot that subscribers may receive.
    visible: Arc<Snapshot>,
    /// The snapshot and events that readers may see, but subscribers not yet.
    staged: Option<(Arc<Snapshot>, Arc<[Event]>)>,
    /// The batches that some subscriber has not received, oldest first; each with the number of its newest event.
    batches: VecDeque<(u64, Arc<[Event]>)>,
    /// The number of events in these.
    held: usize,
    /// How many subscribers have received the events up to a number, without those that lag.
    places: BTreeMap<u64, usize>,
    /// The wakers of waiting subscribers and followers, by number.
    waiting: BTreeMap<u64, Waker>,
    subscribers: u64,
    ended: bool,
    spent: Spent,
}

/// Values to drop after the lock is released, because that may run code of the application.
type Spent = (Vec<Arc<[Event]>>, Option<Arc<Snapshot>>, Option<Waker>);

/// The subscribers to wake, and what to drop: both run code of the application, so the caller holds no lock then.
#[must_use]
#[derive(Default)]
pub(crate) struct Wakers {
    waiting: BTreeMap<u64, Waker>,
    spent: [Spent; 2],
}

impl Wakers {
    pub(crate) fn wake(self) {
        drop(self.spent);
        self.waiting.into_values().for_each(Waker::wake);
    }
}

/// The events that a subscriber has not received.
pub(crate) struct Unread {
    /// The events; `None` if the subscriber lags.
    pub(crate) batches: Option<Vec<Arc<[Event]>>>,
    /// The snapshot that they lead to.
    pub(crate) snapshot: Arc<Snapshot>,
}

impl Publication {
    /// Creates a publication with an empty portfolio. Subscribers may lag behind by `queue` events, or by as many as
    /// containers are alive.
    pub(crate) fn new(queue: usize) -> Self {
        Self {
            newest: ArcSwap::default(),
            log: Mutex::default(),
            queue: queue.max(1),
            lagged: Lagged::default(),
        }
    }

    /// Returns the counter of lagging subscribers.
    pub(crate) fn lagged(&self) -> Lagged {
        self.lagged.clone()
    }

    /// Returns the newest portfolio, without waiting.
    pub(crate) fn portfolio(&self) -> Portfolio {
        self.newest.load().portfolio.clone()
    }

    /// Publishes events and the portfolio after them: first readers see the snapshot, then `in_between` runs, then
    /// subscribers receive the events. Does nothing after the end, so that the snapshot matches the events. Must not be
    /// called concurrently.
    pub(crate) fn publish(&self, after: &Portfolio, events: Vec<Event>, in_between: impl FnOnce()) {
        self.publish_without_waking(after, events, in_between).wake();
    }

    /// Does the same, but leaves it to the caller to wake the subscribers.
    pub(crate) fn publish_without_waking(
        &self,
        after: &Portfolio,
        events: Vec<Event>,
        in_between: impl FnOnce(),
    ) -> Wakers {
        if events.is_empty() {
            if self.newest.load().portfolio.is_same(after) {
                in_between();
                return Wakers::default();
            }
            let (waiting, spent) = self.change(|log| self.repack(log, after));
            in_between();
            return Wakers { waiting, spent: [spent, Spent::default()] };
        }
        let (is_staged, spent) = self.change(|log| self.stage(log, after, events));
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

    /// Publishes an equal portfolio with other rucksacks. Returns the wakers: of followers,
    /// and of subscribers, which find nothing.
    fn repack(&self, log: &mut Log, after: &Portfolio) -> BTreeMap<u64, Waker> {
        log.show(self.queue);
        if log.ended {
            return BTreeMap::new();
        }
        let Snapshot { upto, engine, about_watch, .. } = &*log.visible;
        let (engine, about_watch) = (engine.clone(), about_watch.clone());
        let snapshot = Arc::new(Snapshot { upto: *upto, portfolio: after.clone(), engine, about_watch });
        self.newest.store(snapshot.clone());
        log.spent.1 = Some(std::mem::replace(&mut log.visible, snapshot));
        take(&mut log.waiting)
    }

    /// Stages a batch for readers; returns `false` after the end.
    fn stage(&self, log: &mut Log, after: &Portfolio, events: Vec<Event>) -> bool {
        if log.ended {
            return false;
        }
        // Something is staged only if `in_between` panicked before.
        log.show(self.queue);
        let before = &log.visible;
        let numbered = (before.upto + 1..).zip(&events);
        let about_watch = numbered.filter(|(_, event)| event.container().is_none()).last();
        let snapshot = Arc::new(Snapshot {
            upto: before.upto + events.len() as u64,
            portfolio: after.clone(),
            engine: events.last().and_then(|event| event.engine.clone()),
            about_watch: about_watch
                .map(|(number, event)| (number, event.clone()))
                .or_else(|| before.about_watch.clone()),
        });
        self.newest.store(snapshot.clone());
        log.staged = Some((snapshot, events.into()));
        true
    }

    /// Ends all subscriptions after the events that were published so far.
    pub(crate) fn end(&self) {
        let (waiting, spent) = self.change(|log| {
            log.show(self.queue);
            log.ended = true;
            take(&mut log.waiting)
        });
        Wakers { waiting, spent: [spent, Spent::default()] }.wake();
    }

    /// Adds a subscriber; returns its place, and the snapshot that all its events come after.
    pub(crate) fn join(self: &Arc<Self>) -> (Place, Arc<Snapshot>) {
        let (subscriber, seen) = self.with(|log| {
            // Only the holder of the lock stores the newest.
            let seen = self.newest.load_full();
            log.enter(seen.upto);
            log.subscribers += 1;
            (log.subscribers, seen)
        });
        (Place { publication: self.clone(), subscriber, upto: seen.upto }, seen)
    }

    /// Adds one that waits for portfolios and receives no events.
    pub(crate) fn waiter(self: &Arc<Self>) -> Waiter {
        let number = self.with(|log| {
            log.subscribers += 1;
            log.subscribers
        });
        Waiter { publication: self.clone(), number }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        self.change(change).0
    }

    /// Changes the log. Dropping what is spent may run code of the application: the lock is released before.
    fn change<T>(&self, change: impl FnOnce(&mut Log) -> T) -> (T, Spent) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut log);
        (result, take(&mut log.spent))
    }
}

impl Log {
    /// Moves the staged batch to the log, for subscribers.
    fn show(&mut self, queue: usize) {
        let Some((snapshot, events)) = self.staged.take() else { return };
        let room = queue.max(snapshot.portfolio.total()) + events.len();
        self.held += events.len();
        self.batches.push_back((snapshot.upto, events));
        self.spent.1 = Some(std::mem::replace(&mut self.visible, snapshot));
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

/// One that waits for portfolios. It has no place in the log, so no events are kept for it.
pub(crate) struct Waiter {
    publication: Arc<Publication>,
    number: u64,
}

impl Waiter {
    /// Returns the newest portfolio once it fulfils a condition; `None` after the end if it does not.
    pub(crate) fn poll_newest(
        &mut self,
        context: &mut Context<'_>,
        condition: impl Fn(&Portfolio) -> bool,
    ) -> Poll<Option<Portfolio>> {
        self.publication.with(|log| {
            let newest = &log.visible.portfolio;
            if condition(newest) {
                return Poll::Ready(Some(newest.clone()));
            }
            if log.ended {
                return Poll::Ready(None);
            }
            log.wait(self.number, context);
            Poll::Pending
        })
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.publication.with(|log| log.spent.2 = log.waiting.remove(&self.number));
    }
}

/// A subscriber's place in the log.
pub(crate) struct Place {
    publication: Arc<Publication>,
    subscriber: u64,
    /// The number of the newest event that it has received.
    upto: u64,
}

impl Place {
    /// Takes all events that the subscriber has not received; `None` after the end.
    pub(crate) fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Option<Unread>> {
        let Self { publication, subscriber, upto } = self;
        let unread = publication.with(|log| {
            if *upto >= log.visible.upto {
                if log.ended {
                    return Poll::Ready(None);
                }
                log.wait(*subscriber, context);
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

impl Drop for Place {
    fn drop(&mut self) {
        self.publication.with(|log| {
            log.spent.2 = log.waiting.remove(&self.subscriber);
            log.leave(self.upto);
            log.trim();
        });
    }
}
