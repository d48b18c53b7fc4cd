//! The server as a test holds it: where it listens, and everything that a test makes it do.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::{
    Builder, Clock, ContainerSpec, Error, Event, Fate, Gate, Request, Stats, Update, Verdict,
    container::Alive,
    engine::Engine,
    hooks::{Arrival, HookId, Hooks},
    identity::Identity,
    listening::{Address, Connections, Listening},
    stats::Counting,
};

/// An engine that serves Docker's API on a socket. Clones are the same server; when the last one is dropped, it
/// closes all connections and removes its socket.
///
/// Containers are named to it as to Docker: by ID, by name, or by the beginning of an ID. Its methods neither
/// block nor wait, except for those that are `async`, and may be called from anywhere.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
    listening: Arc<Listening>,
}

/// What the server and its connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) hooks: Hooks,
    pub(super) stats: Counting,
    pub(super) connections: Connections,
    identity: Mutex<Arc<Identity>>,
}

impl Shared {
    pub(super) fn new(engine: Engine, identity: Identity, hooks: Hooks, stats: Counting) -> Arc<Self> {
        let identity = Mutex::new(Arc::new(identity));
        Arc::new(Self { engine, hooks, stats, connections: Connections::default(), identity })
    }

    pub(super) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn disconnect(&self) {
        // At once, for the connections notice only when they are next run.
        self.engine.lock().deregister_all();
        self.connections.close_all();
    }
}

/// Starting, and where it is.
impl Server {
    /// Makes a server; without more being said, one that plays Docker 28.5.2 on a socket of its own.
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

    /// Where it listens, in the form of `DOCKER_HOST`: `unix:///…/docker.sock`.
    pub fn endpoint(&self) -> String {
        self.listening.address().unix_endpoint()
    }

    /// The path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.listening.address().socket
    }

    /// Its TCP port, if it was told to listen on one: `tcp://127.0.0.1:…`.
    pub fn tcp_endpoint(&self) -> Option<String> {
        self.listening.address().tcp_endpoint()
    }

    /// The engine's ID.
    pub fn id(&self) -> String {
        self.shared.identity().id.clone()
    }

    /// The engine's clock.
    pub fn clock(&self) -> Clock {
        self.shared.engine.clock.clone()
    }
}

/// Driving containers. Each call makes the events that Docker makes, in Docker's order.
impl Server {
    /// Makes a container and returns its ID of 64 hexadecimal digits. Event: `create`.
    ///
    /// # Errors
    ///
    /// [`Error::NameInUse`].
    pub fn create(&self, spec: impl Into<ContainerSpec>) -> Result<String, Error> {
        self.shared.engine.lock().create(spec.into()).map(|id| id.to_string())
    }

    /// Makes a container, starts it, and returns its ID. Events: `create`, `start`.
    ///
    /// # Errors
    ///
    /// [`Error::NameInUse`].
    pub fn run(&self, spec: impl Into<ContainerSpec>) -> Result<String, Error> {
        let mut engine = self.shared.engine.lock();
        let id = engine.create(spec.into())?;
        engine.start(&id)?;
        Ok(id.to_string())
    }

    /// Starts a container that has no process, also one that waits for its restart: only this ends its waiting.
    /// Event: `start`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`], [`Error::AlreadyRunning`].
    pub fn start(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().start(container)
    }

    /// Its process ends by itself with this code. If its restart policy says so, it is `restarting` (which
    /// Docker counts as running, though without a process) until [`start`](Self::start) is called. Event: `die`,
    /// and `destroy` if it was made to be removed then.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`], [`Error::NotRunning`].
    pub fn exit(&self, container: &str, code: i32) -> Result<(), Error> {
        self.shared.engine.lock().exit(container, code)
    }

