//! What the hub and the clients of its engines share: the mirror, and the events on their way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Notify, watch};
use whalewatcher_core::{EngineError, ErrorKind};

use super::outbox::Outbox;
use crate::mirror::{Effect, EngineName, Link, Mirror, MirroredEngine, MirroredHost};

/// What the hub and the clients of its engines share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    status: watch::Sender<HubStatus>,
    /// The URL of the cluster, without a slash at its end.
    pub(super) cluster: String,
}

/// Whether the hub knows what etcd holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HubStatus {
    /// It has not read anything yet.
    Connecting,
    /// It has read everything, and follows all changes.
    Live,
    /// It cannot read etcd. The engines are as they were last known, and disconnected.
    Disconnected {
        /// Why.
        error: Arc<EngineError>,
    },
    /// It was dropped.
    Closed,
}

#[derive(Debug, Default)]
struct State {
    mirror: Mirror,
    /// Why nothing can be said of any engine; `None` while the watch runs.
    down: Option<Arc<EngineError>>,
    engines: BTreeMap<EngineName, Connections>,
}

/// What waits for news of an engine.
#[derive(Debug, Default)]
struct Connections {
    outboxes: Vec<Weak<Outbox>>,
    /// Notified when the engine is live.
    live: Arc<Notify>,
}

/// What the hub has to do about the members of the fleet, and whether the mirror has to be made again.
#[derive(Debug, Default)]
pub(super) struct Todo {
    pub(super) joined: Vec<EngineName>,
    pub(super) left: Vec<EngineName>,
    pub(super) drift: usize,
}

impl Shared {
    pub(super) fn new(cluster: String) -> Self {
        let down = Arc::new(EngineError::new(ErrorKind::Disconnected, "nothing was read of etcd yet"));
        let state = State { down: Some(down), ..State::default() };
        Self { state: Mutex::new(state), status: watch::Sender::new(HubStatus::Connecting), cluster }
    }

    pub(super) fn status(&self) -> watch::Receiver<HubStatus> {
        self.status.subscribe()
    }

