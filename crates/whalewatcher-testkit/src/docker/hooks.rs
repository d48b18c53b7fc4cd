//! Hooks: the decisions of a test about requests before they are answered, and about answers before they are sent.

use bytes::Bytes;

use crate::{
    gate::Gate,
    hooks::{self, Decision},
};

/// The hooks of the server.
pub(super) type Hooks = hooks::Hooks<Request, u16, Verdict>;

/// A request, as a hook sees it.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) api_version: Option<String>,
    /// Whether it is one of podman's own API.
    pub(super) libpod: bool,
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
        let own = route.strip_prefix("/libpod").filter(|rest| rest.starts_with('/')).map(str::to_owned);
        let (libpod, route) = (own.is_some(), own.unwrap_or(route));
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
        Self { method: method.into(), path: path.into(), api_version, libpod, route, query, kind }
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

    /// Returns whether it is a request of podman's own API, which has the same kinds of requests below `/libpod`.
    pub fn is_libpod(&self) -> bool {
        self.libpod
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

impl Decision for Verdict {
    const PASS: Self = Self::Pass;

    fn passes(&self) -> Option<Option<&Gate>> {
        match self {
            Self::Pass => Some(None),
            Self::Hold(gate) => Some(Some(gate)),
            _ => None,
        }
    }
}
