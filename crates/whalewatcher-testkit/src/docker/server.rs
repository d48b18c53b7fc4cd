//! The server, as a test drives it.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::counting::Counting;

use super::{
    Arrival, Builder, Clock, ContainerSpec, Error, Event, Fate, Gate, HookId, Kind, Request, Stats, Update,
    Verdict,
    container::Alive,
    engine::Engine,
    hooks::Hooks,
    identity::Identity,
    listening::{Address, Connections, Listening},
};

/// An engine that serves Docker's API on a socket. Clones are the same server; dropping the last one closes all
/// connections and removes the socket.
///
/// Containers are named as in Docker: by ID, by name, or by the beginning of an ID. The methods neither block nor
/// wait, except for those that are `async`, and may be called from any thread.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
    listening: Arc<Listening>,
}

/// The state that the server and its connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) hooks: Hooks,
    pub(super) stats: Counting<Stats>,
    pub(super) connections: Connections,
    identity: Mutex<Arc<Identity>>,
}

impl Shared {
    pub(super) fn new(engine: Engine, identity: Identity, hooks: Hooks, stats: Counting<Stats>) -> Arc<Self> {
        let identity = Mutex::new(Arc::new(identity));
        Arc::new(Self { engine, hooks, stats, connections: Connections::default(), identity })
    }

    pub(super) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn disconnect(&self) {
        // At once, because connections are only closed when they are next polled.
        self.engine.lock().deregister_all();
        self.connections.close_all();
    }
}

/// Creation and addresses.
impl Server {
    /// Returns a builder; by default it builds Docker 28.5.2 on a socket of its own.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn listen(
        shared: Arc<Shared>,
        runtime: Handle,
        address: Address,
        folder: Option<TempDir>,
    ) -> Result<Self, Error> {
        let listening = Listening::new(Arc::clone(&shared), runtime, address, folder)?;
        Ok(Self { shared, listening: Arc::new(listening) })
    }

    /// Returns the endpoint, in the form of `DOCKER_HOST`: `unix:///…/docker.sock`.
    pub fn endpoint(&self) -> String {
        self.listening.address().unix_endpoint()
    }

    /// Returns the path of the socket.
    pub fn socket(&self) -> PathBuf {
        self.listening.address().socket
    }

    /// Returns the TCP endpoint, if the server listens on one: `tcp://127.0.0.1:…`.
    pub fn tcp_endpoint(&self) -> Option<String> {
        self.listening.address().tcp_endpoint()
    }

    /// Returns the engine's ID.
    pub fn id(&self) -> String {
        self.shared.identity().id.clone()
    }

    /// Returns the engine's clock.
    pub fn clock(&self) -> Clock {
        self.shared.engine.clock.clone()
    }
}

/// Containers. Each call causes the same events as in Docker, in the same order.
///
/// # Errors
///
/// [`Error::NotFound`] and [`Error::Ambiguous`] without such a container, [`Error::Impossible`] if it is in
/// no state for the call.
impl Server {
    /// Creates a container and returns its ID of 64 hexadecimal digits. Event: `create`.
    pub fn create(&self, spec: impl Into<ContainerSpec>) -> Result<String, Error> {
        self.shared.engine.lock().create(spec.into()).map(|id| id.to_string())
    }

    /// Creates a container, starts it, and returns its ID. Events: `create`, `start`.
    pub fn run(&self, spec: impl Into<ContainerSpec>) -> Result<String, Error> {
        let mut engine = self.shared.engine.lock();
        let id = engine.create(spec.into())?;
        engine.start(&id)?;
        Ok(id.to_string())
    }

    /// Starts a container that has no process, including one that waits for its restart: only this ends its waiting.
    /// Event: `start`.
    pub fn start(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().start(container)
    }

    /// Ends a container's process with this exit code. By its restart policy the container may then be `restarting`
    /// (which Docker counts as running, though without a process) until [`start`](Self::start) is called. Event:
    /// `die`, and `destroy` if the container is to be removed after its exit.
    pub fn exit(&self, container: &str, code: i32) -> Result<(), Error> {
        self.shared.engine.lock().exit(container, code)
    }

