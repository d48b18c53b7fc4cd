//! A minimal client: it sends what has to be sent on connections that it keeps, and throws the answers away.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, try_join_all};
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::{AbortHandle, spawn};

/// As many as the watcher has inspections under way.
const CONNECTIONS: usize = 16;

/// One connection, which ends with this.
pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub(crate) async fn new(socket: &str) -> Result<Self> {
        let stream = UnixStream::connect(socket).await.context("cannot connect")?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, driver: spawn(connection).abort_handle() })
    }

    async fn answer(&mut self, path: &str) -> Result<Response<Incoming>> {
        let request = Request::get(path).header("host", "engine").body(Empty::new())?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Response<Incoming>> {
        let response = self.answer(path).await?;
        ensure!(response.status().is_success(), "GET {path} gave {}", response.status());
        Ok(response)
    }

    pub(crate) async fn get_for_nothing(&mut self, path: &str) -> Result<()> {
        let body = self.get(path).await?.into_body();
        throw_away(body).await
    }

    /// Asks for something that need not be there.
    pub(crate) async fn ask(&mut self, path: &str) -> Result<()> {
        let body = self.answer(path).await?.into_body();
        throw_away(body).await
    }
}

async fn throw_away(mut body: Incoming) -> Result<()> {
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}

/// Asks for the list and then about each of these, as many at once as there are connections.
///
/// # Errors
///
/// When the engine cannot be reached, or refuses something.
pub async fn ask_about_all(socket: &str, ids: &[String]) -> Result<()> {
    ask(&mut connections(socket, CONNECTIONS).await?, ids).await
}

/// The same, after what nobody can do without who also wants to know of changes: to ask whether it is Docker, what time it
/// is there, and for what happens from then on.
///
/// # Errors
///
/// When the engine cannot be reached, or refuses something.
pub async fn greet_and_ask_about_all(socket: &str, ids: &[String]) -> Result<()> {
    let mut connections = connections(socket, CONNECTIONS + 1).await?;
    let [subscriber, others @ ..] = &mut connections[..] else { return Ok(()) };
    subscriber.get_for_nothing("/_ping").await?;
    subscriber.get_for_nothing("/info").await?;
    let _events = subscriber.get("/events").await?;
    ask(others, ids).await
}

/// Asks for the list and then about one after the other, on one connection.
///
/// # Errors
///
/// When the engine cannot be reached, or refuses something.
pub async fn ask_one_by_one(socket: &str, ids: &[String]) -> Result<()> {
    ask(&mut connections(socket, 1).await?, ids).await
}

async fn connections(socket: &str, number: usize) -> Result<Vec<Connection>> {
    try_join_all((0..number).map(|_| Connection::new(socket))).await
}

async fn ask(connections: &mut [Connection], ids: &[String]) -> Result<()> {
    connections[0].get_for_nothing("/containers/json").await?;
    let share = ids.len().div_ceil(connections.len()).max(1);
    let asking = connections.iter_mut().zip(ids.chunks(share)).map(|(connection, ids)| async move {
        for id in ids {
            connection.get_for_nothing(&format!("/containers/{id}/json")).await?;
        }
        Ok::<_, anyhow::Error>(())
    });
    try_join_all(asking).await.map(drop)
}

/// The event stream, of which nothing is looked at but when an event happened.
pub struct Events {
    _connection: Connection,
    body: Incoming,
    line: Vec<u8>,
}

impl Events {
    /// Begins to follow them.
    ///
    /// # Errors
    ///
    /// When the engine cannot be reached, or refuses.
    pub async fn new(socket: &str) -> Result<Self> {
        let mut connection = Connection::new(socket).await?;
        let body = connection.get("/events").await?.into_body();
        Ok(Self { _connection: connection, body, line: Vec::new() })
    }

    /// Waits for more, and tells how many milliseconds ago the events in it happened.
    ///
    /// # Errors
    ///
    /// When the stream ends, or has an event without a time.
    pub async fn next(&mut self, lags: &mut Vec<f64>) -> Result<()> {
        let frame = self.body.frame().await.context("the stream ended")??;
        let now = SystemTime::now();
        for part in
            frame.data_ref().map(|data| data.split_inclusive(|byte| *byte == b'\n')).into_iter().flatten()
        {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let happened = time(&self.line).context("an event without a time")?;
                lags.push(milliseconds(happened, now));
                self.line.clear();
            }
        }
        Ok(())
    }
}

/// What can happen to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A life began.
    Started,
    /// A life ended.
    Exited,
    /// It was frozen.
    Paused,
    /// It runs on.
    Unpaused,
}

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// The container's ID.
    pub id: String,
    /// What happened.
    pub kind: Kind,
}

/// What an event's line tells; `None` if that is no change.
#[must_use]
pub fn change(line: &[u8]) -> Option<Change> {
    let kind = match text(line, b"\"Action\":\"")? {
        b"start" => Kind::Started,
        b"die" => Kind::Exited,
        b"pause" => Kind::Paused,
        b"unpause" => Kind::Unpaused,
        _ => return None,
    };
    let id = String::from_utf8(text(line, b"\"ID\":\"")?.to_vec()).ok()?;
    Some(Change { id, kind })
}

