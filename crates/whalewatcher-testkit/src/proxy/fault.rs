//! Faults: their kinds, and where they take effect.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A fault: its kind, direction, connections and requests, and how often it takes effect.
///
/// Constructors create it, and methods limit it. By itself it concerns every connection, open and new, until it is
/// lifted. It displays as one line of JSON and is parsed from one, so that a script can be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub(super) kind: FaultKind,
    pub(super) direction: Direction,
    pub(super) scope: Scope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) requests: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) times: Option<u64>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Fault {
    type Err = serde_json::Error;

    fn from_str(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }
}

/// The kind of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FaultKind {
    /// Both sides of the connection are closed after so many more bytes; at once after 0.
    Cut {
        /// How many bytes still pass.
        after: u64,
        /// Whether TCP connections are reset. Unix sockets are closed.
        reset: bool,
    },
    /// Nothing passes, and nothing is closed.
    Stall {
        /// Whether bytes are read and dropped, and so are lost: such a connection stays silent even after the fault
        /// is lifted. Otherwise bytes are not read, and pass once it is lifted.
        swallow: bool,
    },
    /// New connections are accepted, and never answered.
    BlackHole,
    /// Each piece waits for so long before it is passed on.
    Delay(Duration),
    /// Bytes pass slowly.
    Drip {
        /// The number of bytes at a time, at least 1.
        bytes: u64,
        /// The pause after them.
        every: Duration,
    },
    /// The body of an answer ends early, but properly: HTTP's framing marks its end. Connections that are not
    /// HTTP/1.1 end after so many bytes.
    Truncate {
        /// How many bytes of the body still pass.
        after: u64,
    },
    /// Bytes are replaced by others that are not ASCII, so that no text protocol can take them for other text.
    Corrupt {
        /// How many bytes pass unchanged first.
        after: u64,
        /// How many are replaced then, at most, in each connection (or answer, if limited to some requests).
        count: u64,
        /// The seed of the bytes.
        seed: u64,
    },
    /// The proxy answers the request itself, without the engine. HTTP/1.1 only.
    Answer {
        /// The HTTP status.
        status: u16,
        /// Sent as `application/json`.
        body: String,
    },
    /// Connections are refused. Open ones stay.
    Refuse(Refusal),
    /// The socket file is replaced by a new one (a TCP port is closed and opened again), once, at the injection.
    ReplaceSocket {
        /// Whether the connections over the old one are closed.
        cut: bool,
    },
    /// Lines that contain this are dropped from an event stream. HTTP/1.1 only, as for all events.
    DropEvents(String),
    /// Lines that contain this are sent twice.
    RepeatEvents(String),
    /// Lines that contain this are sent after the line that follows them, once there is one.
    DelayEvents(String),
}

/// How connections are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Refusal {
    /// `ECONNREFUSED`. The socket file exists.
    Closed,
    /// `ENOENT`: there is no socket file. A TCP port is closed.
    Gone,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Direction {
    /// From the engine to the client.
    ToClient,
    /// From the client to the engine.
    ToEngine,
    /// Both; bytes are counted separately.
    Both,
}

impl Direction {
    /// Whether this direction includes another one.
    pub(super) fn covers(self, other: Self) -> bool {
        self == Self::Both || self == other
    }
}

/// Connections by their age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Scope {
    /// Open and new ones.
    All,
    /// Those that are made after the injection.
    New,
    /// Those that are open at the injection.
    Existing,
}

/// Constructors.
impl Fault {
    /// Creates a fault of any kind, without limits.
    pub fn new(kind: FaultKind) -> Self {
        let direction = match kind {
            FaultKind::Cut { after: 0, .. } | FaultKind::Stall { .. } | FaultKind::BlackHole => {
                Direction::Both
            }
            _ => Direction::ToClient,
        };
        let requests = match kind {
            FaultKind::DropEvents(_) | FaultKind::RepeatEvents(_) | FaultKind::DelayEvents(_) => {
                Some("/events".into())
            }
            _ => None,
        };
        Self { kind, direction, scope: Scope::All, requests, times: None }
    }

