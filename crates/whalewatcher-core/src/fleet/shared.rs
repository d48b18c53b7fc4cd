//! What a fleet and the tasks of its members share.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::merge::Merge;
use super::portfolio::FleetPortfolio;
use super::readiness::JoinError;
use crate::model::{EngineError, EngineKey, ErrorKind, Event, EventKind};
use crate::portfolio::Portfolio;
use crate::publication::{Publication, Wakers};
use crate::watch::{Phase, Status, Subscription, WatchError, Watcher};

/// The tasks of a member: its watch, and the one that merges its events.
type Tasks = [AbortOnDropHandle<()>; 2];

/// What a fleet and the tasks of its members share.
///
/// One lock orders all that is merged. It is held for one batch of events of a member at a time, and never
/// while code of the application runs.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Replaced when the fleet is closed: a closed fleet can be used again.
    publication: ArcSwap<Publication<FleetPortfolio>>,
    /// The least number of events that a subscriber may lag behind.
    queue: usize,
}

#[derive(Default)]
struct State {
    members: BTreeMap<EngineKey, Member>,
    merge: Merge,
    /// How many members have joined so far.
    joined: u64,
}

struct Member {
    /// Distinguishes it from others with the same key.
    number: u64,
    changes: Subscription,
    /// `None` at the very beginning.
    tasks: Option<Tasks>,
}

impl Shared {
    pub(super) fn new(queue: usize) -> Self {
        let publication = ArcSwap::from_pointee(Publication::new(queue));
        Self { state: Mutex::default(), publication, queue }
    }

    pub(super) fn publication(&self) -> Arc<Publication<FleetPortfolio>> {
        self.publication.load_full()
    }

    /// Adds a watcher. Returns its key and number.
    pub(super) fn join(&self, watcher: Arc<dyn Watcher>) -> Result<(EngineKey, u64), JoinError> {
        let key = watcher.key();
        // It may have been watched before. Its status is never older than its portfolio.
        let (now, changes) = watcher.subscribe();
        let (about_watch, engine) = (about_watch(watcher.status(), now.total()), watcher.identity());
        // A watcher that does not join is dropped when the lock is released.
        let (outcome, _rejected) = self.change(|state| {
            if state.members.contains_key(&key) {
                return (Err(JoinError::AlreadyThere { key }), Some((watcher, changes)));
            }
            state.joined += 1;
            let number = state.joined;
            state.merge.join(&key, &watcher, engine.as_ref(), &now, about_watch);
            state.members.insert(key.clone(), Member { number, changes, tasks: None });
            (Ok((key, number)), None)
        });
        outcome
    }

    /// Keeps the tasks of a member for as long as it is one.
    pub(super) fn set_tasks(&self, key: &EngineKey, number: u64, tasks: Tasks) {
        let _left = self.change(|state| match state.member(key, number) {
            Some(member) => member.tasks.replace(tasks),
            None => Some(tasks),
        });
    }

    /// Removes a member. Returns whether there was one.
    pub(super) fn leave(&self, key: &EngineKey) -> bool {
        let left = self.change(|state| {
            state.advance(key);
            let member = state.members.remove(key)?;
            state.merge.leave(key);
            Some(member)
        });
        left.is_some()
    }

    /// Merges what the members have published so far.
    pub(super) fn advance(&self) {
        self.change(|state| {
            let keys: Vec<_> = state.members.keys().cloned().collect();
            keys.iter().for_each(|key| state.advance(key));
        });
    }

    /// Removes all members and ends all subscriptions.
    pub(super) fn close(&self) {
        let (wakers, _members, _portfolio) = self.change(|state| {
            let former = take(&mut state.merge.portfolio);
            state.merge.portfolio.renumber(former.revision());
            let ended = self.publication.swap(Arc::new(Publication::new(self.queue)));
            (ended.end(), (take(&mut state.members), take(&mut state.merge.sources)), former)
        });
        wakers.wake();
    }

    /// Merges the events of a member until its watcher is closed.
    pub(super) async fn follow(self: Arc<Self>, key: EngineKey, number: u64) {
        let mut more = true;
        while more {
            // A member that publishes continuously lets others run, too.
            consume_budget().await;
            let merged = poll_fn(|context| self.poll_merge(&key, number, context));
            more = match self.change(|state| state.merge.deadline(&key)) {
                None => merged.await,
                Some(deadline) => timeout_at(deadline, merged).await.unwrap_or_else(|_| {
                    self.change(|state| state.merge.expire(&key, Instant::now()));
                    true
                }),
            };
        }
    }

    /// Merges what a member has published; returns whether there may be more.
    fn poll_merge(&self, key: &EngineKey, number: u64, context: &mut Context<'_>) -> Poll<bool> {
        self.change(|state| match state.member(key, number) {
            Some(member) => member.changes.poll_all(Some(context)).map(|batch| state.merge_batch(key, batch)),
            None => Poll::Ready(false),
        })
    }

    /// Changes the state and publishes what follows. What is replaced is dropped, and subscribers are woken,
    /// when the lock is released: both run code of the application.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        let Merge { portfolio, events, spent, spent_events, .. } = &mut state.merge;
        let (events, spent) = (take(events), (take(spent), take(spent_events)));
        let publication = self.publication.load();
        let wakers = if !events.is_empty() {
            publication.publish_events(events, |_, _| portfolio.clone(), || {})
        } else if publication.newest(|newest| newest.revision() != portfolio.revision()) {
            publication.replace(|_| portfolio.clone())
        } else {
            Wakers::none()
        };
        drop(state);
        wakers.wake();
        drop(spent);
        result
    }
}

impl State {
    fn member(&mut self, key: &EngineKey, number: u64) -> Option<&mut Member> {
        self.members.get_mut(key).filter(|member| member.number == number)
    }

    /// Merges what a member has published so far.
    fn advance(&mut self, key: &EngineKey) {
        while let Some(member) = self.members.get_mut(key)
            && let Poll::Ready(batch @ Some(_)) = member.changes.poll_all(None)
        {
            self.merge_batch(key, batch);
        }
    }

    /// Merges events of a member; returns whether there may be more.
    fn merge_batch(&mut self, key: &EngineKey, batch: Option<(Vec<Event>, Portfolio)>) -> bool {
        let more = batch.is_some();
        match batch {
            Some((events, now)) => self.merge.handle(key, events, &now),
            None => self.merge.end(key, ended(&WatchError::Closed)),
        }
        more
    }
}

/// Returns the event that says what a status does.
fn about_watch(status: Status, containers: usize) -> Option<EventKind> {
    let error = match status.phase {
        Phase::Live { .. } => {
            return Some(EventKind::Synced { containers, unresolved: status.unresolved.total() });
        }
        Phase::Disconnected { error }
        | Phase::Failed { error }
        | Phase::Refused { error }
        | Phase::Panicked { error } => error,
        Phase::Cancelled => ended(&WatchError::Cancelled),
        Phase::Closed => ended(&WatchError::Closed),
        Phase::Idle | Phase::Connecting | Phase::Synchronizing => return None,
    };
    Some(EventKind::Disconnected { error })
}

fn ended(error: &WatchError) -> Arc<EngineError> {
    Arc::new(EngineError::new(ErrorKind::Disconnected, error.to_string()))
}
