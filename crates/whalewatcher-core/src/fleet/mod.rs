//! A fleet: the watchers of several engines.

use std::collections::{BTreeMap, HashMap};
use std::mem::take;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use std::vec;

use arc_swap::ArcSwap;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::stream::SelectAll;
use futures_util::{StreamExt, future, stream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::model::{Container, EngineKey, Event};
use crate::portfolio::{Portfolio, difference};
use crate::watch::{Status, Subscription, WatchError, Watcher};

/// Watches several engines, each in its own task, until it is closed or dropped.
///
/// Members are distinguished by endpoint and engine type, because one socket may serve several APIs: that of containerd serves
/// its own and CRI. Engines can join and leave at any time.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use whalewatcher_core::scripted::Engine;
/// use std::time::Duration;
/// use whalewatcher_core::{EngineWatcher, Fleet};
///
/// # let (docker, containerd) = (Engine::at("one"), Engine::at("other"));
/// let fleet = Fleet::new();
/// fleet.add(EngineWatcher::new(docker))?;
/// fleet.add(EngineWatcher::new(containerd))?;
/// let readiness = fleet.ready(Duration::from_secs(10)).await;
/// assert!(readiness.is_complete());
/// for (watcher, portfolio) in fleet.portfolios() {
///     println!("{}: {} containers", watcher.endpoint(), portfolio.total());
/// }
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Fleet {
    /// Replaced as a whole, only by the holder of the lock below: readers never wait.
    members: ArcSwap<BTreeMap<EngineKey, Arc<Member>>>,
    /// The subscriptions, which receive new members. The lock orders both: a subscription either starts with a member or
    /// receives it later.
    followers: Mutex<Followers>,
}

/// The subscriptions to a fleet since it was last closed.
#[derive(Default)]
struct Followers {
    senders: Vec<mpsc::UnboundedSender<Joined>>,
    /// Cancelled when the fleet is closed, and then replaced: a closed fleet can be used again.
    closed: CancellationToken,
}

/// A new member, with a subscription from its start.
struct Joined {
    watcher: Arc<dyn Watcher>,
    left: CancellationToken,
    now: Portfolio,
    changes: Subscription,
}

struct Member {
    watcher: Arc<dyn Watcher>,
    /// Cancelled when it is removed.
    left: CancellationToken,
    _task: AbortOnDropHandle<Result<(), WatchError>>,
}

/// The result of [`Fleet::ready`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Readiness {
    /// The members in sync with their engines, each with its status.
    pub ready: Vec<(Arc<dyn Watcher>, Status)>,
    /// The others, each with the reason.
    pub not_ready: Vec<(Arc<dyn Watcher>, NotReady)>,
}

impl Readiness {
    /// Returns whether all members are ready.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.not_ready.is_empty()
    }
}

/// Why a member of a fleet is not ready.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// Its watch has ended.
    #[error(transparent)]
    Ended(#[from] WatchError),
    /// It was not ready within the limit. Its watch continues.
    #[error("not ready yet: {0}")]
    Late(Status),
}

/// Watchers, each with a snapshot of its portfolio.
pub type Snapshots = Vec<(Arc<dyn Watcher>, Portfolio)>;

/// Why a watcher cannot join a fleet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The fleet watches an engine of that type at that endpoint already.
    #[error("{key} is being watched already")]
    AlreadyThere {
        /// Endpoint and type.
        key: EngineKey,
    },
}

