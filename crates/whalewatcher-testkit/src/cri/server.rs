//! The server as a test holds it: where it listens, what it says of itself, calls and answers, faults.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tonic::Code;

use crate::{
    clock::Clock,
    containerd::{self, Beneath},
    gate::Gate,
    grpc::{Counting, Hooks, Listening},
};

use super::{
    Alive, Arrival, Builder, Call, Error, Flavour, HookId, Method, Reception, Stats, Verdict, engine::Engine,
};

/// A runtime that serves the CRI on a unix socket. Clones are the same server; when the last one is dropped, it closes
/// all connections and removes its socket.
///
/// Its methods neither block nor wait, except for those that are `async`, and may be called from anywhere.
#[derive(Clone, Debug)]
pub struct Server {
    pub(super) shared: Arc<Shared>,
    listening: Arc<Listening>,
}

/// What the server and its connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) containerd: Arc<Beneath>,
    pub(super) hooks: Hooks<Call>,
    pub(super) stats: Counting<Stats>,
    pub(super) largest_message: Option<usize>,
    identity: Mutex<Arc<Identity>>,
}

/// What the runtime says about itself.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) runtime_name: String,
    pub(super) runtime_version: String,
}

impl Identity {
    pub(super) fn of(flavour: Flavour) -> Self {
        Self { runtime_name: flavour.runtime_name().into(), runtime_version: flavour.version().into() }
    }
}

impl Shared {
    pub(super) fn new(
        engine: Engine,
        containerd: Arc<Beneath>,
        identity: Identity,
        largest_message: Option<usize>,
        hooks: Hooks<Call>,
    ) -> Arc<Self> {
        let identity = Mutex::new(Arc::new(identity));
        Arc::new(Self { engine, containerd, hooks, stats: Counting::default(), largest_message, identity })
    }

    pub(super) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_identity(&self, identity: Identity) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(identity);
    }
}

/// Construction, address and identity.
impl Server {
    /// Makes a server; without more being said, one that plays containerd 2.1 on a socket of its own.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn new(shared: Arc<Shared>, listening: Arc<Listening>) -> Self {
        Self { shared, listening }
    }

    /// Where it listens: `unix:///…/cri.sock`.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.listening.socket().display())
    }

    /// The path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.listening.socket().to_owned()
    }

    /// The runtime's clock.
    pub fn clock(&self) -> Clock {
        self.shared.containerd.clock()
    }

    /// Sets the name and version that the runtime reports. Nothing else changes.
    pub fn set_version(&self, runtime_name: &str, runtime_version: &str) {
        self.shared.set_identity(Identity {
            runtime_name: runtime_name.into(),
            runtime_version: runtime_version.into(),
        });
    }

    /// From now on it is another runtime, with that one's name, version and ways, but the same sandboxes and
    /// containers. Best called while it does not listen.
    pub fn become_flavour(&self, flavour: Flavour) {
        self.shared.engine.lock().become_flavour(flavour);
        self.shared.set_identity(Identity::of(flavour));
    }

    /// containerd's own API on the same socket, which the flavours of containerd have: its hooks, its counts, its
    /// events. Sandboxes and containers, which are in namespace `k8s.io`, are to be driven here and not there.
    pub fn containerd(&self) -> containerd::Server {
        self.shared.containerd.server(Arc::clone(&self.listening))
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
        self.on_call(move |call| verdict_for(call, method, None, &verdict))
    }

    /// The next so many calls of this method fail.
    pub fn fail_next(&self, method: Method, times: usize, code: Code, message: &str) -> HookId {
        let (left, message) = (AtomicUsize::new(times), message.to_owned());
        self.on_call(move |call| {
            let one_less = |left: usize| left.checked_sub(1);
            let fails = call.method() == method
                && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
            if fails { Verdict::error(code, &message) } else { Verdict::Pass }
        })
    }

    /// Calls of this method for this container or sandbox fail.
    pub fn fail(&self, method: Method, id: &str, code: Code, message: &str) -> HookId {
        let (id, verdict) = (id.to_owned(), Verdict::error(code, message));
        self.on_call(move |call| verdict_for(call, method, Some(&id), &verdict))
    }

    /// Calls of this method, or of those only that ask for this ID, wait until the gate returned is open, and are
    /// answered with what is true then.
    pub fn hold(&self, method: Method, id: Option<&str>) -> Gate {
        let (gate, id) = (Gate::closed(), id.map(str::to_owned));
        let verdict = Verdict::Hold(gate.clone());
        self.on_call(move |call| verdict_for(call, method, id.as_deref(), &verdict));
        gate
    }

    /// As [`hold`](Self::hold), but they are answered with what was true before.
    pub fn hold_answers(&self, method: Method, id: Option<&str>) -> Gate {
        let (gate, id) = (Gate::closed(), id.map(str::to_owned));
        let verdict = Verdict::Hold(gate.clone());
        self.on_answer(move |call, _| verdict_for(call, method, id.as_deref(), &verdict));
        gate
    }

    /// From now on subscriptions are registered with the runtime only when the gate returned is open. It replaces
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

fn verdict_for(call: &Call, method: Method, id: Option<&str>, verdict: &Verdict) -> Verdict {
    let meant = call.method() == method && id.is_none_or(|id| call.id() == Some(id));
    if meant { verdict.clone() } else { Verdict::Pass }
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

    /// The runtime goes away: the socket file is removed, all connections are closed, events that were kept for
    /// subscribers are lost. Its sandboxes and containers live on, and can be changed meanwhile, and
    /// without events. Resolves when no socket is left open.
    pub async fn stop_listening(&self) {
        self.listening.stop().await;
        self.until(|stats| stats.open == 0 && stats.subscriptions == 0).await;
    }

    /// The runtime is there again with a new socket file, and its sandboxes and containers are as they are. Nothing
    /// happens if it listens.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`] if the socket cannot be made again.
    pub fn listen_again(&self) -> Result<(), Error> {
        self.listening.begin().map_err(Error::listen)
    }

    /// [`stop_listening`](Self::stop_listening) and [`listen_again`](Self::listen_again): the runtime is killed and
    /// started again.
    ///
    /// # Errors
    ///
    /// As `listen_again`.
    pub async fn restart_runtime(&self) -> Result<(), Error> {
        self.stop_listening().await;
        self.listen_again()
    }
}

#[cfg(feature = "proxy")]
impl crate::faulty::Subject for Server {
    fn endpoint(&self) -> String {
        self.endpoint()
    }

    fn alive(&self) -> Vec<crate::faulty::Known> {
        let known = |Alive { id, name, pid, .. }| crate::faulty::Known { id, name, pid, paused: false };
        self.truth().into_iter().map(known).collect()
    }

    /// Each ID has one life.
    fn life(id: &str, _: u32) -> Option<String> {
        Some(id.to_owned())
    }
}
