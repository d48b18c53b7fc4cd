//! An engine in memory that costs as little as one can: it emits events as fast as they are read, its lists
//! are complete, and it answers inspections at once.

use std::collections::HashMap;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use whalewatcher_bench::population;
use whalewatcher_core::adapter::{EngineClient, EngineConnection, EngineEvent, Listing, ListingEntry};
use whalewatcher_core::{
    Container, ContainerId, EngineError, EngineIdentity, ErrorKind, Settings, Subscription, WatchHandle,
    watch_with,
};

const ENGINE_TYPE: &str = "bench";

/// What a watcher talks to.
struct Client(Arc<State>);

struct State {
    alive: Mutex<HashMap<ContainerId, Container>>,
    /// Gone with the first connection.
    events: Mutex<Option<UnboundedReceiver<Vec<EngineEvent>>>>,
}

impl State {
    fn alive(&self) -> MutexGuard<'_, HashMap<ContainerId, Container>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EngineClient for Client {
    type Connection = Connection;

    fn engine_type(&self) -> &str {
        ENGINE_TYPE
    }

    fn endpoint(&self) -> &str {
        "memory:"
    }

    async fn connect(&self, _: &Settings) -> Result<Connection, EngineError> {
        let events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner).take();
        let events =
            events.ok_or_else(|| EngineError::new(ErrorKind::Failed, "there is one connection only"))?;
        Ok(Connection { state: self.0.clone(), events: Mutex::new(Some(events)) })
    }
}

struct Connection {
    state: Arc<State>,
    events: Mutex<Option<UnboundedReceiver<Vec<EngineEvent>>>>,
}

impl EngineConnection for Connection {
    fn identity(&self) -> EngineIdentity {
        EngineIdentity::new(ENGINE_TYPE, "memory:")
    }

    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        let receiver = self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
        let volleys = stream::unfold(receiver, |receiver| async move {
            let mut receiver = receiver?;
            let volley = receiver.recv().await?;
            Some((stream::iter(volley), Some(receiver)))
        });
        stream::iter([EngineEvent::Subscribed]).chain(volleys.flatten()).map(Ok)
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        let entries: Vec<_> = self.state.alive().values().cloned().map(ListingEntry::Whole).collect();
        Ok(entries.into())
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Container>, EngineError> {
        Ok(self.state.alive().get(id).cloned())
    }
}

/// A watched engine with so many containers, and subscribers that read. All of it runs in the thread that
/// calls, so that what this thread computes is what all of it costs.
pub(crate) struct World {
    runtime: Runtime,
    watching: WatchHandle<Client>,
    state: Arc<State>,
    volleys: UnboundedSender<Vec<EngineEvent>>,
    subscribers: Vec<Subscription>,
    members: Vec<Member>,
    /// How many things happened.
    happened: u64,
    /// Whose turn it is.
    turn: usize,
}

struct Member {
    id: ContainerId,
    pid: u32,
    paused: bool,
}

impl World {
    pub(crate) fn new(size: usize, subscribers: usize) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let (volleys, events) = unbounded_channel();
        let alive: Vec<_> = (0..size).map(population::container).collect();
        let member = |container: &Container| Member {
            id: container.id().clone(),
            pid: container.pid(),
            paused: container.paused(),
        };
        let members = alive.iter().map(member).collect();
        let alive = alive.into_iter().map(|container| (container.id().clone(), container)).collect();
        let state = Arc::new(State { alive: Mutex::new(alive), events: Mutex::new(Some(events)) });
        // The timers ask about everything now and then, which would be measured in some rounds and not in others.
        let settings = Settings::default().with_audits(None).with_probes(None, Duration::from_secs(1));
        let watching = runtime.block_on(async {
            let watching = watch_with(Client(state.clone()), settings);
            watching.ready().await.map(|_| watching)
        })?;
        let subscribers = (0..subscribers).map(|_| watching.subscribe().1).collect();
        Ok(Self { runtime, watching, state, volleys, subscribers, members, happened: 0, turn: 0 })
    }

    pub(crate) fn watching(&self) -> &WatchHandle<impl EngineClient + use<>> {
        &self.watching
    }

    /// Pauses or unpauses the next so many containers, in no order of theirs: a change each.
    pub(crate) fn pauses(&mut self, count: usize) -> Vec<EngineEvent> {
        (0..count)
            .map(|_| {
                let at = self.now();
                let member = self.next();
                let id = member.id.clone();
                member.paused = !member.paused;
                match member.paused {
                    true => EngineEvent::Paused { id, at },
                    false => EngineEvent::Unpaused { id, at },
                }
            })
            .collect()
    }

    /// Ends the lives of the next so many containers; and then begins others of the same: a change each, the
    /// latter with an inspection.
    pub(crate) fn restarts(&mut self, count: usize) -> [Vec<EngineEvent>; 2] {
        let (mut ends, mut starts) = (Vec::new(), Vec::new());
        let mut alive = Vec::new();
        for _ in 0..count {
            let (end, start) = (self.now(), self.now());
            let member = self.next();
            let id = member.id.clone();
            let former = member.pid;
            member.pid = former.wrapping_add(100_000).max(1);
            ends.push(EngineEvent::Exited { id: id.clone(), pid: Some(former), at: end, code: Some(0) });
            let pid = Some(member.pid);
            alive.push((id.clone(), member.pid, start));
            starts.push(EngineEvent::Started { id, at: start, pid, preview: None });
        }
        let mut known = self.state.alive();
        for (id, pid, started_at) in alive {
            if let Some(container) = known.get_mut(&id) {
                *container = Container::new(id, container.name(), pid)
                    .with_labels(container.labels().clone())
                    .with_started_at(started_at);
            }
        }
        [ends, starts]
    }

    /// Emits each volley of events when each subscriber has received the changes of the one before, and
    /// returns when all have received those of the last one.
    pub(crate) fn play(&mut self, volleys: Vec<Vec<EngineEvent>>) -> Result<()> {
        let (sender, mut subscribers) = (self.volleys.clone(), take(&mut self.subscribers));
        // In a task: a runtime wakes what it blocks on by a system call, which would be counted with each volley.
        let playing = self.runtime.spawn(async move {
            for volley in volleys {
                let count = volley.len();
                sender.send(volley).ok().context("the watch has ended")?;
                try_join_all(subscribers.iter_mut().map(|subscriber| read(subscriber, count))).await?;
            }
            anyhow::Ok(subscribers)
        });
        self.subscribers = self.runtime.block_on(playing).context("playing ended early")??;
        Ok(())
    }

    fn now(&mut self) -> Option<SystemTime> {
        self.happened += 1;
        Some(population::beginning() + Duration::from_micros(self.happened))
    }

    fn next(&mut self) -> &mut Member {
        let at = scattered(&mut self.turn, self.members.len());
        &mut self.members[at]
    }
}

/// Waits until a subscriber has received so many changes.
async fn read(subscriber: &mut Subscription, count: usize) -> Result<()> {
    for _ in 0..count {
        let event = subscriber.next().await.context("the subscription ended")?;
        ensure!(event.container().is_some(), "a subscriber received {event}");
    }
    Ok(())
}

/// Returns each number once, scattered, before it returns any again.
fn scattered(turn: &mut usize, size: usize) -> usize {
    // A prime that is no divisor of any size here.
    const STEP: usize = 7919;
    *turn += 1;
    turn.wrapping_mul(STEP) % size
}
