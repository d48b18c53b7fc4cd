//! The server as a test holds it: where it listens, and everything that a test makes it do.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tonic::Code;

use crate::{
    clock::Clock,
    gate::Gate,
    grpc::{Counting, Hooks, Listening},
};

use super::{
    Arrival, Builder, Call, ContainerSpec, Error, Event, Fate, Flavour, HookId, Method, Reception, Stats,
    Verdict,
    container::{Alive, Key},
    engine::Engine,
};

/// An engine that serves containerd's API on a unix socket. Clones are the same server; when the last one is
/// dropped, it closes all connections and removes its socket.
///
/// Containers are named to it by a key: `NAMESPACE/ID`, or just the ID in namespace `default`. Its methods neither
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
    pub(super) hooks: Hooks<Call>,
    pub(super) stats: Counting<Stats>,
    identity: Mutex<Arc<Identity>>,
}

/// What the engine says about itself.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) flavour: Flavour,
    pub(super) uuid: String,
    pub(super) version: String,
    pub(super) revision: String,
    pub(super) pid: u64,
    pub(super) pid_namespace: u64,
    pub(super) largest_message: usize,
}

impl Shared {
    pub(super) fn new(engine: Engine, identity: Identity, hooks: Hooks<Call>) -> Arc<Self> {
        Arc::new(Self { engine, hooks, stats: Counting::default(), identity: Mutex::new(Arc::new(identity)) })
    }

    pub(super) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn change_identity(&self, change: impl FnOnce(&mut Identity)) {
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut identity));
    }
}

/// Starting, and where it is.
impl Server {
    /// Makes a server; without more being said, one that plays containerd 2.1 on a socket of its own.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn new(shared: Arc<Shared>, listening: Arc<Listening>) -> Self {
        Self { shared, listening }
    }

    /// Where it listens: `unix:///…/containerd.sock`.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.listening.socket().display())
    }

    /// The path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.listening.socket().to_owned()
    }

    /// The engine's UUID.
    pub fn uuid(&self) -> String {
        self.shared.identity().uuid.clone()
    }

    /// The engine's clock.
    pub fn clock(&self) -> Clock {
        self.shared.engine.clock.clone()
    }
}

/// Driving containers. Each call makes the events that containerd makes, in its order.
impl Server {
    /// Makes a container without a task, and its namespace if there is none, and returns its key. Event:
    /// `/containers/create`.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyExists`].
    pub fn create(&self, spec: impl Into<ContainerSpec>) -> Result<String, Error> {
        self.shared.engine.lock().create(spec.into()).map(|key| key.to_string())
    }

    /// Makes a container, starts it, and returns its key. Events: `/containers/create`, `/tasks/create`,
    /// `/tasks/start`.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyExists`].
    pub fn run(&self, spec: impl Into<ContainerSpec>) -> Result<String, Error> {
        let mut engine = self.shared.engine.lock();
        let key = engine.create(spec.into())?;
        engine.start(&key)?;
        Ok(key.to_string())
    }

    /// Makes a task that is not started yet: it has a process, but is not alive. Returns the PID. Event:
    /// `/tasks/create`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::HasTask`].
    pub fn create_task(&self, container: &str) -> Result<u32, Error> {
        self.shared.engine.lock().create_task(&Key::new(container))
    }

    /// Starts the task, after making it if there is none, and returns the PID. Events: `/tasks/create` if it is
    /// made, `/tasks/start`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::HasTask`] if it was started before.
    pub fn start(&self, container: &str) -> Result<u32, Error> {
        self.shared.engine.lock().start(&Key::new(container))
    }

