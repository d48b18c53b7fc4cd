//! Several watchers under one roof.

use std::collections::{BTreeMap, HashMap};
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

use crate::model::{Container, Event};
use crate::portfolio::{Portfolio, difference};
use crate::watch::{Status, Subscription, WatchError, Watcher};

/// Watches several engines, each in a task of its own, until closed or dropped.
///
/// Engines are told apart by endpoint and type, for one socket may serve several APIs: containerd's serves its own and CRI's.
/// They can come and go at any time.
#[derive(Default)]
pub struct Fleet {
    /// Replaced as a whole, by the holder of the lock below only: readers wait for nobody.
    members: ArcSwap<BTreeMap<Place, Arc<Member>>>,
    /// The subscriptions, which receive new members. Its lock orders them: a subscription starts with a member, or
    /// receives it.
    followers: Mutex<Vec<mpsc::UnboundedSender<Joined>>>,
    closed: CancellationToken,
}

/// A new member, and all that happens there from its start on.
struct Joined {
    watcher: Arc<dyn Watcher>,
    left: CancellationToken,
    now: Portfolio,
    changes: Subscription,
}

/// Endpoint and engine type.
type Place = (String, String);

fn place(watcher: &dyn Watcher) -> Place {
    (watcher.endpoint().to_owned(), watcher.engine_type().to_owned())
}

struct Member {
    watcher: Arc<dyn Watcher>,
    /// Cancelled once it is removed.
    left: CancellationToken,
    _task: AbortOnDropHandle<Result<(), WatchError>>,
}

/// What [`Fleet::ready`] waited for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Readiness {
    /// The members whose portfolios are as their engines say, each with its status then.
    pub ready: Vec<(Arc<dyn Watcher>, Status)>,
    /// The others, each with the reason.
    pub not_ready: Vec<(Arc<dyn Watcher>, NotReady)>,
}

impl Readiness {
    /// Whether all members are ready.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.not_ready.is_empty()
    }
}

/// Why a member of a fleet is not ready.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// It will not be: its watch has ended.
    #[error(transparent)]
    Ended(#[from] WatchError),
    /// It was not within the limit; it is still being waited for by its watch.
    #[error("not ready yet: {0}")]
    Late(Status),
}

/// Watchers, each with a snapshot of its portfolio.
pub type Pictures = Vec<(Arc<dyn Watcher>, Portfolio)>;

/// Why a watcher cannot join a fleet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The fleet watches an engine of that type at that endpoint already.
    #[error("the engine at {endpoint} is being watched already")]
    AlreadyThere {
        /// Where.
        endpoint: String,
    },
}

