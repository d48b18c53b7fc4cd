//! Where one writer publishes, without ever waiting for a reader or a subscriber.
//!
//! The writer publishes batches of events, which are numbered through, and the picture after each. Readers load the newest
//! picture from an atomic pointer. Subscribers share a log of those batches that one of them has not received yet. It holds
//! no pictures: a subscriber receives all batches that it has not got, at once, together with the picture that they lead to.
//! The log has room for a number of events, or for as many as containers are alive; a subscriber that lies further behind
//! lags, and is given the difference between the picture that it saw last and the newest. So what is held for a subscriber
//! is bounded by the number of containers, however many events there are.

use std::collections::{BTreeMap, VecDeque};
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use arc_swap::ArcSwap;

use super::status_follower::Lagged;
use crate::model::{EngineIdentity, Event};
use crate::portfolio::Portfolio;

/// What all events up to a number lead to.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// The number of the newest event in it.
    pub(crate) upto: u64,
    pub(crate) portfolio: Portfolio,
    /// The engine that the newest event is about.
    pub(crate) engine: Option<Arc<EngineIdentity>>,
    /// The newest event that is about the watch and not about a container, and its number: no difference of portfolios
    /// shows it.
    pub(crate) about_watch: Option<(u64, Event)>,
}

/// Where one writer publishes and any number of readers and subscribers look.
pub(crate) struct Publication {
    newest: ArcSwap<Snapshot>,
    log: Mutex<Log>,
    /// How many events a subscriber may lie behind, at least.
    queue: usize,
    /// How many times a subscriber lagged.
    lagged: Lagged,
}

/// What subscribers share.
#[derive(Default)]
struct Log {
    /// What subscribers may have received.
    visible: Arc<Snapshot>,
    /// What readers see already, and subscribers do not.
    staged: Option<(Arc<Snapshot>, Arc<[Event]>)>,
    /// What some subscriber has not received, oldest first; each with the number of its newest event.
    batches: VecDeque<(u64, Arc<[Event]>)>,
    /// How many events are in these.
    held: usize,
    /// How many subscribers have received the events up to a number; those that lag are not among them.
    places: BTreeMap<u64, usize>,
    /// The subscribers that wait, by number.
    waiting: BTreeMap<u64, Waker>,
    subscribers: u64,
    ended: bool,
    spent: Spent,
}

/// What is dropped only once the lock is released, for that may run code of the application.
type Spent = (Vec<Arc<[Event]>>, Option<Arc<Snapshot>>, Option<Waker>);

/// What a subscriber has not received.
pub(crate) struct Unread {
    /// The events; `None` if the subscriber lags.
    pub(crate) batches: Option<Vec<Arc<[Event]>>>,
    /// What they lead to.
    pub(crate) picture: Arc<Snapshot>,
}

impl Publication {
    /// An empty picture; subscribers may lie that many events behind, or as many as containers are alive.
    pub(crate) fn new(queue: usize) -> Self {
        Self {
            newest: ArcSwap::default(),
            log: Mutex::default(),
            queue: queue.max(1),
            lagged: Lagged::default(),
        }
    }

    /// The counter of subscribers that lagged.
    pub(crate) fn lagged(&self) -> Lagged {
        self.lagged.clone()
    }

    /// The newest picture; waits for nobody.
    pub(crate) fn portfolio(&self) -> Portfolio {
        self.newest.load().portfolio.clone()
    }

    /// Publishes events and the picture after them: first readers see the picture, then `in_between` runs, then
    /// subscribers receive the events. Does nothing after the end, so that the picture stays what the events led to. Not to
    /// be called concurrently.
    pub(crate) fn publish(&self, after: &Portfolio, events: Vec<Event>, in_between: impl FnOnce()) {
        if events.is_empty() {
            return in_between();
        }
        if self.with(|log| self.stage(log, after, events)) {
            in_between();
            self.wake(self.with(|log| {
                log.show(self.queue);
                take(&mut log.waiting)
            }));
        }
    }

    /// Whether there is somebody left to publish for.
    fn stage(&self, log: &mut Log, after: &Portfolio, events: Vec<Event>) -> bool {
        if log.ended {
            return false;
        }
        // Nothing, unless `in_between` panicked.
        log.show(self.queue);
        let before = &log.visible;
        let numbered = (before.upto + 1..).zip(&events);
        let about_watch = numbered.filter(|(_, event)| event.container().is_none()).last();
        let picture = Arc::new(Snapshot {
            upto: before.upto + events.len() as u64,
            portfolio: after.clone(),
            engine: events.last().and_then(|event| event.engine.clone()),
            about_watch: about_watch
                .map(|(number, event)| (number, event.clone()))
                .or_else(|| before.about_watch.clone()),
        });
        self.newest.store(picture.clone());
        log.staged = Some((picture, events.into()));
        true
    }

    /// Ends all subscriptions once they have received what was published so far.
    pub(crate) fn end(&self) {
        self.wake(self.with(|log| {
            log.show(self.queue);
            log.ended = true;
            take(&mut log.waiting)
        }));
    }

    /// Joins as a subscriber: its place, and the picture that all it will receive comes after.
    pub(crate) fn join(self: &Arc<Self>) -> (Place, Arc<Snapshot>) {
        let (subscriber, seen) = self.with(|log| {
            // The newest is stored by the holder of the lock only.
            let seen = self.newest.load_full();
            log.enter(seen.upto);
            log.subscribers += 1;
            (log.subscribers, seen)
        });
        (Place { publication: self.clone(), subscriber, upto: seen.upto }, seen)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        let (result, _spent) = {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            (change(&mut log), take(&mut log.spent))
        };
        result
    }

    fn wake(&self, waiting: BTreeMap<u64, Waker>) {
        waiting.into_values().for_each(Waker::wake);
    }
}

impl Log {
    /// Lets subscribers see what is staged.
    fn show(&mut self, queue: usize) {
        let Some((picture, events)) = self.staged.take() else { return };
        let room = queue.max(picture.portfolio.total()) + events.len();
        self.held += events.len();
        self.batches.push_back((picture.upto, events));
        self.spent.1 = Some(std::mem::replace(&mut self.visible, picture));
        // Whatever the newest batch holds, only those lag that have not received too many before it.
        while self.held > room {
            self.drop_oldest();
        }
        self.places = self.places.split_off(&self.begin());
        self.trim();
    }

    /// The number of the newest event that is not held any more.
    fn begin(&self) -> u64 {
        self.batches.front().map_or(self.visible.upto, |(upto, events)| upto - events.len() as u64)
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

    /// Drops what all have received.
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

/// A subscriber's place in the log.
pub(crate) struct Place {
    publication: Arc<Publication>,
    subscriber: u64,
    /// The number of the newest event that it has received.
    upto: u64,
}

impl Place {
    /// All that the subscriber has not received, and may now; `None` when there will be nothing more.
    pub(crate) fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Option<Unread>> {
        let Self { publication, subscriber, upto } = self;
        let unread = publication.with(|log| {
            if *upto >= log.visible.upto {
                if log.ended {
                    return Poll::Ready(None);
                }
                if !log.waiting.get(subscriber).is_some_and(|waker| waker.will_wake(context.waker())) {
                    log.spent.2 = log.waiting.insert(*subscriber, context.waker().clone());
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
            Poll::Ready(Some(Unread { batches, picture: log.visible.clone() }))
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