    /// Starts the task, which ends with this code so soon that the exit event precedes the start event. Events:
    /// `/tasks/create` if it is created, `/tasks/exit`, `/tasks/start`.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_and_exit(&self, container: &str, code: u32) -> Result<(), Error> {
        self.shared.engine.lock().start_and_exit(&Key::new(container), code)
    }

    /// Its process ends with this code. The task stays, stopped, until it is deleted. Event: `/tasks/exit`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::NoTask`], [`Error::NotRunning`].
    pub fn exit(&self, container: &str, code: u32) -> Result<(), Error> {
        self.shared.engine.lock().exit(&Key::new(container), code)
    }

    /// Deletes the task, which must not be alive. Event: `/tasks/delete`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::NoTask`], [`Error::Alive`].
    pub fn delete_task(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().delete_task(&Key::new(container))
    }

    /// Removes a container by force. Events: `/tasks/exit` if it was alive, `/tasks/delete` if it had a task,
    /// `/containers/delete`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`].
    pub fn remove(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().remove(&Key::new(container))
    }

    /// Pauses a container that runs, or is pausing. Event: `/tasks/paused`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::NoTask`], [`Error::NotRunning`], [`Error::Paused`].
    pub fn pause(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().pause(&Key::new(container))
    }

    /// Begins to pause a container; [`pause`](Self::pause) is the end of it. No event.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    pub fn begin_pausing(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().begin_pausing(&Key::new(container))
    }

    /// Lets a paused container run again. Event: `/tasks/resumed`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::NoTask`], [`Error::NotRunning`], [`Error::NotPaused`].
    pub fn resume(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().resume(&Key::new(container))
    }

    /// Another process runs in a container and ends with this code; the container lives on. Events:
    /// `/tasks/exec-added`, `/tasks/exec-started`, and `/tasks/exit` with this ID.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::NoTask`], [`Error::NotRunning`], [`Error::Paused`].
    pub fn exec(&self, container: &str, id: &str, code: u32) -> Result<(), Error> {
        self.shared.engine.lock().exec(&Key::new(container), id, code)
    }

    /// It runs out of memory, and lives on. Event: `/tasks/oom`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`], [`Error::NoTask`], [`Error::NotRunning`].
    pub fn run_out_of_memory(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().run_out_of_memory(&Key::new(container))
    }

    /// Gives a label another value, or removes it. Renaming is that: the name is the label `nerdctl/name`. Event:
    /// `/containers/update` with all labels.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchContainer`].
    pub fn set_label(&self, container: &str, label: &str, value: Option<&str>) -> Result<(), Error> {
        self.shared.engine.lock().set_label(&Key::new(container), label, value)
    }

    /// What is alive at this moment, by namespace and ID.
    pub fn truth(&self) -> Vec<Alive> {
        self.shared.engine.lock().truth()
    }
}

/// Namespaces. Containers bring theirs with them.
impl Server {
    /// Makes a namespace. Event, unless there is one: `/namespaces/create`.
    pub fn create_namespace(&self, name: &str) {
        self.shared.engine.lock().create_namespace(name);
    }

    /// Deletes a namespace. Event, if there is one: `/namespaces/delete`.
    ///
    /// # Errors
    ///
    /// [`Error::NotEmpty`].
    pub fn delete_namespace(&self, name: &str) -> Result<(), Error> {
        self.shared.engine.lock().delete_namespace(name)
    }
}

/// Events other than those of containers, and events that go wrong.
impl Server {
    /// Sends an event of any topic with any bytes for its message.
    pub fn emit(&self, namespace: &str, topic: &str, type_url: &str, value: impl Into<Vec<u8>>) {
        let mut event = Event::of(namespace, topic, &prost_types::Any::default());
        type_url.clone_into(&mut event.type_url);
        event.value = value.into();
        self.shared.engine.lock().emit(event);
    }

    /// Has this decide about each event from now on; of several, the first that does not say
    /// [`Fate::Deliver`] decides. It is called in the middle of what happens, so it must not call the server.
    pub fn on_event(&self, decide: impl FnMut(&Event) -> Fate + Send + 'static) {
        self.shared.engine.lock().fates().decide(Box::new(decide));
    }

    /// The next event of this topic silently vanishes.
    pub fn lose_next(&self, topic: &str) {
        let topic = topic.to_owned();
        self.shared.engine.lock().fates().lose_next(Box::new(move |event| event.topic == topic));
    }
}

/// Calls and answers.
impl Server {
    /// Has this decide about each call before it is looked at. Hooks are asked in the order of their coming, up to
    /// one that does neither [`Pass`](Verdict::Pass) nor [`Hold`](Verdict::Hold).
    pub fn on_call(&self, hook: impl Fn(&Call) -> Verdict + Send + Sync + 'static) -> HookId {
        self.shared.hooks.on_call(Arc::new(hook))
    }