    /// Sends a signal to a container's process, which ends if the default action of the signal is to end it. Events:
    /// `kill`, then perhaps `die` (and `destroy`).
    pub fn kill(&self, container: &str, signal: u8) -> Result<(), Error> {
        self.shared.engine.lock().kill(container, signal)
    }

    /// Stops a container, or ends its waiting for a restart. Events: `kill`, `stop`, `die` (and `destroy`).
    pub fn stop(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().stop(container)
    }

    /// Stops a container if it is alive and starts it: the ID stays, PID and start time are new. Events: `kill`,
    /// `stop`, `die`, `start`, `restart`.
    pub fn restart(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().restart(container)
    }

    /// Pauses a running container. Event: `pause`.
    pub fn pause(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().pause(container)
    }

    /// Unpauses a container. Event: `unpause`.
    pub fn unpause(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().unpause(container)
    }

    /// Renames a container. Event: `rename` with `oldName`, which has its slash.
    pub fn rename(&self, container: &str, name: &str) -> Result<(), Error> {
        self.shared.engine.lock().rename(container, name)
    }

    /// Updates a container. Event: `update`.
    pub fn update(&self, container: &str, update: Update) -> Result<(), Error> {
        self.shared.engine.lock().update(container, update)
    }

    /// Removes a container by force. Events: `kill` and `die` if it was alive, `destroy`.
    pub fn remove(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().remove(container)
    }

    /// Runs `/bin/sh -c true` in a container. Events: `exec_create: …`, `exec_start: …`, `exec_die`.
    pub fn exec(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().exec(container)
    }

    /// Sets the result of a container's health check, such as `healthy`. Event: `health_status: …` if it is
    /// another one; of podman `health_status`, before the result.
    pub fn health(&self, container: &str, health: &str) -> Result<(), Error> {
        self.shared.engine.lock().health(container, health)
    }

    /// Connects a container to a network, with this address while it is alive. Event, if it is alive:
    /// `connect`, of the network.
    pub fn connect(&self, container: &str, network: &str, address: Ipv4Addr) -> Result<(), Error> {
        self.shared.engine.lock().connect(container, network, address)
    }

    /// Disconnects a container from a network. Event, if it is alive: `disconnect`, of the network.
    pub fn disconnect(&self, container: &str, network: &str) -> Result<(), Error> {
        self.shared.engine.lock().disconnect(container, network)
    }

    /// Reports that a process of a container was killed for lack of memory; the container lives on until
    /// [`exit`](Self::exit). Event: `oom`.
    pub fn oom(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().oom(container)
    }

    /// Shows this status in lists and inspections until the container next changes its state. podman has some that
    /// Docker's clients do not know, such as `stopping`. No event. The PID and [`truth`](Self::truth) stay as they
    /// are.
    pub fn set_status(&self, container: &str, status: &str) -> Result<(), Error> {
        self.shared.engine.lock().set_status(container, status)
    }

    /// Returns the containers that are alive now, in no particular order.
    pub fn truth(&self) -> Vec<Alive> {
        self.shared.engine.lock().truth()
    }
}

/// Other events, and faults of events.
impl Server {
    /// Emits an event of any kind, such as of a network or an image, and records it.
    pub fn emit(&self, kind: &str, action: &str, actor: &str, attributes: BTreeMap<String, String>) {
        self.shared.engine.lock().emit(kind, action, actor, attributes);
    }

    /// Sends these bytes to every event stream, whatever its parameters, without recording them. A line that is meant
    /// to be an event needs its `\n`.
    pub fn emit_raw(&self, line: impl Into<Bytes>) {
        self.shared.engine.lock().emit_line(&line.into());
    }

    /// Adds a hook that decides about each event; of several, the first that does not return [`Fate::Deliver`]
    /// decides. It runs while the engine is locked, so it must not call the server.
    pub fn on_event(&self, decide: impl FnMut(&Event) -> Fate + Send + 'static) {
        self.shared.engine.lock().decide_fates(Box::new(decide));
    }
}

/// Requests and answers.
impl Server {
    /// Adds a hook that decides about each request before it is handled. Hooks are called in the order in which they
    /// were added, up to one that returns neither [`Pass`](Verdict::Pass) nor [`Hold`](Verdict::Hold).
    pub fn on_request(&self, hook: impl Fn(&Request) -> Verdict + Send + Sync + 'static) -> HookId {
        self.shared.hooks.on_call(Arc::new(hook))
    }