impl Fleet {
    /// Creates a fleet without members.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a watcher and starts its watch. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// If the fleet watches an engine of that type at that endpoint already.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn add(&self, watcher: impl Watcher) -> Result<Arc<dyn Watcher>, JoinError> {
        let key = watcher.key();
        let watcher: Arc<dyn Watcher> = Arc::new(watcher);
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut members = BTreeMap::clone(&self.members.load());
        if members.contains_key(&key) {
            return Err(JoinError::AlreadyThere { key });
        }
        let left = CancellationToken::new();
        // Before the watch begins, so that no event is missed.
        followers.senders.retain(|follower| {
            let (now, changes) = watcher.subscribe();
            let joined = Joined { watcher: watcher.clone(), left: left.clone(), now, changes };
            follower.send(joined).is_ok()
        });
        // The status contains why it ends.
        let task = tokio::spawn(watcher.watch(CancellationToken::new()));
        let member = Member { watcher: watcher.clone(), left, _task: AbortOnDropHandle::new(task) };
        members.insert(key, Arc::new(member));
        self.members.store(Arc::new(members));
        Ok(watcher)
    }

    /// Closes and removes a watcher. Returns whether there was one.
    ///
    /// Subscribers to the fleet receive the events of the watcher so far, and then an exit of each of its containers, because they
    /// are no longer part of the fleet.
    pub fn remove(&self, key: &EngineKey) -> bool {
        let _lock = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut members = BTreeMap::clone(&self.members.load());
        let Some(member) = members.remove(key) else { return false };
        member.watcher.close();
        member.left.cancel();
        self.members.store(Arc::new(members));
        true
    }

    /// Returns the watcher with this key.
    #[must_use]
    pub fn watcher(&self, key: &EngineKey) -> Option<Arc<dyn Watcher>> {
        self.members.load().get(key).map(|member| member.watcher.clone())
    }

    /// Returns all watchers, sorted by endpoint and type.
    #[must_use]
    pub fn watchers(&self) -> Vec<Arc<dyn Watcher>> {
        self.members.load().values().map(|member| member.watcher.clone()).collect()
    }

    /// Returns all watchers with a snapshot of their portfolios, sorted by endpoint and type.
    #[must_use]
    pub fn portfolios(&self) -> Snapshots {
        self.watchers().into_iter().map(|watcher| (watcher.clone(), watcher.portfolio())).collect()
    }

    /// Returns the containers with this ID or, in engines without that ID, this name: at most one of each engine.
    #[must_use]
    pub fn containers(&self, id_or_name: &str) -> Vec<(Arc<dyn Watcher>, Arc<Container>)> {
        let found = |(watcher, portfolio): (Arc<dyn Watcher>, Portfolio)| {
            portfolio.container(id_or_name).cloned().map(|container| (watcher, container))
        };
        self.portfolios().into_iter().filter_map(found).collect()
    }

    /// Waits, up to `limit`, until each current member is ready or its watch has ended.
    pub async fn ready(&self, limit: Duration) -> Readiness {
        let watchers = self.watchers();
        let outcomes = future::join_all(watchers.iter().map(|watcher| timeout(limit, watcher.ready()))).await;
        let mut readiness = Readiness::default();
        for (watcher, outcome) in watchers.into_iter().zip(outcomes) {
            match outcome {
                Ok(Ok(status)) => readiness.ready.push((watcher, status)),
                Ok(Err(error)) => readiness.not_ready.push((watcher, error.into())),
                Err(_) => {
                    let status = watcher.status();
                    readiness.not_ready.push((watcher, NotReady::Late(status)));
                }
            }
        }
        readiness
    }

    /// Returns snapshots of all portfolios, and a subscription to all changes after them. It includes engines that join later,
    /// whose containers are announced as started, and engines that are removed, whose containers are announced as exited.
    #[must_use]
    pub fn subscribe(&self) -> (Snapshots, FleetSubscription) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, joining) = mpsc::unbounded_channel();
        let mut subscription = FleetSubscription {
            joining: Some(joining),
            closed: followers.closed.clone(),
            newest: HashMap::new(),
            events: SelectAll::new(),
        };
        let mut snapshots = Snapshots::new();
        for member in self.members.load().values() {
            let Member { watcher, left, .. } = &**member;
            let (now, changes) = watcher.subscribe();
            subscription.follow(watcher.clone(), left.clone(), Vec::new(), changes);
            snapshots.push((watcher.clone(), now));
        }
        followers.senders.push(sender);
        (snapshots, subscription)
    }

    /// Closes and removes all watchers, and ends all subscriptions. The fleet can be used again afterwards.
    pub fn close(&self) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        for watcher in self.watchers() {
            watcher.close();
        }
        self.members.store(Arc::default());
        take(&mut *followers).closed.cancel();
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.close();
    }
}