    /// Reads the mirror.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Mirror) -> T) -> T {
        read(&self.lock().mirror)
    }

    /// Changes the mirror, and passes on what that means.
    pub(super) fn update(&self, update: impl FnOnce(&mut Mirror)) -> Todo {
        let mut state = self.lock();
        let State { mirror, down, engines } = &mut *state;
        update(mirror);
        let mut todo = Todo::default();
        for effect in mirror.take_effects() {
            match effect {
                Effect::Joined(name) => {
                    engines.entry(name.clone()).or_default();
                    todo.joined.push(name);
                }
                Effect::Left(name) => {
                    if let Some(connections) = engines.remove(&name) {
                        connections.end(&gone(&name));
                    }
                    todo.left.push(name);
                }
                Effect::Link(name) => {
                    if let Some(connections) = engines.get(&name) {
                        connections.end(&relinked(mirror, &name));
                        if down.is_none() && link_in(mirror, &name) == Link::Live {
                            connections.live.notify_waiters();
                        }
                    }
                }
                Effect::Event(name, event) => {
                    if let Some(connections) = engines.get_mut(&name) {
                        connections.outboxes.retain(|outbox| outbox.strong_count() > 0);
                        for outbox in connections.outboxes.iter().filter_map(Weak::upgrade) {
                            outbox.push(event.clone());
                        }
                    }
                }
                Effect::Drift(drift) => todo.drift += drift,
            }
        }
        todo
    }

    /// Notes that the mirror is what etcd holds.
    pub(super) fn set_up(&self) {
        let mut state = self.lock();
        let State { mirror, down, engines } = &mut *state;
        if down.take().is_some() {
            for (name, connections) in engines {
                if link_in(mirror, name) == Link::Live {
                    connections.live.notify_waiters();
                }
            }
        }
    }

    /// Notes that the members of the fleet are those that etcd has.
    pub(super) fn set_settled(&self) {
        self.set_status(HubStatus::Live);
    }

    /// Notes that nothing is known of what etcd holds now.
    pub(super) fn set_down(&self, error: &Arc<EngineError>) {
        self.disconnect(error);
        self.set_status(HubStatus::Disconnected { error: error.clone() });
    }

    /// Notes that the hub was dropped.
    pub(super) fn close(&self) {
        let message = "what hosts publish is not followed any more";
        self.disconnect(&Arc::new(EngineError::new(ErrorKind::Disconnected, message)));
        self.set_status(HubStatus::Closed);
    }

    fn disconnect(&self, error: &Arc<EngineError>) {
        let mut state = self.lock();
        for connections in state.engines.values() {
            connections.end(error);
        }
        state.down = Some(error.clone());
    }

    fn set_status(&self, status: HubStatus) {
        self.status.send_if_modified(|now| {
            let is_same = *now == status;
            *now = status;
            !is_same
        });
    }

    /// Reads what is known of an engine that is live.
    ///
    /// # Errors
    ///
    /// If it is not live: why.
    pub(super) fn live<T>(
        &self,
        name: &EngineName,
        read: impl FnOnce(&Mirror, &MirroredHost, &MirroredEngine) -> T,
    ) -> Result<T, EngineError> {
        self.lock().live(name, read)
    }

    /// Returns a connection to an engine that is live: what is known of it, and the events from then on.
    ///
    /// # Errors
    ///
    /// If it is not live: why.
    pub(super) fn connect<T>(
        &self,
        name: &EngineName,
        read: impl FnOnce(&Mirror, &MirroredHost, &MirroredEngine) -> T,
    ) -> Result<(T, Arc<Outbox>), EngineError> {
        let mut state = self.lock();
        let read = state.live(name, read)?;
        let outbox = Arc::new(Outbox::default());
        let connections = state.engines.entry(name.clone()).or_default();
        connections.outboxes.retain(|outbox| outbox.strong_count() > 0);
        connections.outboxes.push(Arc::downgrade(&outbox));
        Ok((read, outbox))
    }

    /// Resolves when an engine is live.
    pub(super) async fn until_live(&self, name: &EngineName) {
        loop {
            let live = self.lock().engines.get(name).map(|connections| connections.live.clone());
            // It is not published: the client is about to be dropped.
            let Some(live) = live else { return std::future::pending().await };
            let mut notified = std::pin::pin!(live.notified());
            notified.as_mut().enable();
            if self.live(name, |_, _, _| ()).is_ok() {
                return;
            }
            notified.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn live<T>(
        &self,
        name: &EngineName,
        read: impl FnOnce(&Mirror, &MirroredHost, &MirroredEngine) -> T,
    ) -> Result<T, EngineError> {
        let copy = |error: &EngineError| EngineError::new(error.kind(), error.to_string());
        if let Some(error) = &self.down {
            return Err(copy(error));
        }
        let Some((host, engine)) = self.mirror.engine(name) else { return Err(copy(&gone(name))) };
        match host.link(&name.host, engine) {
            Link::Live => Ok(read(&self.mirror, host, engine)),
            Link::Down(error) => Err(copy(&error)),
        }
    }
}

impl Connections {
    fn end(&self, error: &Arc<EngineError>) {
        for outbox in self.outboxes.iter().filter_map(Weak::upgrade) {
            outbox.end(error.clone());
        }
    }
}

fn link_in(mirror: &Mirror, name: &EngineName) -> Link {
    match mirror.engine(name) {
        Some((host, engine)) => host.link(&name.host, engine),
        None => Link::Down(gone(name)),
    }
}

fn gone(name: &EngineName) -> Arc<EngineError> {
    let message = format!("host {} does not publish this engine any more", name.host);
    Arc::new(EngineError::new(ErrorKind::Disconnected, message))
}

/// Returns why connections to an engine end whose state changed: it is down, or another one.
fn relinked(mirror: &Mirror, name: &EngineName) -> Arc<EngineError> {
    match link_in(mirror, name) {
        Link::Down(error) => error,
        Link::Live => {
            let message = format!("another engine answers on host {}", name.host);
            Arc::new(EngineError::new(ErrorKind::Disconnected, message))
        }
    }
}
