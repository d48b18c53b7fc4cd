//! The server as a test holds it: where it listens, what it says of itself, calls and answers, faults.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tonic::Code;

use crate::{
    clock::Clock,
    containerd::{self, Beneath},
    counting::Counting,
    gate::Gate,
    grpc::{Hooks, Listening, driven},
};

use super::{
    Arrival, Builder, Call, Error, Flavour, HookId, Method, Reception, Stats, Verdict, engine::Engine,
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
}

fn verdict_for(call: &Call, method: Method, id: Option<&str>, verdict: &Verdict) -> Verdict {
    let meant = call.method() == method && id.is_none_or(|id| call.id() == Some(id));
    if meant { verdict.clone() } else { Verdict::Pass }
}

driven!();