    /// Adds a hook that decides about each answer, given its status. The answer contains what was true when it was
    /// computed, however long it is held back; only the headers of an event stream are held back.
    pub fn on_answer(&self, hook: impl Fn(&Request, u16) -> Verdict + Send + Sync + 'static) -> HookId {
        self.shared.hooks.on_answer(Arc::new(hook))
    }

    /// Removes a hook. What it holds back stays held.
    pub fn remove_hook(&self, hook: HookId) {
        self.shared.hooks.remove(hook);
    }

    /// Adds a hook with this verdict about requests of this kind.
    pub fn on(&self, kind: Kind, verdict: Verdict) -> HookId {
        self.on_request(move |request| if request.kind() == kind { verdict.clone() } else { Verdict::Pass })
    }

    /// Holds requests of this kind until the returned gate is open. They are answered with what is true then.
    pub fn hold(&self, kind: Kind) -> Gate {
        let gate = Gate::closed();
        self.on(kind, Verdict::Hold(gate.clone()));
        gate
    }

    /// Holds the answers to requests of this kind until the returned gate is open. They contain what was true before.
    pub fn hold_answers(&self, kind: Kind) -> Gate {
        let gate = Gate::closed();
        let verdict = Verdict::Hold(gate.clone());
        self.on_answer(
            move |request, _| if request.kind() == kind { verdict.clone() } else { Verdict::Pass },
        );
        gate
    }

    /// Sends the headers of event streams from now on, but registers the streams with the engine only when the
    /// returned gate is open. It replaces the gate of an earlier call.
    pub fn hold_registrations(&self) -> Gate {
        self.shared.hooks.hold_subscriptions()
    }

    /// Resolves with the first such request that arrives after this call (not after its first poll). There is no time
    /// limit.
    pub fn arrival(&self, wanted: impl Fn(&Request) -> bool + Send + 'static) -> Arrival<Request> {
        self.shared.hooks.arrival(Box::new(wanted))
    }

    /// Returns the statistics.
    pub fn stats(&self) -> Stats {
        self.shared.stats.now()
    }

    /// Resolves once the statistics match, with these. There is no time limit.
    pub async fn until(&self, wanted: impl FnMut(&Stats) -> bool) -> Stats {
        self.shared.stats.until(wanted).await
    }

    /// Resolves once at least so many event streams are registered. There is no time limit.
    pub async fn until_listeners(&self, count: usize) {
        self.until(|stats| stats.listeners >= count).await;
    }

    /// Returns how many events skipped listeners that were too slow; each listener counts.
    pub fn skipped(&self) -> u64 {
        self.shared.engine.lock().skipped()
    }
}

/// Faults.
impl Server {
    /// Ends all event streams as if they were complete; their connections stay, and new streams work as usual.
    pub fn end_events(&self) {
        self.shared.engine.lock().end_events();
    }

    /// Closes all connections; new ones are accepted.
    pub fn disconnect_all(&self) {
        self.shared.disconnect();
    }

    /// Stops the engine: the socket file is removed, all connections are closed. Containers live on, and can be
    /// driven unobserved. Resolves when no socket is open.
    pub async fn stop_listening(&self) {
        for task in self.listening.end() {
            // An error means that the task was aborted, as intended.
            let _ = task.await;
        }
        self.shared.disconnect();
        self.until(|stats| stats.open == 0).await;
    }

    /// Starts the engine again with a new socket file (and its old TCP port), without recorded events, and with its
    /// containers as they are (`live-restore`). Does nothing if the engine listens.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`] if the sockets cannot be made again.
    pub fn listen_again(&self) -> Result<(), Error> {
        self.listening.begin_after(|| self.shared.engine.lock().forget_events())
    }

    /// Sets the engine's version and its newest and oldest API versions, as after an upgrade. Best called while the
    /// engine does not listen.
    pub fn set_version(&self, version: &str, api_newest: &str, api_oldest: &str) {
        let mut identity = self.shared.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = Arc::make_mut(&mut identity);
        version.clone_into(&mut identity.version);
        api_newest.clone_into(&mut identity.api);
        api_oldest.clone_into(&mut identity.api_min);
    }
}