impl Fleet {
    /// A fleet without members.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a watcher and starts its watch. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// If the fleet watches an engine of that type at that endpoint already.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn add(&self, watcher: impl Watcher) -> Result<Arc<dyn Watcher>, JoinError> {
        let watcher: Arc<dyn Watcher> = Arc::new(watcher);
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut members = BTreeMap::clone(&self.members.load());
        if members.contains_key(&place(&*watcher)) {
            return Err(JoinError::AlreadyThere { endpoint: watcher.endpoint().to_owned() });
        }
        let left = CancellationToken::new();
        // Before the watch begins, so that nothing of it is missed.
        followers.retain(|follower| {
            let (now, changes) = watcher.subscribe();
            let joined = Joined { watcher: watcher.clone(), left: left.clone(), now, changes };
            follower.send(joined).is_ok()
        });
        // Why it ends is in the status.
        let task = tokio::spawn(watcher.watch(CancellationToken::new()));
        let member = Member { watcher: watcher.clone(), left, _task: AbortOnDropHandle::new(task) };
        members.insert(place(&*watcher), Arc::new(member));
        self.members.store(Arc::new(members));
        Ok(watcher)
    }

    /// Closes and forgets the watchers of this endpoint, of whatever type; whether there were any.
    ///
    /// Subscribers to the fleet receive what has happened there so far, and then that all containers of these watchers have
    /// exited: for the fleet they have.
    pub fn remove(&self, endpoint: &str) -> bool {
        let _lock = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut members = BTreeMap::clone(&self.members.load());
        let before = members.len();
        members.retain(|(place, _), member| {
            let stays = place != endpoint;
            if !stays {
                member.watcher.close();
                member.left.cancel();
            }
            stays
        });
        let removed = members.len() < before;
        self.members.store(Arc::new(members));
        removed
    }

    /// All watchers, by ascending endpoint and type.
    #[must_use]
    pub fn watchers(&self) -> Vec<Arc<dyn Watcher>> {
        self.members.load().values().map(|member| member.watcher.clone()).collect()
    }

    /// All watchers, each with a snapshot of its portfolio, by ascending endpoint and type.
    #[must_use]
    pub fn portfolios(&self) -> Pictures {
        self.watchers().into_iter().map(|watcher| (watcher.clone(), watcher.portfolio())).collect()
    }

    /// The containers that have this ID or, in their engine, else this name: at most one of each engine.
    #[must_use]
    pub fn containers(&self, id_or_name: &str) -> Vec<(Arc<dyn Watcher>, Arc<Container>)> {
        let found = |(watcher, portfolio): (Arc<dyn Watcher>, Portfolio)| {
            portfolio.container(id_or_name).cloned().map(|container| (watcher, container))
        };
        self.portfolios().into_iter().filter_map(found).collect()
    }

    /// Waits until each member that the fleet has now is ready or will not be, for as long as `limit` at most.
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

    /// The pictures, and all that happens from exactly there on, also in engines that join later (of which nothing
    /// is in the pictures: what they hold when they join is announced as started) and in those that are removed (what they
    /// hold then is announced as exited).
    #[must_use]
    pub fn subscribe(&self) -> (Pictures, FleetSubscription) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, joining) = mpsc::unbounded_channel();
        let mut subscription = FleetSubscription {
            joining: Some(joining),
            closed: self.closed.clone(),
            newest: HashMap::new(),
            events: SelectAll::new(),
        };
        let mut pictures = Pictures::new();
        for member in self.members.load().values() {
            let Member { watcher, left, .. } = &**member;
            let (now, changes) = watcher.subscribe();
            subscription.follow(watcher.clone(), left.clone(), Vec::new(), changes);
            pictures.push((watcher.clone(), now));
        }
        followers.push(sender);
        (pictures, subscription)
    }

    /// Closes all watchers and ends all subscriptions.
    pub fn close(&self) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        for watcher in self.watchers() {
            watcher.close();
        }
        self.members.store(Arc::default());
        followers.clear();
        self.closed.cancel();
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.close();
    }
}

/// What happens in a fleet: a stream of events, each with the watcher it comes from. Ends when the fleet is closed.
pub struct FleetSubscription {
    joining: Option<mpsc::UnboundedReceiver<Joined>>,
    closed: CancellationToken,
    /// Of each place, what is cancelled when all of the newest member there was handed out.
    newest: HashMap<Place, CancellationToken>,
    events: SelectAll<BoxStream<'static, (Arc<dyn Watcher>, Event)>>,
}

impl FleetSubscription {
    /// The next event; `None` after the fleet was closed. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<(Arc<dyn Watcher>, Event)> {
        StreamExt::next(self).await
    }

    /// Follows a member until it is removed or the fleet closed; after all of its predecessor at that place.
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
            former: self.newest.insert(place(&*watcher), handed_out.clone()),
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

    /// A member that joined after us; it may have been watched elsewhere before.
    fn follow_from_its_start(&mut self, Joined { watcher, left, now, changes }: Joined) {
        let so_far = events_between(&Portfolio::default(), &now, &*watcher);
        self.follow(watcher, left, so_far, changes);
    }
}

/// A member that is followed.
struct Following {
    watcher: Arc<dyn Watcher>,
    /// The former member at that place: its events come first.
    former: Option<CancellationToken>,
    queued: vec::IntoIter<Event>,
    changes: Subscription,
    /// Cancelled once it is removed; nothing when its exits are queued.
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
            // The watcher is closed. If that is all, its containers are as last known.
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
            // Without members there may be some later.
            Poll::Ready(None) if self.joining.is_some() => Poll::Pending,
            polled => polled,
        }
    }
}
