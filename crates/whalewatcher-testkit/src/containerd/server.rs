//! The server as a test holds it: where it listens, and everything that a test makes it do.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    clock::Clock,
    counting::Counting,
    gate::Gate,
    grpc::{Hooks, Listening, driven},
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
///
/// # Errors
///
/// [`Error::NotFound`] without such a container, [`Error::Impossible`] if it is in no state for the call.
impl Server {
    /// Makes a container without a task, and its namespace if there is none, and returns its key. Event:
    /// `/containers/create`.
    pub fn create(&self, spec: impl Into<ContainerSpec>) -> Result<String, Error> {
        self.shared.engine.lock().create(spec.into()).map(|key| key.to_string())
    }

    /// Makes a container, starts it, and returns its key. Events: `/containers/create`, `/tasks/create`,
    /// `/tasks/start`.
    pub fn run(&self, spec: impl Into<ContainerSpec>) -> Result<String, Error> {
        let mut engine = self.shared.engine.lock();
        let key = engine.create(spec.into())?;
        engine.start(&key)?;
        Ok(key.to_string())
    }

    /// Makes a task that is not started yet: it has a process, but is not alive. Returns the PID. Event:
    /// `/tasks/create`.
    pub fn create_task(&self, container: &str) -> Result<u32, Error> {
        self.shared.engine.lock().create_task(&Key::new(container))
    }

    /// Starts the task, after making it if there is none, and returns the PID. Events: `/tasks/create` if it is
    /// made, `/tasks/start`.
    pub fn start(&self, container: &str) -> Result<u32, Error> {
        self.shared.engine.lock().start(&Key::new(container))
    }

    /// Starts the task, which ends with this code so soon that the exit event precedes the start event. Events:
    /// `/tasks/create` if it is created, `/tasks/exit`, `/tasks/start`.
    pub fn start_and_exit(&self, container: &str, code: u32) -> Result<(), Error> {
        self.shared.engine.lock().start_and_exit(&Key::new(container), code)
    }

    /// Its process ends with this code. The task stays, stopped, until it is deleted. Event: `/tasks/exit`.
    pub fn exit(&self, container: &str, code: u32) -> Result<(), Error> {
        self.shared.engine.lock().exit(&Key::new(container), code)
    }

    /// Deletes the task, which must not be alive. Event: `/tasks/delete`.
    pub fn delete_task(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().delete_task(&Key::new(container))
    }

    /// Removes a container by force. Events: `/tasks/exit` if it was alive, `/tasks/delete` if it had a task,
    /// `/containers/delete`.
    pub fn remove(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().remove(&Key::new(container))
    }

    /// Pauses a container that runs, or is pausing. Event: `/tasks/paused`.
    pub fn pause(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().pause(&Key::new(container))
    }

    /// Begins to pause a container; [`pause`](Self::pause) is the end of it. No event.
    pub fn begin_pausing(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().begin_pausing(&Key::new(container))
    }

    /// Lets a paused container run again. Event: `/tasks/resumed`.
    pub fn resume(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().resume(&Key::new(container))
    }

    /// Another process runs in a container and ends with this code; the container lives on. Events:
    /// `/tasks/exec-added`, `/tasks/exec-started`, and `/tasks/exit` with this ID.
    pub fn exec(&self, container: &str, id: &str, code: u32) -> Result<(), Error> {
        self.shared.engine.lock().exec(&Key::new(container), id, code)
    }

    /// It runs out of memory, and lives on. Event: `/tasks/oom`.
    pub fn run_out_of_memory(&self, container: &str) -> Result<(), Error> {
        self.shared.engine.lock().run_out_of_memory(&Key::new(container))
    }

    /// Gives a label another value, or removes it. Renaming is that: the name is the label `nerdctl/name`. Event:
    /// `/containers/update` with all labels.
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

    /// Sets the version that the engine reports, as if it had been upgraded. Best called while it does
    /// not listen.
    pub fn set_version(&self, version: &str, revision: &str) {
        self.shared.change_identity(|identity| {
            version.clone_into(&mut identity.version);
            revision.clone_into(&mut identity.revision);
        });
    }
}

driven!();