    /// Sends a signal to its process, which ends by those that end a process that does nothing about them.
    /// Events: `kill`, then maybe `die` (and `destroy`).
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`], [`Error::NotRunning`].
    pub fn kill(&self, container: &str, signal: u8) -> Result<(), Error> {
        self.shared.engine.lock().kill(container, signal)
    }

    /// Stops a container, or ends its waiting for a restart. Events: `kill`, `stop`, `die` (and `destroy`).
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`], [`Error::NotRunning`].
    pub fn stop(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().stop(container)
    }

    /// Stops a container if it is alive and starts it: the ID stays, PID and start time are new. Events: `kill`,
    /// `stop`, `die`, `start`, `restart`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`].
    pub fn restart(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().restart(container)
    }

    /// Pauses a running container. Event: `pause`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`], [`Error::NotRunning`], [`Error::Paused`].
    pub fn pause(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().pause(container)
    }

    /// Lets a paused container run again. Event: `unpause`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`], [`Error::NotRunning`], [`Error::NotPaused`].
    pub fn unpause(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().unpause(container)
    }

    /// Gives a container another name. Event: `rename` with `oldName`, which has its slash.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`], [`Error::NameInUse`].
    pub fn rename(&self, container: &str, name: &str) -> Result<(), Error> {
        self.shared.engine.lock().rename(container, name)
    }

    /// Changes what can be changed of a container while it exists. Event: `update`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`].
    pub fn update(&self, container: &str, update: Update) -> Result<(), Error> {
        self.shared.engine.lock().update(container, update)
    }

    /// Removes a container by force. Events: `kill` and `die` if it was alive, `destroy`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`].
    pub fn remove(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().remove(container)
    }

    /// Runs `/bin/sh -c true` in a container, which lives on. Events: `exec_create: …`, `exec_start: …`,
    /// `exec_die`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`], [`Error::NotRunning`], [`Error::Paused`].
    pub fn exec(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().exec(container)
    }

    /// Its health check has this result, such as `healthy`. Event: `health_status: …`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`], [`Error::NotRunning`].
    pub fn health(&self, container: &str, health: &str) -> Result<(), Error> {
        self.shared.engine.lock().health(container, health)
    }

    /// Shows this status in lists and inspections, whatever is true, until the container next changes its state.
    /// podman has some that Docker's clients do not know, such as `stopping`. No event. The PID and
    /// [`truth`](Self::truth) stay as they are.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`].
    pub fn set_status(&self, container: &str, status: &str) -> Result<(), Error> {
        self.shared.engine.lock().set_status(container, status)
    }

    /// What is alive at this moment, in no particular order.
    pub fn truth(&self) -> Vec<Alive> {
        self.shared.engine.lock().truth()
    }
}

/// Events other than those of containers, and events that go wrong.
impl Server {
    /// Sends an event of any kind, such as of a network or an image, and remembers it.
    pub fn emit(&self, kind: &str, action: &str, actor: &str, attributes: BTreeMap<String, String>) {
        self.shared.engine.lock().emit(kind, action, actor, attributes);
    }

    /// Sends these bytes to every event stream, whatever it asked for, and remembers nothing. A line that is
    /// meant to be an event needs its `\n`.
    pub fn emit_raw(&self, line: impl Into<Bytes>) {
        self.shared.engine.lock().emit_line(&line.into());
    }

    /// Has this decide about each event from now on; of several, the first that does not say
    /// [`Fate::Deliver`] decides. It is called in the middle of what happens, so it must not call the server.
    pub fn on_event(&self, decide: impl FnMut(&Event) -> Fate + Send + 'static) {
        self.shared.engine.lock().decide_fates(Box::new(decide));
    }

    /// The next event of this action (up to the colon, if it has one) silently vanishes.
    pub fn lose_next(&self, action: &str) {
        self.shared.engine.lock().lose_next(action);
    }
}

/// Requests and answers.
impl Server {
    /// Has this decide about each request before it is looked at. Hooks are asked in the order of their coming,
    /// up to one that does neither [`Pass`](Verdict::Pass) nor [`Hold`](Verdict::Hold).
    pub fn on_request(&self, hook: impl Fn(&Request) -> Verdict + Send + Sync + 'static) -> HookId {
        self.shared.hooks.on_request(Arc::new(hook))
    }