/// The events of a fleet, each with its watcher: a [`Stream`] that ends when the fleet is closed.
pub struct FleetSubscription {
    joining: Option<mpsc::UnboundedReceiver<Joined>>,
    closed: CancellationToken,
    /// By place, a token that is cancelled when all events of the newest member there were returned.
    newest: HashMap<EngineKey, CancellationToken>,
    events: SelectAll<BoxStream<'static, (Arc<dyn Watcher>, Event)>>,
}

impl FleetSubscription {
    /// Returns the next event; `None` after the fleet was closed. Cancel safe: dropping the future loses no event.
    pub async fn next(&mut self) -> Option<(Arc<dyn Watcher>, Event)> {
        StreamExt::next(self).await
    }

    /// Follows a member until it is removed or the fleet closed. Its events come after those of its predecessor at that place.
    fn follow(
        &mut self,
        watcher: Arc<dyn Watcher>,
        left: CancellationToken,
        so_far: Vec<Event>,
        changes: Subscription,
    ) {
        self.newest.retain(|_, handed_out| !handed_out.is_cancelled());
        let handed_out = CancellationToken::new();
        let following = Following {
            former: self.newest.insert(watcher.key(), handed_out.clone()),
            queued: so_far.into_iter(),
            changes,
            left: Some(left),
            closed: self.closed.clone(),
            watcher,
            _handed_out: handed_out.drop_guard(),
        };
        let events = stream::unfold(following, |mut following| async move {
            let event = following.next().await?;
            Some(((following.watcher.clone(), event), following))
        });
        self.events.push(events.boxed());
    }

    /// Follows a member that joined after the subscription; it may have been watched elsewhere before.
    fn follow_from_its_start(&mut self, Joined { watcher, left, now, changes }: Joined) {
        let so_far = events_between(&Portfolio::default(), &now, &*watcher);
        self.follow(watcher, left, so_far, changes);
    }
}

/// The subscription to a member.
struct Following {
    watcher: Arc<dyn Watcher>,
    /// Cancelled when all events of the former member at that place were returned.
    former: Option<CancellationToken>,
    queued: vec::IntoIter<Event>,
    changes: Subscription,
    /// Cancelled when the member is removed; `None` when its exits are queued.
    left: Option<CancellationToken>,
    closed: CancellationToken,
    _handed_out: DropGuard,
}

impl Following {
    async fn next(&mut self) -> Option<Event> {
        if let Some(former) = &self.former {
            former.cancelled().await;
            self.former = None;
        }
        loop {
            if let Some(event) = self.queued.next() {
                return Some(event);
            }
            let left = self.left.as_ref()?;
            if let Some(event) = self.changes.next().await {
                return Some(event);
            }
            // The watcher is closed. Unless it is removed too, its containers stay as last known.
            tokio::select! {
                biased;
                () = left.cancelled() => self.left = None,
                () = self.closed.cancelled() => return None,
            }
            self.queued =
                events_between(self.changes.seen(), &Portfolio::default(), &*self.watcher).into_iter();
        }
    }
}

fn events_between(before: &Portfolio, after: &Portfolio, watcher: &dyn Watcher) -> Vec<Event> {
    let (time, engine) = (SystemTime::now(), watcher.identity());
    let kinds = difference(before, after).into_iter();
    kinds.map(|kind| Event::new(time, kind).with_engine(engine.clone())).collect()
}

impl Stream for FleetSubscription {
    type Item = (Arc<dyn Watcher>, Event);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while let Some(joining) = &mut self.joining {
            match joining.poll_recv(context) {
                Poll::Ready(Some(joined)) => self.follow_from_its_start(joined),
                Poll::Ready(None) => self.joining = None,
                Poll::Pending => break,
            }
        }
        match self.events.poll_next_unpin(context) {
            // Members may join later.
            Poll::Ready(None) if self.joining.is_some() => Poll::Pending,
            polled => polled,
        }
    }
}