/// The text that begins after that.
fn text<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let text = &line[line.windows(key.len()).position(|window| window == key)? + key.len()..];
    text.split(|byte| *byte == b'"').next()
}

type Inspection = BoxFuture<'static, Result<(Connection, Change)>>;

/// Follows the event stream, and for each start asks for an inspection, of which it throws the answer away.
pub struct Follower {
    _connection: Connection,
    body: Incoming,
    line: Vec<u8>,
    /// What was told at once with what was handed out.
    reported: VecDeque<Change>,
    /// Connections that nobody uses.
    spare: Vec<Connection>,
    /// Starts for whose inspection there is no connection yet.
    waiting: VecDeque<Change>,
    inspections: FuturesUnordered<Inspection>,
}

impl Follower {
    /// Begins to follow what happens from now on, to containers of an engine whose clock is this machine's.
    ///
    /// # Errors
    ///
    /// When the engine cannot be reached, or refuses.
    pub async fn new(socket: &str) -> Result<Self> {
        // dockerd answers before it listens for events, but then tells those since.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let since = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
        // {"type":["container"],"event":["start","die","pause","unpause"]}
        let filters = "%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22start%22%2C%22die%22%2C\
                       %22pause%22%2C%22unpause%22%5D%7D";
        let mut connection = Connection::new(socket).await?;
        let body = connection.get(&format!("/events?since={since}&filters={filters}")).await?.into_body();
        let mut spare = try_join_all((0..CONNECTIONS).map(|_| Connection::new(socket))).await?;
        for connection in &mut spare {
            connection.get_for_nothing("/_ping").await?;
        }
        Ok(Self {
            _connection: connection,
            body,
            line: Vec::new(),
            reported: VecDeque::new(),
            spare,
            waiting: VecDeque::new(),
            inspections: FuturesUnordered::new(),
        })
    }

    /// Waits for the next change; for a start also for the inspection.
    ///
    /// # Errors
    ///
    /// When the stream ends, or an inspection fails.
    pub async fn next(&mut self) -> Result<Change> {
        loop {
            if let Some(change) = self.reported.pop_front() {
                return Ok(change);
            }
            while !self.waiting.is_empty()
                && let Some(connection) = self.spare.pop()
            {
                self.inspections.extend(self.waiting.pop_front().map(|change| inspect(connection, change)));
            }
            tokio::select! {
                frame = self.body.frame() => {
                    let frame = frame.context("the stream ended")??;
                    self.take(frame.data_ref().map(|data| &data[..]).unwrap_or_default());
                }
                Some(inspected) = self.inspections.next(), if !self.inspections.is_empty() => {
                    let (connection, change) = inspected?;
                    self.spare.push(connection);
                    return Ok(change);
                }
            }
        }
    }

    fn take(&mut self, data: &[u8]) {
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                match change(&self.line) {
                    Some(change) if change.kind == Kind::Started => self.waiting.push_back(change),
                    reported => self.reported.extend(reported),
                }
                self.line.clear();
            }
        }
    }
}

fn inspect(mut connection: Connection, change: Change) -> Inspection {
    Box::pin(async move {
        connection.get_for_nothing(&format!("/containers/{}/json", change.id)).await?;
        Ok((connection, change))
    })
}

/// How many milliseconds ago that was; the clocks are one machine's.
#[must_use]
pub fn milliseconds(happened: SystemTime, now: SystemTime) -> f64 {
    now.duration_since(happened).unwrap_or_default().as_secs_f64() * 1e3
}

/// When an event happened.
fn time(line: &[u8]) -> Option<SystemTime> {
    const KEY: &[u8] = b"\"timeNano\":";
    let at = line.windows(KEY.len()).rposition(|window| window == KEY)? + KEY.len();
    let digits = line[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let nanoseconds =
        digits.fold(0_u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_event_is_found_in_its_line() {
        let line = br#"{"Type":"container","time":1770000000,"timeNano":1770000000000000042}"#;
        let happened = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_770_000_000_000_000_042);
        assert_eq!(time(line), Some(happened));
        assert_eq!(time(b"{}"), None);
    }

    #[test]
    fn what_happened_to_whom_is_found_in_an_events_line() {
        let line = |action: &str| {
            let line =
                format!(r#"{{"id":"a","Type":"container","Action":"{action}","Actor":{{"ID":"ab"}}}}"#);
            change(line.as_bytes())
        };
        let kinds = [Kind::Started, Kind::Exited, Kind::Paused, Kind::Unpaused];
        for (action, kind) in ["start", "die", "pause", "unpause"].into_iter().zip(kinds) {
            assert_eq!(line(action), Some(Change { id: "ab".to_owned(), kind }));
        }
        assert_eq!(line("kill"), None);
        assert_eq!(change(b"1a\r\n"), None);
    }
}