    /// Has this decide about each answer, of which it sees the status. The answer says what was true when it was
    /// computed, however long it is held back; of event streams, only the headers are.
    pub fn on_answer(&self, hook: impl Fn(&Request, u16) -> Verdict + Send + Sync + 'static) -> HookId {
        self.shared.hooks.on_answer(Arc::new(hook))
    }

    /// Asks this hook no more. What it holds back already stays so.
    pub fn remove_hook(&self, hook: HookId) {
        self.shared.hooks.remove(hook);
    }

    /// From now on event streams get their headers, but are registered with the engine only when the gate
    /// returned is open. It replaces the gate of an earlier call.
    pub fn hold_registrations(&self) -> Gate {
        let gate = Gate::closed();
        self.shared.hooks.hold_registrations(gate.clone());
        gate
    }

    /// Resolves with the first such request that arrives after this call (not after its first poll). It waits
    /// for as long as that takes.
    pub fn arrival(&self, wanted: impl Fn(&Request) -> bool + Send + 'static) -> Arrival {
        self.shared.hooks.arrival(Box::new(wanted))
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats.now()
    }

    /// Resolves once the counts are as wanted, with these counts, however long that takes.
    pub async fn until(&self, wanted: impl FnMut(&Stats) -> bool) -> Stats {
        self.shared.stats.until(wanted).await
    }

    /// Resolves once at least so many event streams are registered, however long that takes.
    pub async fn until_listeners(&self, count: usize) {
        self.until(|stats| stats.listeners >= count).await;
    }

    /// How many events listeners did not get because they were too slow; each listener counts.
    pub fn skipped(&self) -> u64 {
        self.shared.engine.lock().skipped()
    }
}

/// Faults.
impl Server {
    /// Ends all event streams as if they were complete; their connections stay, and new streams are begun as usual.
    pub fn end_events(&self) {
        self.shared.engine.lock().end_events();
    }

    /// Closes all connections; new ones are taken.
    pub fn disconnect_all(&self) {
        self.shared.disconnect();
    }

    /// The engine goes away: the socket file is removed, all connections are closed. Containers live on, and can
    /// be driven without anybody seeing it. Resolves when no socket is left open.
    pub async fn stop_listening(&self) {
        for task in self.listening.end() {
            // An error says that it was aborted, which is what is awaited.
            let _ = task.await;
        }
        self.shared.disconnect();
        self.until(|stats| stats.open == 0).await;
    }

    /// The engine is there again with a new socket file (and its old TCP port) and has forgotten all events.
    /// With `live_restore` its containers are as they were; without, all that were alive have been killed. Those
    /// whose restart policy says so have been started again. Nothing happens if it listens.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`] if the sockets cannot be made again.
    pub fn listen_again(&self, live_restore: bool) -> Result<(), Error> {
        self.listening.begin_after(|| self.shared.engine.lock().come_back(live_restore))
    }

    /// [`stop_listening`](Self::stop_listening) and [`listen_again`](Self::listen_again): the engine is killed and
    /// started again.
    ///
    /// # Errors
    ///
    /// As `listen_again`.
    pub async fn restart_engine(&self, live_restore: bool) -> Result<(), Error> {
        self.stop_listening().await;
        self.listen_again(live_restore)
    }

    /// From now on the engine tells this version of itself and these versions of its API, newest and oldest, as
    /// if it had been upgraded. Best called while it does not listen.
    pub fn set_version(&self, version: &str, api_newest: &str, api_oldest: &str) {
        let mut identity = self.shared.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = Arc::make_mut(&mut identity);
        version.clone_into(&mut identity.version);
        api_newest.clone_into(&mut identity.api);
        api_oldest.clone_into(&mut identity.api_min);
    }
}
