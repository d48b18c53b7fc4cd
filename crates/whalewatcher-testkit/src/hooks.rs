//! Hooks: a test's decisions about calls before they are answered, and about answers before they are sent.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use crate::gate::Gate;

/// A hook's decision.
pub(crate) trait Decision: Sized {
    /// The decision that leaves it to the next hook.
    const PASS: Self;

    /// Whether the next hook decides, and the gate that must be open before.
    fn passes(&self) -> Option<Option<&Gate>>;
}

type CallHook<C, V> = Arc<dyn Fn(&C) -> V + Send + Sync>;
type AnswerHook<C, O, V> = Arc<dyn Fn(&C, O) -> V + Send + Sync>;
type Awaited<C> = (Box<dyn Fn(&C) -> bool + Send>, oneshot::Sender<C>);

/// Names a hook, to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookId(u64);

/// Resolves with the awaited call; see the server's `arrival`.
#[derive(Debug)]
pub struct Arrival<C>(oneshot::Receiver<C>);

impl<C> Future for Arrival<C> {
    type Output = C;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C> {
        match Pin::new(&mut self.0).poll(context) {
            Poll::Ready(Ok(call)) => Poll::Ready(call),
            // The server is gone: no call will arrive.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

/// All hooks of a server: about calls `C`, with the outcomes `O` of their answers, and verdicts `V`.
pub(crate) struct Hooks<C, O, V>(Mutex<Installed<C, O, V>>);

struct Installed<C, O, V> {
    last: u64,
    calls: Vec<(HookId, CallHook<C, V>)>,
    answers: Vec<(HookId, AnswerHook<C, O, V>)>,
    awaited: Vec<Awaited<C>>,
    subscribing: Option<Gate>,
    #[cfg(feature = "containerd")]
    streaming: Option<Gate>,
}

impl<C, O, V> Default for Hooks<C, O, V> {
    fn default() -> Self {
        Self(Mutex::new(Installed {
            last: 0,
            calls: Vec::new(),
            answers: Vec::new(),
            awaited: Vec::new(),
            subscribing: None,
            #[cfg(feature = "containerd")]
            streaming: None,
        }))
    }
}

impl<C: Clone, O: Copy, V: Decision> Hooks<C, O, V> {
    fn with<T>(&self, act: impl FnOnce(&mut Installed<C, O, V>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn on_call(&self, hook: CallHook<C, V>) -> HookId {
        self.with(|installed| {
            installed.last += 1;
            let id = HookId(installed.last);
            installed.calls.push((id, hook));
            id
        })
    }

    pub(crate) fn on_answer(&self, hook: AnswerHook<C, O, V>) -> HookId {
        self.with(|installed| {
            installed.last += 1;
            let id = HookId(installed.last);
            installed.answers.push((id, hook));
            id
        })
    }

    pub(crate) fn remove(&self, id: HookId) {
        self.with(|installed| {
            installed.calls.retain(|(other, _)| *other != id);
            installed.answers.retain(|(other, _)| *other != id);
        });
    }

    /// Returns a gate that is closed, and holds back subscriptions from now on.
    pub(crate) fn hold_subscriptions(&self) -> Gate {
        let gate = Gate::closed();
        self.with(|installed| installed.subscribing = Some(gate.clone()));
        gate
    }

    /// Returns a gate that is closed, and holds back events of subscribers from now on.
    #[cfg(feature = "containerd")]
    pub(crate) fn stall_streams(&self) -> Gate {
        let gate = Gate::closed();
        self.with(|installed| installed.streaming = Some(gate.clone()));
        gate
    }

    /// Returns what resolves once a subscription may be registered.
    pub(crate) fn may_subscribe(&self) -> impl Future<Output = ()> + Send + use<C, O, V> {
        passed(self.with(|installed| installed.subscribing.clone()))
    }

    /// Returns what resolves once an event may be sent to a subscriber.
    #[cfg(feature = "containerd")]
    pub(crate) fn may_stream(&self) -> impl Future<Output = ()> + Send + use<C, O, V> {
        passed(self.with(|installed| installed.streaming.clone()))
    }

    pub(crate) fn arrival(&self, wanted: Box<dyn Fn(&C) -> bool + Send>) -> Arrival<C> {
        let (arrived, arrival) = oneshot::channel();
        self.with(|installed| installed.awaited.push((wanted, arrived)));
        Arrival(arrival)
    }

    /// Notifies the waiters for such a call.
    fn announce(&self, call: &C) {
        let arrived = self.with(|installed| {
            // Removes the waiters that have been dropped.
            installed.awaited.retain(|(_, arrived)| !arrived.is_closed());
            installed.awaited.extract_if(.., |(wanted, _)| wanted(call)).collect::<Vec<_>>()
        });
        for (_, arrived) in arrived {
            // The receiver may be gone.
            let _ = arrived.send(call.clone());
        }
    }

    /// Asks the hooks about a call, and waits as they decide.
    pub(crate) async fn before(&self, call: &C) -> V {
        self.announce(call);
        let hooks: Vec<_> =
            self.with(|installed| installed.calls.iter().map(|(_, hook)| Arc::clone(hook)).collect());
        decide(hooks.iter().map(|hook| hook(call))).await
    }

    /// Asks the hooks about the answer to a call, and waits as they decide.
    pub(crate) async fn after(&self, call: &C, outcome: O) -> V {
        let hooks: Vec<_> =
            self.with(|installed| installed.answers.iter().map(|(_, hook)| Arc::clone(hook)).collect());
        decide(hooks.iter().map(|hook| hook(call, outcome))).await
    }
}

async fn passed(gate: Option<Gate>) {
    if let Some(gate) = gate {
        gate.passed().await;
    }
}

async fn decide<V: Decision>(verdicts: impl Iterator<Item = V>) -> V {
    for verdict in verdicts {
        match verdict.passes() {
            Some(Some(gate)) => gate.passed().await,
            Some(None) => {}
            None => return verdict,
        }
    }
    V::PASS
}

impl<C, O, V> fmt::Debug for Hooks<C, O, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}