    /// Has this decide about each answer, of which it sees the status. The answer says what was true when it was
    /// computed, however long it is held back. A subscription is answered when it has its first event.
    pub fn on_answer(&self, hook: impl Fn(&Call, Code) -> Verdict + Send + Sync + 'static) -> HookId {
        self.shared.hooks.on_answer(Arc::new(hook))
    }

    /// Asks this hook no more. What it holds back already stays so.
    pub fn remove_hook(&self, hook: HookId) {
        self.shared.hooks.remove(hook);
    }

    /// Adds a hook with this verdict about calls of this method.
    pub fn on(&self, method: Method, verdict: Verdict) -> HookId {
        self.on_call(move |call| if call.method() == method { verdict.clone() } else { Verdict::Pass })
    }

    /// Holds calls of this method until the returned gate is open. They are answered with what is true then.
    pub fn hold(&self, method: Method) -> Gate {
        let gate = Gate::closed();
        self.on(method, Verdict::Hold(gate.clone()));
        gate
    }

    /// Holds the answers to calls of this method until the returned gate is open. They contain what was true before.
    pub fn hold_answers(&self, method: Method) -> Gate {
        let gate = Gate::closed();
        let verdict = Verdict::Hold(gate.clone());
        self.on_answer(move |call, _| if call.method() == method { verdict.clone() } else { Verdict::Pass });
        gate
    }

    /// From now on subscriptions are registered with the engine only when the gate returned is open. It replaces
    /// the gate of an earlier call.
    pub fn hold_subscriptions(&self) -> Gate {
        let gate = Gate::closed();
        self.shared.hooks.hold_subscriptions(gate.clone());
        gate
    }

    /// From now on subscribers, also those there are, get no event while the gate returned is closed, but all of
    /// them once it is open. It replaces the gate of an earlier call.
    pub fn stall_streams(&self) -> Gate {
        let gate = Gate::closed();
        self.shared.hooks.stall_streams(gate.clone());
        gate
    }

    /// Resolves with the first such call that arrives after this one (not after its first poll). It waits for as
    /// long as that takes.
    pub fn arrival(&self, wanted: impl Fn(&Call) -> bool + Send + 'static) -> Arrival<Call> {
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

    /// Resolves once at least so many subscriptions are registered, however long that takes.
    pub async fn until_subscriptions(&self, count: usize) {
        self.until(|stats| stats.subscriptions >= count).await;
    }
}

/// Faults.
impl Server {
    /// Closes all connections; new ones are taken.
    pub fn disconnect_all(&self) {
        self.listening.close_all();
    }

    /// New connections are received so from now on; those there are stay as they are.
    pub fn receive(&self, reception: Reception) {
        self.listening.receive(reception);
    }

    /// The engine goes away: the socket file is removed, all connections are closed. Its shims and containers live
    /// on, and can be changed meanwhile. Resolves when no socket is left open.
    pub async fn stop_listening(&self) {
        self.listening.stop().await;
        self.until(|stats| stats.open == 0 && stats.subscriptions == 0).await;
    }

    /// The engine is there again with a new socket file, and its containers are as they are. Nothing happens if it
    /// listens.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`] if the socket cannot be made again.
    pub fn listen_again(&self) -> Result<(), Error> {
        self.listening.begin().map_err(Error::listen)
    }

    /// [`stop_listening`](Self::stop_listening) and [`listen_again`](Self::listen_again): the engine is killed and
    /// started again.
    ///
    /// # Errors
    ///
    /// As `listen_again`.
    pub async fn restart_engine(&self) -> Result<(), Error> {
        self.stop_listening().await;
        self.listen_again()
    }

    /// Sets the version that the engine reports, as if it had been upgraded. Best called while it does
    pub fn set_version(&self, version: &str, revision: &str) {
        self.shared.change_identity(|identity| {
            version.clone_into(&mut identity.version);
            revision.clone_into(&mut identity.revision);
        });
    }
}

#[cfg(feature = "proxy")]
impl crate::faulty::Subject for Server {
    fn endpoint(&self) -> String {
        self.endpoint()
    }

    fn alive(&self) -> Vec<crate::faulty::Known> {
        let known = |Alive { key: id, name, pid, paused, .. }| crate::faulty::Known { id, name, pid, paused };
        self.truth().into_iter().map(known).collect()
    }
}