    /// Closes both sides after so many more bytes from the engine; at once after 0.
    pub fn cut_after(bytes: u64) -> Self {
        Self::new(FaultKind::Cut { after: bytes, reset: false })
    }

    /// Like [`cut_after`](Self::cut_after), but resets TCP connections.
    pub fn reset_after(bytes: u64) -> Self {
        Self::new(FaultKind::Cut { after: bytes, reset: true })
    }

    /// Passes nothing in either direction, and closes nothing. Data sent meanwhile passes later. A client that closes
    /// its connection ends it; an engine that does is not noticed.
    pub fn stall() -> Self {
        Self::new(FaultKind::Stall { swallow: false })
    }

    /// Like [`stall`](Self::stall), but drops what is sent. A connection that has lost bytes stays silent for good.
    pub fn swallow() -> Self {
        Self::new(FaultKind::Stall { swallow: true })
    }

    /// Accepts new connections and never answers.
    pub fn black_hole() -> Self {
        Self { scope: Scope::New, ..Self::new(FaultKind::BlackHole) }
    }

    /// Delays each piece from the engine.
    pub fn delay(by: Duration) -> Self {
        Self::new(FaultKind::Delay(by))
    }

    /// Passes data from the engine slowly: so many bytes at a time.
    pub fn drip(bytes: u64, every: Duration) -> Self {
        Self::new(FaultKind::Drip { bytes: bytes.max(1), every })
    }

    /// Ends an answer properly after so many bytes of its body.
    pub fn truncate_after(bytes: u64) -> Self {
        Self::new(FaultKind::Truncate { after: bytes })
    }

    /// Replaces so many bytes from the engine, after so many unchanged ones, by others that are not ASCII.
    pub fn corrupt(after: u64, count: u64, seed: u64) -> Self {
        Self::new(FaultKind::Corrupt { after, count, seed })
    }

    /// Answers requests.
    pub fn answer(status: u16, body: impl Into<String>) -> Self {
        Self::new(FaultKind::Answer { status, body: body.into() })
    }

    /// Refuses connections.
    pub fn refuse(how: Refusal) -> Self {
        Self::new(FaultKind::Refuse(how))
    }

    /// Replaces the socket file by a new one; open connections are closed, or stay.
    pub fn replace_socket(cut: bool) -> Self {
        Self::new(FaultKind::ReplaceSocket { cut })
    }

    /// Drops lines of event streams that contain this (all with `""`).
    pub fn drop_events(containing: impl Into<String>) -> Self {
        Self::new(FaultKind::DropEvents(containing.into()))
    }

    /// Sends lines of event streams that contain this twice.
    pub fn repeat_events(containing: impl Into<String>) -> Self {
        Self::new(FaultKind::RepeatEvents(containing.into()))
    }

    /// Sends lines of event streams that contain this after the line that follows them.
    pub fn delay_events(containing: impl Into<String>) -> Self {
        Self::new(FaultKind::DelayEvents(containing.into()))
    }
}

/// Limits.
impl Fault {
    /// Limits the fault to this direction.
    #[must_use]
    pub fn toward(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Limits the fault to connections that are open at the injection.
    #[must_use]
    pub fn only_existing(mut self) -> Self {
        self.scope = Scope::Existing;
        self
    }

    /// Limits the fault to answers to requests whose first line (`GET /v1.51/events?since=1 HTTP/1.1`) contains this.
    /// Bytes, and [`times`](Self::times), are counted for each such request.
    #[must_use]
    pub fn on_requests(mut self, containing: impl Into<String>) -> Self {
        self.requests = Some(containing.into());
        self
    }

    /// Limits how often the fault takes effect: on so many connections; for so many requests, if it is limited to
    /// some or answers them; on so many events. Refusals and replacements do not count.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Returns the kind of the fault.
    pub fn kind(&self) -> &FaultKind {
        &self.kind
    }
}
