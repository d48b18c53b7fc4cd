//! Hooks: a test's decisions about calls before they are answered, and about answers before they are sent.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::oneshot;
use tonic::{Code, Status};

use crate::gate::Gate;

/// A hook's decision about a call or its answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The next hook decides.
    Pass,
    /// It waits until the gate opens, then the next hook decides. Before the call, the answer is computed after that; before
    /// the answer, it was computed before.
    Hold(Gate),
    /// The call fails.
    Fail {
        /// The gRPC code.
        code: Code,
        /// The message.
        message: String,
    },
    /// These bytes are sent in place of a message.
    Garbage(Bytes),
    /// The connection is closed without an answer, with everything else on it.
    Close,
    /// There is never an answer, but the connection stays open.
    Hang,
    /// A stream sends this many messages, then the connection is closed. A single answer is not sent at all.
    Cut(usize),
    /// A stream sends this many messages, then it ends normally. Single answers are not affected.
    End(usize),
}

impl Verdict {
    /// The call fails.
    pub fn error(code: Code, message: &str) -> Self {
        Self::Fail { code, message: message.into() }
    }
}

/// The verdict, after all waiting.
#[derive(Debug)]
pub(super) enum Ruling {
    Pass,
    Fail(Status),
    Garbage(Bytes),
    Close,
    Hang,
    Cut(usize),
    End(usize),
}

type CallHook<C> = Arc<dyn Fn(&C) -> Verdict + Send + Sync>;
type AnswerHook<C> = Arc<dyn Fn(&C, Code) -> Verdict + Send + Sync>;
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

/// All hooks of a server.
pub(crate) struct Hooks<C>(Mutex<Installed<C>>);

struct Installed<C> {
    last: u64,
    calls: Vec<(HookId, CallHook<C>)>,
    answers: Vec<(HookId, AnswerHook<C>)>,
    awaited: Vec<Awaited<C>>,
    subscribing: Option<Gate>,
    streaming: Option<Gate>,
}

impl<C> Default for Hooks<C> {
    fn default() -> Self {
        Self(Mutex::new(Installed {
            last: 0,
            calls: Vec::new(),
            answers: Vec::new(),
            awaited: Vec::new(),
            subscribing: None,
            streaming: None,
        }))
    }
}

impl<C: Clone> Hooks<C> {
    fn with<T>(&self, act: impl FnOnce(&mut Installed<C>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn on_call(&self, hook: CallHook<C>) -> HookId {
        self.with(|installed| {
            installed.last += 1;
            let id = HookId(installed.last);
            installed.calls.push((id, hook));
            id
        })
    }

    pub(crate) fn on_answer(&self, hook: AnswerHook<C>) -> HookId {
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

    pub(crate) fn hold_subscriptions(&self, gate: Gate) {
        self.with(|installed| installed.subscribing = Some(gate));
    }

    pub(crate) fn stall_streams(&self, gate: Gate) {
        self.with(|installed| installed.streaming = Some(gate));
    }

    /// Waits until a subscription may be registered.
    pub(super) async fn may_subscribe(&self) {
        if let Some(gate) = self.with(|installed| installed.subscribing.clone()) {
            gate.passed().await;
        }
    }

    /// Waits until an event may be sent to a subscriber.
    pub(super) async fn may_stream(&self) {
        if let Some(gate) = self.with(|installed| installed.streaming.clone()) {
            gate.passed().await;
        }
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
    pub(super) async fn before(&self, call: &C) -> Ruling {
        self.announce(call);
        let hooks: Vec<_> =
            self.with(|installed| installed.calls.iter().map(|(_, hook)| Arc::clone(hook)).collect());
        decide(hooks.iter().map(|hook| hook(call))).await
    }

    /// Asks the hooks about the answer to a call, and waits as they decide.
    pub(super) async fn after(&self, call: &C, code: Code) -> Ruling {
        let hooks: Vec<_> =
            self.with(|installed| installed.answers.iter().map(|(_, hook)| Arc::clone(hook)).collect());
        decide(hooks.iter().map(|hook| hook(call, code))).await
    }
}

async fn decide(verdicts: impl Iterator<Item = Verdict>) -> Ruling {
    for verdict in verdicts {
        return match verdict {
            Verdict::Pass => continue,
            Verdict::Hold(gate) => {
                gate.passed().await;
                continue;
            }
            Verdict::Fail { code, message } => Ruling::Fail(Status::new(code, message)),
            Verdict::Garbage(bytes) => Ruling::Garbage(bytes),
            Verdict::Close => Ruling::Close,
            Verdict::Hang => Ruling::Hang,
            Verdict::Cut(count) => Ruling::Cut(count),
            Verdict::End(count) => Ruling::End(count),
        };
    }
    Ruling::Pass
}

impl<C> fmt::Debug for Hooks<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}
