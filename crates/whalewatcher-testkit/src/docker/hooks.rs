//! Hooks: the decisions of a test about requests before they are answered, and about answers before they are sent.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::gate::Gate;

/// A request, as a hook sees it.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) api_version: Option<String>,
    pub(super) route: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) kind: Kind,
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `/_ping`
    Ping,
    /// `/version`
    Version,
    /// `/info`
    Info,
    /// `/containers/json`
    List,
    /// `/containers/…/json`
    Inspect,
    /// `/events`
    Events,
    /// Anything else, which is answered with 404.
    Other,
}

impl Request {
    pub(super) fn new(method: &str, path: &str, query: Option<&str>) -> Self {
        let (api_version, route) = match path.strip_prefix("/v").and_then(|rest| rest.split_once('/')) {
            Some((version, rest))
                if version.starts_with(|c: char| c.is_ascii_digit())
                    && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') =>
            {
                (Some(version.to_owned()), format!("/{rest}"))
            }
            _ => (None, path.to_owned()),
        };
        let mut kind = match route.as_str() {
            "/_ping" => Kind::Ping,
            "/version" => Kind::Version,
            "/info" => Kind::Info,
            "/containers/json" => Kind::List,
            "/events" => Kind::Events,
            route if inspected(route).is_some() => Kind::Inspect,
            _ => Kind::Other,
        };
        if !(method == "GET" || (method == "HEAD" && kind == Kind::Ping)) {
            kind = Kind::Other;
        }
        let query = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        Self { method: method.into(), path: path.into(), api_version, route, query, kind }
    }

    /// Returns the kind of the request.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the method, such as `GET`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the path as sent, without the query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the API version at the beginning of the path, such as `1.47`; without one it is the engine's newest.
    pub fn api_version(&self) -> Option<&str> {
        self.api_version.as_deref()
    }

    /// Returns the decoded value of a parameter of the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the container of an inspection, as the client named it.
    pub fn container(&self) -> Option<&str> {
        inspected(&self.route).filter(|_| self.kind == Kind::Inspect)
    }
}

fn inspected(route: &str) -> Option<&str> {
    let key = route.strip_prefix("/containers/")?.strip_suffix("/json")?;
    Some(key).filter(|key| !key.is_empty() && !key.contains('/'))
}

/// What happens to a request or to its answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The next hook decides.
    Pass,
    /// It waits until the gate opens; then the next hook decides. A request is answered after that. An answer
    /// contains what was true before.
    Hold(Gate),
    /// This is the answer.
    Answer {
        /// The HTTP status; an invalid one becomes 500.
        status: u16,
        /// Sent as `application/json`.
        body: Bytes,
    },
    /// These bytes are sent in place of an HTTP response, then the connection is closed.
    Garbage(Bytes),
    /// The connection is closed without an answer.
    Close,
    /// No answer is ever sent, but the connection stays open.
    Hang,
    /// The connection is closed after so many bytes of the answer's body.
    Truncate(usize),
}

impl Verdict {
    /// Returns an error as Docker answers it: this status, and the message in JSON.
    pub fn error(status: u16, message: &str) -> Self {
        let body = serde_json::json!({ "message": message }).to_string().into();
        Self::Answer { status, body }
    }
}

type RequestHook = Arc<dyn Fn(&Request) -> Verdict + Send + Sync>;
type AnswerHook = Arc<dyn Fn(&Request, u16) -> Verdict + Send + Sync>;
type Awaited = (Box<dyn Fn(&Request) -> bool + Send>, oneshot::Sender<Request>);

/// The name of a hook, to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookId(u64);

/// Resolves with the awaited request; see [`Server::arrival`](super::Server::arrival).
#[derive(Debug)]
pub struct Arrival(oneshot::Receiver<Request>);

impl Future for Arrival {
    type Output = Request;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Request> {
        match Pin::new(&mut self.0).poll(context) {
            Poll::Ready(Ok(request)) => Poll::Ready(request),
            // The server is gone, so no request arrives.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

/// All hooks of a server.
#[derive(Default)]
pub(super) struct Hooks(Mutex<Installed>);

#[derive(Default)]
struct Installed {
    last: u64,
    requests: Vec<(HookId, RequestHook)>,
    answers: Vec<(HookId, AnswerHook)>,
    awaited: Vec<Awaited>,
    registrations: Option<Gate>,
}

impl Hooks {
    fn with<T>(&self, act: impl FnOnce(&mut Installed) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn on_request(&self, hook: RequestHook) -> HookId {
        self.with(|installed| {
            installed.last += 1;
            let id = HookId(installed.last);
            installed.requests.push((id, hook));
            id
        })
    }

    pub(super) fn on_answer(&self, hook: AnswerHook) -> HookId {
        self.with(|installed| {
            installed.last += 1;
            let id = HookId(installed.last);
            installed.answers.push((id, hook));
            id
        })
    }

    pub(super) fn remove(&self, id: HookId) {
        self.with(|installed| {
            installed.requests.retain(|(other, _)| *other != id);
            installed.answers.retain(|(other, _)| *other != id);
        });
    }

    pub(super) fn hold_registrations(&self, gate: Gate) {
        self.with(|installed| installed.registrations = Some(gate));
    }

    pub(super) fn registrations(&self) -> Option<Gate> {
        self.with(|installed| installed.registrations.clone())
    }

    pub(super) fn arrival(&self, wanted: Box<dyn Fn(&Request) -> bool + Send>) -> Arrival {
        let (arrived, arrival) = oneshot::channel();
        self.with(|installed| installed.awaited.push((wanted, arrived)));
        Arrival(arrival)
    }

    /// Notifies the waiters for such a request.
    pub(super) fn announce(&self, request: &Request) {
        let arrived = self.with(|installed| {
            // Waiters that were dropped.
            installed.awaited.retain(|(_, arrived)| !arrived.is_closed());
            installed.awaited.extract_if(.., |(wanted, _)| wanted(request)).collect::<Vec<_>>()
        });
        for (_, arrived) in arrived {
            // A waiter that was dropped meanwhile needs no notification.
            let _ = arrived.send(request.clone());
        }
    }

    /// Returns the verdict about a request, after all waiting.
    pub(super) async fn before(&self, request: &Request) -> Verdict {
        let hooks: Vec<_> =
            self.with(|installed| installed.requests.iter().map(|(_, hook)| Arc::clone(hook)).collect());
        decide(hooks.iter().map(|hook| hook(request))).await
    }

    /// Returns the verdict about the answer to a request, after all waiting.
    pub(super) async fn after(&self, request: &Request, status: u16) -> Verdict {
        let hooks: Vec<_> =
            self.with(|installed| installed.answers.iter().map(|(_, hook)| Arc::clone(hook)).collect());
        decide(hooks.iter().map(|hook| hook(request, status))).await
    }
}

async fn decide(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    for verdict in verdicts {
        match verdict {
            Verdict::Pass => {}
            Verdict::Hold(gate) => gate.passed().await,
            verdict => return verdict,
        }
    }
    Verdict::Pass
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}
