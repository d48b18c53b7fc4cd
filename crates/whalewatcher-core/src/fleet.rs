//! Several watchers under one roof.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::stream::SelectAll;
use futures_util::{StreamExt, future, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::container::Container;
use crate::difference::difference;
use crate::event::Event;
use crate::portfolio::Portfolio;
use crate::subscription::Subscription;
use crate::watcher::{WatchError, Watcher};

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
}

/// A new member, and all that happens there from its start on.
struct Joined {
    watcher: Arc<dyn Watcher>,
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
    _task: AbortOnDropHandle<()>,
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
        // Before the watch begins, so that nothing of it is missed.
        followers.retain(|follower| {
            let (now, changes) = watcher.subscribe();
            follower.send(Joined { watcher: watcher.clone(), now, changes }).is_ok()
        });
        let task = tokio::spawn({
            let watcher = watcher.clone();
            async move {
                // Why it ended is in the status.
                let _ = watcher.watch(CancellationToken::new()).await;
            }
        });
        let member = Member { watcher: watcher.clone(), _task: AbortOnDropHandle::new(task) };
        members.insert(place(&*watcher), Arc::new(member));
        self.members.store(Arc::new(members));
        Ok(watcher)
    }

    /// Closes and forgets the watchers of this endpoint, of whatever type; whether there were any.
    pub fn remove(&self, endpoint: &str) -> bool {
        let _lock = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut members = BTreeMap::clone(&self.members.load());
        let before = members.len();
        members.retain(|(place, _), member| {
            let stays = place != endpoint;
            if !stays {
                member.watcher.close();
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

    /// Waits until the portfolios of all present members are as their engines say.
    ///
    /// # Errors
    ///
    /// When that will not come for one of them: it was closed, or its watch gave up.
    pub async fn ready(&self) -> Result<(), WatchError> {
        let watchers = self.watchers();
        future::try_join_all(watchers.iter().map(|watcher| watcher.ready())).await.map(drop)
    }

    /// The pictures, and all that happens from exactly there on, also in engines that join later (of which nothing
    /// is in the pictures: what they hold when they join is told as started).
    #[must_use]
    pub fn subscribe(&self) -> (Pictures, FleetSubscription) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut subscription = FleetSubscription { joining: None, events: SelectAll::new() };
        let pictures = self
            .watchers()
            .into_iter()
            .map(|watcher| (watcher.clone(), subscription.follow(watcher)))
            .collect();
        let (sender, joining) = mpsc::unbounded_channel();
        followers.push(sender);
        subscription.joining = Some(joining);
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
    events: SelectAll<BoxStream<'static, (Arc<dyn Watcher>, Event)>>,
}

impl FleetSubscription {
    /// The next event; `None` after the fleet was closed. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<(Arc<dyn Watcher>, Event)> {
        StreamExt::next(self).await
    }

    fn follow(&mut self, watcher: Arc<dyn Watcher>) -> Portfolio {
        let (now, changes) = watcher.subscribe();
        self.events.push(changes.map(move |event| (watcher.clone(), event)).boxed());
        now
    }

    /// A member that joined after us; it may have been watched elsewhere before.
    fn follow_from_its_start(&mut self, Joined { watcher, now, changes }: Joined) {
        let time = SystemTime::now();
        let so_far =
            difference(&Portfolio::default(), &now).into_iter().map(move |kind| Event::new(time, kind));
        let events = stream::iter(so_far).chain(changes);
        self.events.push(events.map(move |event| (watcher.clone(), event)).boxed());
    }
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
